// `npm run bench`: how fast Mallard is on this machine, beside the systems that a user could take instead.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isLeft } from "fp-ts/lib/Either.js";
import { type Arguments, HELP, type Part, readArguments } from "./arguments.js";
import { attention } from "./attention.js";
import { compile } from "./compile.js";
import { gemm } from "./gemm.js";
import type { Context, Outcome } from "./parts.js";
import { ROOT } from "./peers.js";
import { profile, profileText } from "./profile.js";
import { quack } from "./quack.js";
import { asMarkdown, asText, load, machine, type Report, withSection } from "./results.js";
import { step } from "./step.js";

const parts: Readonly<Record<Part, (c: Context) => Promise<Outcome>>> = { gemm, attention, step, compile, quack };
const say = (line: string) => process.stdout.write(`${line}\n`);

async function run(args: Arguments): Promise<void> {
  const live = process.stderr.isTTY;
  const progress = (line: string) => void process.stderr.write(live ? `\r\x1b[2K${line}` : `${line}\n`);
  const clear = () => void (live && process.stderr.write("\r\x1b[2K"));
  const context: Context = { args, progress };
  if (args.profile) {
    const p = await profile(context);
    clear();
    say(args.json ? JSON.stringify(p, null, 2) : profileText(p));
    return;
  }
  const before = load();
  const outcomes: Outcome[] = [];
  for (const part of args.parts) outcomes.push(await parts[part](context));
  clear();
  const unique = (lines: readonly string[]) => [...new Set(lines)];
  const report: Report = {
    machine: machine(),
    load: before,
    threads: args.threads,
    systems: unique(outcomes.flatMap((o) => o.systems)),
    rows: outcomes.flatMap((o) => o.rows),
    notes: unique(outcomes.flatMap((o) => o.notes)),
  };
  say(args.json ? JSON.stringify(report, null, 2) : asText(report));
  if (!args.save) return;
  const file = join(ROOT, "bench/RESULTS.md");
  const asked = args.pairs === null ? [] : [`--pairs ${args.pairs}`];
  const command = ["npm run bench --", args.parts.length === 1 ? args.parts[0] : "all", `--size ${args.size}`, ...asked];
  // Figures of one thread and of two stand beside each other.
  if (args.threads === 1) command.push("--threads 1");
  writeFileSync(file, withSection(existsSync(file) ? readFileSync(file, "utf8") : "", asMarkdown(report, new Date(), command.join(" "))));
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
