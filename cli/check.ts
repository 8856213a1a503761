// `mallard check FILE#export`: what an expression compiles to, before anything runs; then it runs, at random sizes, and
// every output and gradient is compared with the oracle's, and the gradients with central differences.
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import {
  Checker,
  CompileError,
  DeviceError,
  diagnosesOf,
  type ExtentsByName,
  type Halves,
  halvesOf,
  openSession,
  type Range,
  randomNumbers,
  type Verdict,
  verdict,
} from "../index.js";
import { DEVICES, type DeviceName, type Problem, pickDevice, problem } from "../trainer.js";
import { type Report, type Run, reportJson, reportText, verdictText } from "./check-report.js";
import { type Shape, shapesOf } from "./check-shapes.js";
import { adapterOption, type DeviceFlags, deviceOption, threadsOption } from "./device.js";
import { EXIT, jsonResult, note, report, result } from "./output.js";
import { built } from "./print-kernels.js";
import { scaledFormula, sequencesOf } from "./sequences.js";
import { noProgram, type Subject, subject } from "./subject.js";
import { didYouMean } from "./suggest.js";
import { integer } from "./values.js";

interface Flags extends DeviceFlags {
  readonly inputs: string;
  readonly sequences?: string;
  readonly range: string;
  readonly runs: number;
  readonly seed: number;
  readonly fused: boolean;
  readonly json: boolean;
}
const RUN_DEVICES = DEVICES.filter((d) => d !== "js");

