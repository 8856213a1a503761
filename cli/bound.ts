// `mallard bound FILE#export`: what QuacK derives from the labelled logits of a model, as formulas: the paths, the factors
// of the rates, how far a step can move the logits (certificate) and how far QuacK lets it (budget). Nothing is run.
import { type Command, Option } from "commander";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { type BoundsText, boundsOf, boundsText, type DerivedBounds, leavesOf, type Tree } from "../index.js";
import { type Problem, problem } from "../trainer.js";
import { classify, type FormulaLike, inputSizes, isFormula, loadExport, parseInputs, type Sizes, whatIs } from "./expression.js";
import { EXIT, jsonResult, report, result } from "./output.js";
import { built } from "./print-kernels.js";
import { atLeastZero, choice } from "./values.js";

interface Flags {
  readonly norm: "frobenius" | "spectral";
  readonly combine: "max" | "sum";
  readonly floor: number;
  readonly heuristic: boolean;
  readonly label: string;
  readonly inputs: string;
  readonly json: boolean;
}

export function addBound(program: Command, exit: (code: number) => void): void {
  program
    .command("bound")
    .summary("derive learning rates and bounds from a model's attention logits")
    .description(
      "Shows what QuacK derives from the values labelled \"logits\" in a model of yours: the paths that they are a sum of, the factor of each weight's learning rate, a certificate of how far a step can move the logits, and the budget that QuacK's rates keep it in, as formulas in the weights' names; which weights keep their rate, and why. What has no bound is refused with its place. Nothing is run.",
    )
    .argument("<file#export>", "a JavaScript or TypeScript module and the name it exports a model by")
    .addOption(
      new Option("--norm <name>", "of weights and steps: frobenius or spectral").argParser(choice(["frobenius", "spectral"])).default("frobenius"),
    )
    .addOption(new Option("--combine <how>", "the paths of a weight: max (the paper's) or sum").argParser(choice(["max", "sum"])).default("max"))
    .addOption(new Option("--floor <c>", "the least value that a weight's norm is taken for").argParser(atLeastZero).default(0))
    .addOption(new Option("--heuristic", "normalisations and the like count as maps of norm 1").default(false, "off"))
    .addOption(new Option("--label <name>", "of the values whose change is bounded").default("logits"))
    .addOption(new Option("--inputs <sizes>", "axes and sizes of the inputs, by input; the weights' axes have theirs").default("", "usual sizes"))
    .addOption(new Option("--json", "the formulas as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard bound model.ts#decoder
  $ mallard bound model.ts#decoder --norm spectral --combine sum
  $ mallard bound model.ts#withQkNorm --heuristic`,
    )
    .action(async (place: string, flags: Flags) => exit(await run(place, flags)));
}

async function run(place: string, flags: Flags): Promise<number> {
  const found = await derived(place, flags);
  if (isLeft(found)) return report(found.left, flags.json);
  const text = boundsText(found.right);
  if (flags.json) jsonResult({ expression: place, ...found.right, text });
  else result(page(place, found.right, text));
  return EXIT.ok;
}

/** A model with its parameters, or an expression that has some in it. */
interface Whole {
  readonly out: Tree;
  readonly params?: Tree;
}
async function derived(place: string, flags: Flags): Promise<Either<Problem, DerivedBounds>> {
  const whole = await wholeOf(place, flags.inputs);
  if (isLeft(whole)) return whole;
  const { out, params } = whole.right;
  const bounds = boundsOf(out, flags, params);
  if (bounds === null) {
    return problem(
      "expression",
      `nothing in ${place} is labelled "${flags.label}"`,
      `name the values where they are computed, before mask and softmax: label(s, "${flags.label}"); or name another with --label`,
    );
  }
  if (isLeft(bounds)) throw bounds.left; // the author's expression is at fault: shown with its places, as everywhere
  if (bounds.right.rates.length + bounds.right.keeps.length === 0) {
    return problem(
      "expression",
      `${place} has no weights: factors and bounds are of a model's parameters`,
      'export the model that applies it: export const mine = model({ wq: weight(…), … }, { x: "time model" }, …)',
    );
  }
  return bounds;
}

async function wholeOf(place: string, text: string): Promise<Either<Problem, Whole>> {
  const given = parseInputs(text);
  if (isLeft(given)) return given;
  const loaded = await loadExport(place);
  if (isLeft(loaded)) return loaded;
  const value = loaded.right;
  if (isModel(value)) return applied(value.bound, given.right, value.params);
  const found = classify(value);
  if (found === null || found.kind === "program")
    return problem(
      "usage",
      `${place} is ${found === null ? whatIs(value) : "a compiled program"}, no model`,
      "export a model (of a function that makes one, its result: export const mine = decoder(config))",
    );
  if (found.kind === "formula") return applied(found.formula, given.right);
  if (text !== "") return problem("usage", "--inputs gives sizes to a model's inputs", `${place} is a record and has its own: leave --inputs out`);
  return built(found);
}
interface ModelLike {
  readonly params: Tree;
  readonly bound: FormulaLike;
}
const isModel = (value: unknown): value is ModelLike =>
  typeof value === "object" && value !== null && "params" in value && "bound" in value && isFormula(value.bound);

/** On inputs of the sizes given; axes that the weights have are as theirs, others usual. */
function applied(formula: FormulaLike, given: Readonly<Record<string, Sizes>>, params?: Tree): Either<Problem, Whole> {
  const usual = inputSizes(formula, given);
  if (isLeft(usual)) return usual;
  const own = params === undefined ? {} : ownSizes(params);
  const sizes = Object.fromEntries(
    Object.entries(usual.right).map(([name, axes]) => [name, name in given ? axes : { ...axes, ...shared(own, axes) }]),
  );
  const whole = built({ kind: "formula", formula, sizes });
  return isLeft(whole) ? whole : right(params === undefined ? whole.right : { ...whole.right, params });
}
const shared = (sizes: Sizes, like: Sizes): Sizes => Object.fromEntries(Object.entries(sizes).filter(([axis]) => axis in like));
/** Of axes that have one size throughout. */
function ownSizes(params: Tree): Sizes {
  const all = leavesOf(params).flatMap(({ tensor }) => Object.entries<number>(tensor.axes));
  return Object.fromEntries(all.filter(([axis, size]) => all.every(([a, s]) => a !== axis || s === size)));
}

// ─── the page ────────────────────────────────────────────────────────────────────────────────────────

const section = (title: string, lines: readonly string[], sign = ""): readonly string[] =>
  lines.length === 0 ? [] : [`  ${title}`, ...lines.map((line, i) => `    ${i === 0 ? "" : sign}${line}`)];

/** Parameters of the part of the model that the logits stand in go by their names there. */
function within(path: string, [title, ...lines]: readonly string[]): readonly string[] {
  const prefix = `${path}.`;
  if (path === "" || !lines.some((line) => line.includes(prefix))) return [title ?? "", ...lines];
  return [`${title}, names as in ${path}`, ...lines.map((line) => line.replaceAll(prefix, ""))];
}

export function page(place: string, b: DerivedBounds, { logits, keeps }: BoundsText): string {
  const norms = b.norm === "frobenius" ? "Frobenius norms" : "spectral norms";
  const head = [
    `${place}: ${norms} over the axes that the logits sum over, one for each [index]${b.floor > 0 ? `; in factors at least ${b.floor}` : ""}`,
    "lr(W) = tau eta f(W) / f0(W), f0 at the first step; d(W) bounds the norm of W's change, with QuacK's rates d = lr D",
  ];
  const parts = logits.map((l, i) =>
    within(b.logits[i]?.path ?? "", [
      `logits ${l.logits}`,
      ...section("are the sum of", l.paths, "+ "),
      ...section("factors", l.factors),
      ...(l.certificate ? section("certificate: |change of a logit| <=", l.certificate, "+ ") : []),
      ...(l.budget ? section("budget: |change of a logit| <=", [...l.budget.first, ...l.budget.rest], "+ ") : []),
      ...section("heuristic: no certificate and no budget hold", l.heuristic),
      ...section("where", l.names),
    ]),
  );
  const kept = keeps.length === 0 ? [] : [["keep eta", ...keeps.map((k) => `  ${k}`)]];
  return [head, ...parts, ...kept].map((lines) => lines.join("\n")).join("\n\n");
}
