// Our own training step, kernel by kernel: the program measures itself as it runs (see kernelTimes), several steps are
// taken, and each kernel's figures are its least over them: on a machine that does other work, the run that was disturbed
// least says most.
import type { KernelTime } from "../index.js";
import { kernelTimes } from "../index.js";
import { STEP_SIZES } from "../trainer.js";
import { openStep } from "./model.js";
import { type Context, type Outcome, openNative } from "./parts.js";
import { digits } from "./results.js";
import { median } from "./statistics.js";

const STEPS = 21;

interface Profile {
  readonly size: string;
  readonly threads: number;
  /** A whole step: the fastest, and the median. */
  readonly stepMs: number;
  readonly medianMs: number;
  /** The sum over the kernels: inside them, and at barriers (the mean of the threads). */
  readonly kernelMs: number;
  readonly waitMs: number;
  /** The most expensive first. */
  readonly kernels: readonly KernelTime[];
}

export async function profile(c: Context): Promise<Outcome> {
  return outcome(await measured(c));
}
async function measured({ args, progress }: Context): Promise<Profile> {
  progress(`profile of ${args.size}`);
  using session = await openNative(args.threads);
  const own = await openStep(session, STEP_SIZES[args.size], { profile: true });
  for (let i = 0; i < 3; i++) await own.step();
  const steps: number[] = [];
  const runs: (readonly KernelTime[])[] = [];
  for (let i = 0; i < STEPS; i++) {
    const start = performance.now();
    const results = await own.step();
    steps.push(performance.now() - start);
    runs.push(kernelTimes(own.program, results));
  }
  const kernels = (runs[0] ?? []).map((k, i): KernelTime => {
    const of = (name: "ms" | "slowestMs" | "waitMs") => Math.min(...runs.map((r) => (r[i] as KernelTime)[name]));
    return { ...k, ms: of("ms"), slowestMs: of("slowestMs"), waitMs: of("waitMs") };
  });
  const total = (name: "ms" | "waitMs") => kernels.reduce((n, k) => n + k[name], 0);
  return {
    size: args.size,
    threads: args.threads,
    stepMs: Math.min(...steps),
    medianMs: median(steps),
    kernelMs: total("ms"),
    waitMs: total("waitMs"),
    kernels: kernels.sort((a, b) => b.ms + b.waitMs - a.ms - a.waitMs),
  };
}

function outcome(p: Profile, most = 25): Outcome {
  const rows = p.kernels
    .slice(0, most)
    .map((k) => [
      k.name,
      k.form,
      String(k.calls),
      k.ms.toFixed(2),
      k.waitMs.toFixed(2),
      `${(((k.ms + k.waitMs) / p.stepMs) * 100).toFixed(1)} %`,
      digits(k.operations / k.slowestMs / 1e6),
      digits(k.bytes / k.slowestMs / 1e6),
    ]);
  const notes = [
    `step of ${p.size} on ${p.threads} threads: ${p.stepMs.toFixed(1)} ms at best, ${p.medianMs.toFixed(1)} in the median;`,
    `the kernels' least times add up to ${p.kernelMs.toFixed(1)} ms, and ${p.waitMs.toFixed(1)} at barriers (means of the threads)`,
    ...(p.kernels.length > most ? [`and ${p.kernels.length - most} more`] : []),
    "Work is nominal: masked elements count in full, and memory is what must move at least once.",
  ];
  const head = ["kernel", "form", "calls", "ms", "wait ms", "of the step", "GFLOP/s", "GB/s"];
  return { rows: [], tables: [{ title: `profile of ${p.size}`, head, rows, data: p, notes }], systems: [], notes: [] };
}