export function addCheck(program: Command, exit: (code: number) => void): void {
  program
    .command("check")
    .summary("say what an expression compiles to, and test it and its gradients")
    .description(
      "Says what an expression in a file of yours compiles to: kernels, passes over the scores, bytes and FLOPs against the dense form, and which of your expressions stands at each kernel boundary. Then runs it at random sizes and compares every output and gradient with the f64 oracle, and the gradients with central differences. Exit code 1 where something fails.",
    )
    .argument("<file#export>", "a JavaScript or TypeScript module and the name it exports the expression by")
    .addOption(
      new Option("--inputs <sizes>", "axes and sizes of a formula's inputs, by input; others are drawn").default("", "usual and random sizes"),
    )
    .addOption(new Option("--sequences <axes>", "the axes whose length grows; default: query, key, time and the like, else first axes"))
    .addOption(new Option("--range <ranges>", "values of inputs, such as 'gamma=0.5..1 doc=0..3'").default("", "-1.5..1.5"))
    .addOption(deviceOption("auto", ...RUN_DEVICES))
    .addOption(adapterOption())
    .addOption(threadsOption())
    .addOption(new Option("--runs <n>", "shapes of each of two programs; 0 for the verdict alone").argParser(integer(0, 100)).default(8))
    .addOption(new Option("--seed <n>", "of sizes and values").argParser(integer(0, 2 ** 31 - 1)).default(0))
    .addOption(new Option("--fused", "fail where something that grows like queries × keys is stored").default(false, "off"))
    .addOption(new Option("--json", "the report as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard check attention.ts#causal
  $ mallard check attention.ts#retention --range 'gamma=0.5..1'
  $ mallard check attention.ts#mine --runs 0 --fused      the verdict alone, for CI`,
    )
    .action(async (place: string, flags: Flags) => exit(await run(place, flags)));
}

async function run(place: string, flags: Flags): Promise<number> {
  const found = await subject(place, flags.inputs);
  if (isLeft(found)) return report(found.left, flags.json);
  if (found.right.kind === "program") {
    const p = noProgram(place, "it cannot be built again at other sizes");
    return isLeft(p) ? report(p.left, flags.json) : EXIT.usage;
  }
  const s = found.right;
  const ranges = parseRanges(flags.range, Object.keys(s.kind === "formula" ? s.formula.inputs : s.inputs));
  if (isLeft(ranges)) return report(ranges.left, flags.json);
  const judged = judge(s, flags.sequences);
  if (isLeft(judged)) return report(judged.left, flags.json);
  const { halves, sequences, verdict: v } = judged.right;
  const head = { expression: place, diagnoses: diagnosesOf(halves.both), halves, sequences, verdict: v, fused: v.quadratic.length === 0 };
  if (!flags.json) result(verdictText(head));

  let runs: readonly Run[] = [];
  let device = "";
  if (flags.runs > 0) {
    const picked = await pickDevice(flags.device, flags.adapter);
    if (isLeft(picked)) return report(picked.left, flags.json);
    if (picked.right.notice !== null) note(picked.right.notice);
    device = picked.right.device;
    const shapes = shapesOf(s, sequences, randomNumbers(flags.seed), flags.runs);
    if (isLeft(shapes)) return report(shapes.left, flags.json);
    const ran = await tested(shapes.right, picked.right.device, ranges.right, flags);
    if (isLeft(ran)) return report(ran.left, flags.json);
    runs = ran.right;
  }
  const whole: Report = { ...head, device, seed: flags.seed, runs, wantsFused: flags.fused };
  const outcome = reportText(whole);
  if (flags.json) jsonResult(reportJson(whole));
  else result(outcome.text);
  return outcome.ok ? EXIT.ok : EXIT.failed;
}

interface Judged {
  readonly halves: Halves;
  readonly sequences: readonly string[];
  readonly verdict: Verdict;
}
/** The verdict, from a formula at three lengths, or from a record as it is. What is wrong with the expression is thrown. */
function judge(s: Exclude<Subject, { readonly kind: "program" }>, asked: string | undefined): Either<Problem, Judged> {
  const take = (halves: Halves, sequences: readonly string[], found: Either<CompileError, Verdict>): Either<Problem, Judged> => {
    if (isLeft(found)) throw found.left;
    return right({ halves, sequences, verdict: found.right });
  };
  if (s.kind === "record") {
    if (asked !== undefined)
      return problem("usage", "--sequences names axes of a formula", "a record { inputs, out } has its own sizes: leave --sequences out");
    const whole = built(s);
    if (isLeft(whole)) return whole;
    const halves = halvesOf(whole.right);
    return take(
      halves,
      [],
      verdict(() => halves, false),
    );
  }
  const sequences = sequencesOf(s.formula, s.sizes, asked);
  if (isLeft(sequences)) return sequences;
  const made = new Map<number, Halves>();
  for (const scale of [1, 2, 4]) {
    const halves = scaledFormula(s, sequences.right, scale);
    if (isLeft(halves)) return halves;
    made.set(scale, halves.right);
  }
  const at = (scale: number): Halves => made.get(scale) as Halves; // all three scales that a verdict asks for
  return take(at(1), sequences.right, verdict(at));
}

/** Runs of each shape. A program that does not compile is a failure of the expression, and told as one. */
async function tested(
  shapes: readonly Shape[],
  device: DeviceName,
  ranges: Readonly<Record<string, Range>>,
  flags: Flags,
): Promise<Either<Problem, readonly Run[]>> {
  const random = randomNumbers(flags.seed + 1);
  const opened = await openSession(device, { threads: flags.threads ?? availableParallelism(), adapter: flags.adapter });
  if (isLeft(opened)) return problem("device", opened.left.message, "see mallard doctor, or choose another with --device");
  using session = opened.right;
  const runs: Run[] = [];
  for (const [i, shape] of shapes.entries()) {
    progress(`compiling ${i + 1} of ${shapes.length} for ${device}`);
    let checker: Checker;
    try {
      checker = await Checker.open(session, shape.halves, flags.seed);
    } catch (thrown) {
      progress(null);
      if (!(thrown instanceof CompileError || thrown instanceof DeviceError)) throw thrown;
      return left({ kind: "expression", message: `it does not compile for ${device}: ${thrown.message}`, hint: `sizes: ${sizesText(shape.sizes)}` });
    }
    using open = checker;
    // Run-time extents that the author gave vary as they can; those of the sequences as the shape says.
    const own = ownRuns(open, flags.runs, random);
    const extents = shape.runs.length > 0 ? shape.runs.map((r, k) => ({ ...own[k % own.length], ...r })) : own;
    for (const [k, at] of extents.entries()) {
      progress(`run ${k + 1} of ${extents.length}, program ${i + 1} of ${shapes.length}: ${sizesText({ ...shape.sizes, ...at })}`);
      runs.push(await once(open, shape, at, ranges, random));
    }
  }
  progress(null);
  return right(runs);
}

/** Central differences cost an evaluation each: some elements of each input where sequences are short, one where they are
 *  longer, none beyond. */
async function once(checker: Checker, shape: Shape, at: ExtentsByName, ranges: Readonly<Record<string, Range>>, random: () => number): Promise<Run> {
  const longest = Math.max(1, ...Object.values(at), ...Object.values(shape.sizes));
  const whole = ([0, 1, 3, longest] as const)[Math.floor(random() * 4)] ?? 0;
  const values = checker.draw(random, at, whole, ranges);
  try {
    const { checked, undefinedIn } = await checker.compare(values, at);
    const elements = longest <= 20 ? 3 : longest <= 65 ? 1 : -1;
    const differences = elements < 0 ? [] : checker.differences(values, at, random, elements);
    return { sizes: shape.sizes, extents: at, checked, differences, undefinedIn, thrown: null };
  } catch (thrown) {
    if (!(thrown instanceof DeviceError)) throw thrown;
    return { sizes: shape.sizes, extents: at, checked: [], differences: [], undefinedIn: [], thrown: thrown.message };
  }
}

/** Run-time extents of an expression's own: its greatest, and usual lengths that it can have. */
function ownRuns(checker: Checker, runs: number, random: () => number): readonly ExtentsByName[] {
  if (checker.extents.length === 0) return [{}];
  return Array.from({ length: runs }, (_, i) =>
    Object.fromEntries(
      checker.extents.map((e) => {
        const lengths = [e.max, ...[17, 3, 65, 1, 64, 0, 100].filter((n) => n < e.max)];
        return [e.name, (i < lengths.length ? lengths[i] : Math.floor(random() * (e.max + 1))) as number];
      }),
    ),
  );
}

/** Reads 'gamma=0.5..1 doc=0..3'. */
function parseRanges(text: string, inputs: readonly string[]): Either<Problem, Readonly<Record<string, Range>>> {
  const ranges: Record<string, Range> = {};
  for (const item of text.split(/\s+/).filter((t) => t !== "")) {
    const parts = /^([^=]+)=(-?[\d.e+-]*\d)\.\.(-?[\d.e+-]*\d)$/.exec(item);
    const [from, to] = [Number(parts?.[2]), Number(parts?.[3])];
    if (!parts || !(from <= to)) return problem("usage", `--range: "${item}" is no range`, "write each as name=from..to, such as gamma=0.5..1");
    const name = parts[1] as string;
    if (!inputs.includes(name))
      return problem("usage", `--range: there is no input "${name}"${didYouMean(name, inputs)}`, `the inputs are ${inputs.join(", ")}`);
    ranges[name] = [from, to];
  }
  return right(ranges);
}

export const sizesText = (sizes: ExtentsByName): string =>
  Object.entries(sizes)
    .map(([a, n]) => `${a} ${n}`)
    .join(", ") || "its own sizes";
/** One line of a terminal, written over; nothing elsewhere. null: the end. */
function progress(text: string | null): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text === null ? "" : text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  else if (text?.startsWith("compiling")) note(text);
}
