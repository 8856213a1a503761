// `mallard variants`: what the compiler makes of each attention variant of this package, in one table. Nothing is run: the
// figures are read off the plans at three sizes.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { type Half, halvesOf, MallardError, type Verdict, verdict } from "../index.js";
import { type Variant, variants } from "../models/index.js";
import { type Problem, problem } from "../trainer.js";
import { EXIT, jsonResult, note, report, result } from "./output.js";
import { didYouMean } from "./suggest.js";
import { table } from "./table.js";
import { countText, mebibytes, placeText, quadraticJson } from "./verdict-text.js";
import { packageRoot } from "./version.js";

/** A layer of a small model; T is its length, twice and four times that too. */
const SIZES = { batch: 1, head: 8, dim: 64, value: 64, span: 256 } as const;
const TIME = 1024;

interface Row {
  readonly variant: Variant;
  readonly lines: number;
  readonly found: Either<string, Verdict>;
}

export function addVariants(program: Command, exit: (code: number) => void): void {
  program
    .command("variants")
    .summary("list the attention variants and what they compile to")
    .description(
      "Lists the attention variants of this package: source lines, kernels (the work between two global barriers), passes over the scores and memory of temporaries as the sequence grows. Nothing is run.",
    )
    .argument("[names...]", "those to list; all unless said")
    .addOption(new Option("--json", "the table as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard variants
  $ mallard variants causal alibi --json`,
    )
    .action((names: readonly string[], flags: { readonly json: boolean }) => exit(run(names, flags.json)));
}

function run(names: readonly string[], json: boolean): number {
  const known = variants.map((v) => v.name);
  const unknown = names.find((n) => !known.includes(n));
  if (unknown !== undefined) {
    const p = problem("usage", `there is no variant "${unknown}"${didYouMean(unknown, known)}`, `the variants are ${known.join(", ")}`);
    if (isLeft(p)) return report(p.left, json);
  }
  const chosen = variants.filter((v) => names.length === 0 || names.includes(v.name));
  const rows: Row[] = [];
  for (const variant of chosen) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${variant.name}`);
    const lines = sourceLines(variant);
    if (isLeft(lines)) return report(lines.left, json);
    rows.push({ variant, lines: lines.right, found: judged(variant) });
  }
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  if (json) jsonResult(rows.map(toJson));
  else {
    result(show(rows));
    for (const { variant, found } of rows) if (isLeft(found)) note(`error: ${variant.name} does not compile: ${found.left}`);
  }
  return rows.some((r) => isLeft(r.found)) ? EXIT.failed : EXIT.ok;
}

function judged(variant: Variant): Either<string, Verdict> {
  const at = (scale: number) => {
    const time = TIME * scale;
    const y = 2 ** Math.floor(Math.log2(time) / 2);
    const forward = variant.example({ ...SIZES, time, y, x: time / y });
    return halvesOf(forward);
  };
  try {
    const found = verdict(at);
    return isLeft(found) ? left(found.left.message) : found;
  } catch (thrown) {
    // A variant of ours that is refused is one row of the table, not the end of it; a defect keeps its trace.
    if (thrown instanceof MallardError) return left(thrown.message);
    return left(thrown instanceof Error ? (process.env.MALLARD_DEBUG ? (thrown.stack ?? thrown.message) : thrown.message) : String(thrown));
  }
}

/** Lines of its file that are neither blank nor comment nor import. The package carries its sources in its source maps. */
function sourceLines({ number, name }: Variant): Either<Problem, number> {
  const file = `models/attention/${String(number).padStart(2, "0")}-${name}`;
  const source = join(packageRoot(), `${file}.ts`);
  const map = join(packageRoot(), "dist", `${file}.js.map`);
  let text = "";
  if (existsSync(source)) text = readFileSync(source, "utf8");
  else if (existsSync(map)) text = String(JSON.parse(readFileSync(map, "utf8")).sourcesContent?.[0] ?? "");
  if (text === "") return problem("run", `the source of ${name} is missing: ${source}`, "install the package again");
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^import\b[\s\S]*?;\s*$/gm, "");
  return right(code.split("\n").filter((line) => line.trim() !== "" && !line.trim().startsWith("//")).length);
}

function show(rows: readonly Row[]): string {
  const of =
    (f: (v: Verdict) => string) =>
    ({ found }: Row): string =>
      isLeft(found) ? "–" : f(found.right);
  const text = table<Row>(
    [
      { head: "#", cell: (r) => String(r.variant.number) },
      { head: "variant", cell: (r) => r.variant.name, words: true },
      { head: "lines", cell: (r) => String(r.lines) },
      { head: "forward", cell: of((v) => countText(v.forward.count)), words: true },
      { head: "passes", cell: of((v) => String(v.forward.count.passes)) },
      { head: "backward", cell: of((v) => countText(v.backward.count)), words: true },
      { head: "passes", cell: of((v) => String(v.backward.count.passes)) },
      ...[0, 1, 2].map((i) => ({
        head: `MiB at ${(TIME * 2 ** i) / 1024}k`,
        cell: of((v) => mebibytes(v.temporaries.both.bytes[i] as number)),
      })),
      { head: "growth", cell: of((v) => `T^${v.temporaries.both.exponent.toFixed(2)}`) },
      { head: "T×T", cell: of((v) => (v.quadratic.length > 0 ? "yes" : "no")), words: true },
    ],
    rows,
  );
  const reasons = rows.flatMap(({ variant, found }) => (isLeft(found) ? [] : reasonsOf(found.right).map((line) => `  ${variant.name}: ${line}`)));
  const sizes = `batch ${SIZES.batch}, ${SIZES.head} heads, dim ${SIZES.dim}; temporaries of forward and backward together`;
  return [text, "", sizes, ...(reasons.length > 0 ? ["", "Why T×T temporaries are there", ...reasons] : [])].join("\n");
}

/** What stopped the fusion, in the lowering's words; how the values are read, where it has none. */
function reasonsOf(v: Verdict): readonly string[] {
  const stopped = v.quadratic.flatMap((q) => q.stopped.map((w) => `${placeText(w.places)} ${w.reason}`));
  const read = v.quadratic.map((q) => `${q.value.buffer.name} ${placeText(q.value.places)}: ${q.readings.join("; ")}`);
  return [...new Set(stopped.length > 0 ? stopped : read)];
}

function toJson({ variant, lines, found }: Row): object {
  const { number, name, title } = variant;
  if (isLeft(found)) return { number, name, title, lines, error: found.left };
  const v = found.right;
  const half = ({ count }: Half) => ({ ...count });
  return {
    number,
    name,
    title,
    lines,
    forward: half(v.forward),
    backward: half(v.backward),
    temporaries: v.temporaries.both.bytes.map((bytes, i) => ({ time: TIME * (v.temporaries.both.scales[i] as number), bytes })),
    exponent: v.temporaries.both.exponent,
    forwardTemporaries: v.temporaries.forward.bytes,
    forwardExponent: v.temporaries.forward.exponent,
    scratchBytesPerThread: v.scratchBytesPerThread,
    dense: v.dense,
    quadratic: v.quadratic.map(quadraticJson),
    inBlocks: v.inBlocks.map(quadraticJson),
  };
}
