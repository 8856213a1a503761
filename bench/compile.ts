// How long it takes from a process's start to the end of its first training step: with an empty kernel cache (cold) and
// again with what that left (warm), against torch.compile with a cache folder of its own.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isLeft } from "fp-ts/lib/Either.js";
import { STEP_SIZES, type StepSize } from "../trainer.js";
import { Lines } from "./contestant.js";
import type { Context, Outcome } from "./parts.js";
import { torch, torchName } from "./peers.js";
import { digits, row } from "./results.js";
import { median } from "./statistics.js";

/** Seconds, for the sizes that have one. */
const BARS: Readonly<Record<string, { readonly cold: number; readonly warm?: number }>> = { tiny: { cold: 4, warm: 0.7 }, base: { cold: 8 } };
const showing = (figures: readonly number[]) => ({ medians: figures, all: figures });
const STATES = ["cold", "warm"] as const;

function barOf(size: StepSize, state: (typeof STATES)[number]) {
  const limit = BARS[size]?.[state];
  return limit === undefined ? undefined : ({ on: "ours", limit } as const);
}

async function firstStep(size: StepSize, threads: number, cache: string) {
  const start = performance.now();
  const child = new Lines(
    "Mallard",
    process.execPath,
    [fileURLToPath(new URL("./first-step.js", import.meta.url)), JSON.stringify(STEP_SIZES[size]), String(threads)],
    {
      MALLARD_CACHE: cache,
    },
  );
  try {
    const said: unknown = JSON.parse(await child.line());
    const phases = typeof said === "object" && said !== null ? said : {};
    const phase = (name: string) => Number(Reflect.get(phases, name)) / 1e3;
    const cpu: unknown = Reflect.get(phases, "cpu");
    const used = (who: string) => Number(typeof cpu === "object" && cpu !== null ? (Reflect.get(cpu, who) ?? Number.NaN) : Number.NaN);
    return {
      seconds: (performance.now() - start) / 1e3,
      load: phase("start") + phase("load"),
      compile: phase("compile"),
      run: phase("run"),
      own: used("own"),
      compilers: used("compilers"),
    };
  } finally {
    child.close();
  }
}

export async function compile({ args, progress }: Context): Promise<Outcome> {
  const notes: string[] = [];
  const mine = { cold: [] as number[], warm: [] as number[] };
  const theirs = { cold: [] as number[], warm: [] as number[] };
  const parts = { cold: [] as Awaited<ReturnType<typeof firstStep>>[], warm: [] as Awaited<ReturnType<typeof firstStep>>[] };
  let system: string | null = null;
  let missing = false;
  const pairs = args.pairs ?? 3;
  for (let round = 0; round < pairs; round++) {
    progress(`compile, round ${round + 1} of ${pairs}`);
    const folder = mkdtempSync(join(tmpdir(), "mallard-bench-"));
    const own = async (state: "cold" | "warm") => {
      const m = await firstStep(args.size, args.threads, join(folder, "mallard"));
      mine[state].push(m.seconds);
      parts[state].push(m);
    };
    const other = async (state: "cold" | "warm") => {
      if (missing) return;
      const t = await torch("compile", STEP_SIZES[args.size], args.threads, args.peers, join(folder, "torch"));
      if (isLeft(t)) {
        missing = true;
        notes.push(`skipped: ${t.left}`);
        return;
      }
      t.right.contestant.close();
      system = `${torchName("compile")}: ${t.right.contestant.detail}`;
      theirs[state].push(t.right.firstSeconds);
    };
    try {
      for (const state of STATES) for (const go of round % 2 === 0 ? [own, other] : [other, own]) await go(state);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const rows = STATES.map((state) =>
    row({
      part: "compile",
      what: `first step ${args.size}, ${state}`,
      unit: "s",
      better: "less",
      ours: showing(mine[state]),
      against: torchName("compile"),
      theirs: missing ? null : showing(theirs[state]),
      bar: barOf(args.size, state),
    }),
  );
  for (const state of STATES) {
    const of = (name: "load" | "compile" | "run" | "own" | "compilers") => digits(median(parts[state].map((p) => p[name])));
    notes.push(
      `first step ${args.size}, ${state}: ${of("load")} s to load Node and Mallard, ${of("compile")} s to build and compile, ${of("run")} s to run; processor time ${of("own")} s, and ${of("compilers")} s of C compilers`,
    );
  }
  return { rows, systems: system === null ? [] : [system], notes };
}
