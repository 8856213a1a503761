// What a training step takes of the machine's memory: the greatest resident size of a whole process, from its start over its
// compilation to a few steps, ours and PyTorch's, each a fresh process that keeps still while it is read (VmHWM of Linux); with
// empty caches, and again with what that run left. And our arena against the lower bound for what the backward pass needs of the
// forward pass (compiler/explain/saved.ts).
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isLeft } from "fp-ts/lib/Either.js";
import type { ProgramMemory } from "../index.js";
import { STEP_SIZES, type StepSize } from "../trainer.js";
import { Lines } from "./contestant.js";
import type { Context, Outcome } from "./parts.js";
import { type Mode, torch, torchName } from "./peers.js";
import { digits, type Row, row } from "./results.js";
import { median } from "./statistics.js";

const STATES = ["cold", "warm"] as const;
type State = (typeof STATES)[number];
const MODES: readonly Mode[] = ["eager", "compile"];
const MIB = 2 ** 20;
/** Of PyTorch's process, and over what must be saved. */
const BARS = { process: 0.5, arena: 1.3 };

const statusOf = (pid: number) => `/proc/${pid}/status`;
/** The greatest resident size so far, in MiB. */
function peakOf(pid: number | undefined): number {
  const found = pid === undefined ? null : /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(statusOf(pid), "utf8"));
  if (!found) throw new Error("the process's status does not say how much memory it had");
  return Number(found[1]) / 1024;
}

interface Own {
  readonly parameters: number;
  readonly peak: number;
  readonly memory: ProgramMemory;
}
async function own(size: StepSize, threads: number, cache: string): Promise<Own> {
  const file = fileURLToPath(new URL("./memory-step.js", import.meta.url));
  const child = new Lines("Mallard", process.execPath, [file, JSON.stringify(STEP_SIZES[size]), String(threads)], { MALLARD_CACHE: cache });
  try {
    const { parameters } = JSON.parse(await child.line()) as { readonly parameters: number }; // memory-step.ts wrote it
    const peak = peakOf(child.pid);
    return { parameters, peak, memory: JSON.parse(await child.ask("memory")) as ProgramMemory };
  } finally {
    child.close();
  }
}

export async function memory({ args, progress }: Context): Promise<Outcome> {
  if (!existsSync(statusOf(process.pid)))
    return { rows: [], systems: [], notes: ["memory: skipped, /proc is needed to read another process's peak"] };
  const notes: string[] = [];
  const systems = new Set<string>();
  const mine: Record<State, Own[]> = { cold: [], warm: [] };
  const theirs: Record<Mode, Record<State, number[]>> = { eager: { cold: [], warm: [] }, compile: { cold: [], warm: [] } };
  const missing = new Set<Mode>();
  const pairs = args.pairs ?? 3;
  for (let round = 0; round < pairs; round++) {
    progress(`memory of ${args.size}, round ${round + 1} of ${pairs}`);
    const folder = mkdtempSync(join(tmpdir(), "mallard-bench-"));
    try {
      for (const state of STATES) {
        mine[state].push(await own(args.size, args.threads, join(folder, "mallard")));
        for (const mode of MODES) {
          // Eager keeps nothing between processes.
          if (missing.has(mode) || (mode === "eager" && state === "cold")) continue;
          const t = await torch(mode, STEP_SIZES[args.size], args.threads, args.peers, join(folder, "torch"));
          if (isLeft(t)) {
            missing.add(mode);
            notes.push(`skipped: ${t.left}`);
            continue;
          }
          const { contestant, parameters } = t.right;
          try {
            if (parameters !== mine[state].at(-1)?.parameters) throw new Error(`${contestant.name} has ${parameters} parameters: not the same model`);
            await contestant.slice(0, 1);
            theirs[mode][state].push(peakOf(contestant.pid));
            systems.add(`${contestant.name}: ${contestant.detail}`);
          } finally {
            contestant.close();
          }
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const showing = (figures: readonly number[]) => ({ medians: figures, all: figures });
  const same = { part: "memory", unit: "MiB", better: "less" } as const;
  const processRow = (mode: Mode, state: State): Row =>
    row({
      ...same,
      what: `peak of the process, step ${args.size}, ${state}`,
      ours: showing(mine[state].map((m) => m.peak)),
      against: torchName(mode),
      theirs: missing.has(mode) ? null : showing(theirs[mode][state]),
      bar: args.size === "small" ? { on: "ratio", limit: BARS.process } : undefined,
    });
  const plans = mine.warm.map((m) => m.memory);
  const plan = plans[0] as ProgramMemory; // there is a round at least
  const arena = row({
    ...same,
    what: `arena, step ${args.size}`,
    ours: showing(plans.map((p) => p.arena / MIB)),
    against: "what must be saved",
    theirs: showing(plans.map((p) => p.saved / MIB)),
    bar: args.size === "small" ? { on: "ratio", limit: BARS.arena } : undefined,
  });
  const mib = (bytes: number) => `${digits(bytes / MIB)} MiB`;
  const rest = median(mine.warm.map((m) => m.peak)) * MIB - plan.state - plan.arena - plan.inputs - plan.outputs - plan.tables;
  notes.push(
    `memory ${args.size}: weights and optimizer state ${mib(plan.state)}, arena ${mib(plan.arena)}, tables ${mib(plan.tables)}; Node, Mallard and the threads' scratch ${mib(rest)}`,
    `memory ${args.size}: ${mib(plan.peak)} of the arena are needed at once, most of it for ${plan.held
      .slice(0, 8)
      .map((h) => `${h.name} ${mib(h.bytes)}`)
      .join(", ")}`,
    `memory ${args.size}: what must be saved is a minimum cut, ${mib(plan.saved)}: the least with which every forward value that the backward pass reads can be had again by point-wise work (and scores from queries and keys), when the loss is known and no gradient is`,
  );
  return { rows: [processRow("eager", "warm"), processRow("compile", "warm"), processRow("compile", "cold"), arena], systems: [...systems], notes };
}
