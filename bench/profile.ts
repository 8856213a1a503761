// Our own training step, kernel by kernel: the program measures itself as it runs (profileRuns), and the machine's limits are
// measured before and after it. Beside the table a roofline picture: what each kernel reached, under the roofs of the machine.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Attained, attained, type KernelTime, profileRuns, type Roofs, type RunProfile, roofsOf, titleOf } from "../index.js";
import { STEP_SIZES } from "../trainer.js";
import { openLimits } from "./limits.js";
import { openStep } from "./model.js";
import { type Context, type Outcome, openNative } from "./parts.js";
import { ROOT } from "./peers.js";
import { digits, type Table } from "./results.js";
import { roofline } from "./roofline.js";
import { stepFlops } from "./step.js";

const RUNS = 21;
const LIMIT_SECONDS = 0.4;
/** Kernels in the table. */
const SHOWN = 30;

export async function profile({ args, progress }: Context): Promise<Outcome> {
  const notes: string[] = [];
  progress(`profile of ${args.size}`);
  using session = await openNative(args.threads, args.tune ? progress : undefined);
  const own = await openStep(session, STEP_SIZES[args.size], { profile: true });
  const limits = await openLimits(args.threads, (line) => notes.push(line));
  try {
    const { peak } = limits;
    if (!peak) throw new Error(notes.join("; "));
    const before = await roofsOf(peak, LIMIT_SECONDS);
    const p = await profileRuns(own.program, () => own.step(), { least: RUNS, ms: 1000, progress: (run) => progress(`step ${run}`) });
    const roofs = better(before, await roofsOf(peak, LIMIT_SECONDS));
    const blas = limits.all.find((c) => c.name.startsWith("OpenBLAS"));
    const blasRate = blas ? Math.max(...(await blas.slice(0, LIMIT_SECONDS))) : null;
    const title = `step of ${args.size} on ${args.threads} thread${args.threads === 1 ? "" : "s"}`;
    const file = args.plot ?? (args.save ? join(ROOT, "bench", pictureName(args.size, args.threads)) : null);
    if (file !== null) {
      progress("drawing");
      mkdirSync(dirname(resolve(file)), { recursive: true });
      writeFileSync(file, await roofline(p, roofs, { title, blas: blasRate }));
      process.stderr.write(`roofline in ${file}\n`);
    }
    const table = tableOf(title, p, roofs, blasRate, stepFlops(STEP_SIZES[args.size], own.parameters));
    return {
      rows: [],
      tables: [args.save && file !== null && args.plot === null ? { ...table, picture: pictureName(args.size, args.threads) } : table],
      systems: blas ? [`OpenBLAS: ${blas.detail}`] : [],
      notes,
    };
  } finally {
    limits.close();
  }
}
const pictureName = (size: string, threads: number) => `roofline-${size}${threads === 2 ? "" : `-${threads}-threads`}.svg`;
/** Of two measurements the greater of each: what disturbs one only lowers it. */
const better = (a: Roofs, b: Roofs): Roofs => ({
  ...(a.gflops >= b.gflops ? a : b),
  memory: Math.max(a.memory, b.memory),
  cache: Math.max(a.cache, b.cache),
});

function tableOf(title: string, p: RunProfile, roofs: Roofs, blas: number | null, flops: number): Table {
  const kernels = p.kernels.map((k): KernelTime & Attained => ({ ...k, ...attained(k, roofs) }));
  const rows = kernels
    .slice(0, SHOWN)
    .map((k) => [
      titleOf(k),
      k.source.half,
      String(k.calls),
      k.ms.toFixed(2),
      k.waitMs.toFixed(2),
      `${(((k.ms + k.waitMs) / p.bestMs) * 100).toFixed(1)} %`,
      digits(k.gflops),
      digits(k.gbs),
      `${(100 * k.share).toFixed(0)} % ${k.bound}`,
      k.name,
    ]);
  const machine = [
    `${digits(roofs.gflops)} GFLOP/s by fma of ${roofs.lanes} floats`,
    ...(blas === null ? [] : [`${digits(blas)} by OpenBLAS at 1024`]),
    `${digits(roofs.memory)} GB/s from memory, ${digits(roofs.cache)} from a core's own cache`,
  ];
  return {
    title,
    head: ["expression", "pass", "calls", "ms", "wait ms", "of the step", "GFLOP/s", "GB/s", "of the limit", "kernel"],
    rows,
    data: { ...p, roofs, openblas: blas, kernels },
    notes: [
      `${p.bestMs.toFixed(1)} ms at best, ${p.medianMs.toFixed(1)} in the median of ${p.runs}; the kernels' least times add up to ${p.kernelMs.toFixed(1)} ms, and ${p.waitMs.toFixed(1)} at barriers (means of the threads).`,
      `The model's own ${digits(flops / 1e9)} GFLOP: ${digits(flops / p.bestMs / 1e6)} GFLOP/s. This machine at the same time: ${machine.join(", ")}.`,
      ...(kernels.length > SHOWN ? [`And ${kernels.length - SHOWN} kernels more (--json has all).`] : []),
      "Work is nominal: masked elements count in full, and memory is what must move at least once. The limit is the roof above a kernel: the peak, or memory's bandwidth where its work a byte is less than the machine's; above 100 % caches served it.",
    ],
  };
}
