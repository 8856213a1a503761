// `npm run bench`: how fast Mallard is on this machine, beside the systems that a user could take instead.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isLeft } from "fp-ts/lib/Either.js";
import { type Arguments, HELP, type Part, readArguments, type Size, USUAL_THREADS } from "./arguments.js";
import { attention } from "./attention.js";
import { browser } from "./browser.js";
import { compile } from "./compile.js";
import { gemm } from "./gemm.js";
import { growth } from "./growth.js";
import { memory } from "./memory.js";
import type { Context, Outcome } from "./parts.js";
import { ROOT } from "./peers.js";
import { precision } from "./precision.js";
import { profile } from "./profile.js";
import { quack } from "./quack.js";
import { asMarkdown, asText, load, machine, type Report, withSection } from "./results.js";
import { step } from "./step.js";

type Run = (c: Context) => Promise<Outcome>;
/** By which sizes a part runs: once for each, once for all of them, or by none. */
interface Running {
  readonly run: Run;
  readonly sizes: "each" | "all" | "none";
  /** Unless said. */
  readonly usual: readonly Size[];
}
const each = (run: Run): Running => ({ run, sizes: "each", usual: ["tiny"] });
const alone = (run: Run): Running => ({ run, sizes: "none", usual: ["tiny"] });
const parts: Readonly<Record<Part, Running>> = {
  gemm: { run: gemm, sizes: "all", usual: ["tiny", "small", "base"] },
  attention: alone(attention),
  step: each(step),
  memory: { run: memory, sizes: "each", usual: ["small"] },
  compile: each(compile),
  quack: each(quack),
  precision: { run: precision, sizes: "each", usual: ["micro"] },
  growth: alone(growth),
  browser: alone(browser),
};
const profiling = each(profile);
const say = (line: string) => process.stdout.write(`${line}\n`);

async function outcomesOf({ run, sizes, usual }: Running, args: Arguments, progress: Context["progress"]): Promise<readonly Outcome[]> {
  const asked = args.sizes ?? usual;
  const [first] = asked as readonly [Size, ...Size[]]; // arguments.ts refuses an empty list
  if (sizes !== "each") return [await run({ args: { ...args, size: first, sizes: asked }, progress })];
  const out: Outcome[] = [];
  for (const size of asked) out.push(await run({ args: { ...args, size, sizes: asked }, progress }));
  return out;
}

/** What was asked for, as a section's heading: figures of other sizes, rounds and threads stand beside each other. */
function commandOf(args: Arguments): string {
  const one = args.profile ? profiling : args.parts.length === 1 ? parts[args.parts[0] as Part] : null;
  const sizes = args.sizes ?? (one === null || one.sizes === "none" ? null : one.usual);
  return [
    "npm run bench --",
    args.profile ? "profile" : args.parts.length === 1 ? args.parts[0] : "all",
    ...(sizes === null ? [] : [`--size ${sizes.join(",")}`]),
    ...(args.pairs === null ? [] : [`--pairs ${args.pairs}`]),
    ...(args.threads === USUAL_THREADS ? [] : [`--threads ${args.threads}`]),
    ...(args.tune ? ["--tune"] : []),
    ...(args.adapter === "software" ? [] : [`--adapter ${args.adapter}`]),
  ].join(" ");
}

async function run(args: Arguments): Promise<void> {
  const live = process.stderr.isTTY;
  const progress = (line: string) => void process.stderr.write(live ? `\r\x1b[2K${line}` : `${line}\n`);
  const before = load();
  const outcomes: Outcome[] = [];
  for (const r of args.profile ? [profiling] : args.parts.map((p) => parts[p])) outcomes.push(...(await outcomesOf(r, args, progress)));
  if (live) process.stderr.write("\r\x1b[2K");
  const unique = (lines: readonly string[]) => [...new Set(lines)];
  const report: Report = {
    machine: machine(),
    load: before,
    threads: args.threads,
    systems: unique(outcomes.flatMap((o) => o.systems)),
    rows: outcomes.flatMap((o) => o.rows),
    tables: outcomes.flatMap((o) => o.tables ?? []),
    notes: unique(outcomes.flatMap((o) => o.notes)),
  };
  say(args.json ? JSON.stringify(report, null, 2) : asText(report));
  if (!args.save) return;
  const file = join(ROOT, "bench/RESULTS.md");
  writeFileSync(file, withSection(existsSync(file) ? readFileSync(file, "utf8") : "", asMarkdown(report, new Date(), commandOf(args))));
  process.stderr.write(`saved to ${file}\n`);
}

const args = readArguments(process.argv.slice(2));
if (isLeft(args)) {
  process.stderr.write(`${args.left}\nnpm run bench -- --help shows what there is\n`);
  process.exitCode = 2;
} else if (args.right.help) say(HELP.trimEnd());
else
  try {
    await run(args.right);
  } catch (e) {
    process.stderr.write(`\n${e instanceof Error ? e.message : String(e)}\n`);
    process.exitCode = 1;
  }
