// How the time of our step grows: with the sequence's length at a constant number of tokens, with layers, width and
// vocabulary, each beside the growth of its FLOPs. Both get an exponent, fitted over all sizes of a series, and nothing may
// grow faster than its FLOPs; kernels that do are named. The steps of a series take turns, and of each the fastest counts,
// so that what else the machine does disturbs all of them alike. Then, counted and not measured: how the work of a step
// divides among 1 to 64 threads, and how often they wait for each other.
import { type KernelTime, kernelTimes, type Roofs, roofsOf, type Scaling, scalingOf, titleOf } from "../index.js";
import { type ModelConfig, STEP_SIZES } from "../trainer.js";
import { SIZES } from "./arguments.js";
import { openLimits } from "./limits.js";
import { openStep } from "./model.js";
import { type Context, type Outcome, openNative } from "./parts.js";
import { digits, type Table } from "./results.js";
import { exponentOf, turns } from "./statistics.js";
import { stepFlops } from "./step.js";

const LIMIT_SECONDS = 0.3;
const ROUNDS = 5;
/** A turn lasts so long, a step at least. */
const TURN_MS = 150;
/** What an exponent may lie above another's: fits over times scatter by as much. */
const TOLERANCE = 0.05;
/** Kernels with less of the longest step than this are not looked at one by one. */
const LEAST_SHARE = 0.01;
const THREADS = [1, 2, 4, 8, 16, 32, 64] as const;

const HEAD_DIM = 64;
const usual = { vocab: 256, model: 256, layer: 2, head: 4, ff: 1024, time: 256, batch: 8, attention: { kind: "mha" } } as const satisfies ModelConfig;
const TOKENS = 8192;
/** A quantity and the decoders in which it alone changes (with width: heads of 64 and four times as wide an inner layer). */
export const SERIES: readonly { readonly what: string; readonly of: (c: ModelConfig) => number; readonly configs: readonly ModelConfig[] }[] = [
  {
    what: "time",
    of: (c) => c.time,
    configs: [256, 512, 1024, 2048, 4096, 8192].map((time) => ({ ...usual, model: 128, head: 2, ff: 512, time, batch: TOKENS / time })),
  },
  { what: "layers", of: (c) => c.layer, configs: [1, 2, 4, 8, 16].map((layer) => ({ ...usual, layer })) },
  {
    what: "width",
    of: (c) => c.model,
    configs: [128, 256, 512, 1024].map((model) => ({ ...usual, model, head: model / HEAD_DIM, ff: 4 * model })),
  },
  { what: "vocabulary", of: (c) => c.vocab, configs: [256, 1024, 4096, 16384, 50257].map((vocab) => ({ ...usual, vocab })) },
];

interface Point {
  readonly x: number;
  readonly config: ModelConfig;
  readonly flops: number;
  /** Milliseconds of the fastest step. */
  ms: number;
  /** Each kernel's least time, by its name. */
  readonly kernels: Map<string, KernelTime>;
}
export async function growth({ args, progress }: Context): Promise<Outcome> {
  const notes: string[] = [];
  const tables: Table[] = [];
  const summary: (readonly string[])[] = [];
  const offenders: Offender[] = [];
  const limits = await openLimits(args.threads, (line) => notes.push(line));
  try {
    const { peak } = limits;
    if (!peak) throw new Error(notes.join("; "));
    const blas = limits.all.find((c) => c.name.startsWith("OpenBLAS"));
    for (const series of SERIES) {
      const rate = async () => (blas ? Math.max(...(await blas.slice(0, LIMIT_SECONDS))) : Number.NaN);
      const before = [await roofsOf(peak, LIMIT_SECONDS), await rate()] as const;
      const points = await measured(series, args.threads, args.pairs ?? ROUNDS, progress);
      const roofs = before[0];
      const openblas = Math.max(before[1], await rate());
      const [time, work] = [exponentOf(points.map((p) => [p.x, p.ms])), exponentOf(points.map((p) => [p.x, p.flops]))];
      const last = lastExponents(points);
      const held = time <= work + TOLERANCE;
      summary.push([series.what, points.map((p) => p.x).join(", "), time.toFixed(2), work.toFixed(2), last, held ? "met" : "missed"]);
      const found = offendersIn(points, roofs).map((o) => ({ ...o, series: series.what }));
      offenders.push(...found);
      tables.push({
        title: `growth with ${series.what}`,
        head: [series.what, "batch", "step, ms", "GFLOP", "GFLOP/s", "of OpenBLAS", "of the peak"],
        rows: points.map((p) => {
          const gflops = p.flops / p.ms / 1e6;
          const share = (of: number) => (Number.isNaN(of) ? "" : `${((100 * gflops) / of).toFixed(0)} %`);
          return [String(p.x), String(p.config.batch), digits(p.ms), digits(p.flops / 1e9), digits(gflops), share(openblas), share(roofs.gflops)];
        }),
        data: {
          what: series.what,
          points: points.map(({ kernels, ...p }) => ({ ...p, kernels: [...kernels.values()] })),
          time,
          work,
          roofs,
          openblas,
        },
        notes: [
          `exponents: time ${time.toFixed(2)}, FLOPs ${work.toFixed(2)}; OpenBLAS ${digits(openblas)} GFLOP/s at 1024, peak ${digits(roofs.gflops)}, memory ${digits(roofs.memory)} GB/s.`,
        ],
      });
    }
  } finally {
    limits.close();
  }
  const all: Table = {
    title: "growth, fitted",
    head: ["", "sizes", "time's exponent", "FLOPs' exponent", "of the last doubling", "not faster than FLOPs"],
    rows: summary,
    data: summary,
    notes: [
      `Time per step is the fastest of ${args.pairs ?? ROUNDS} turns. FLOPs are the model's own: 6 a parameter and token, and the half of attention that is not masked. Wanted: time's exponent at most ${TOLERANCE} above the FLOPs'. Of the last doubling: time's exponent and the FLOPs' between the two greatest sizes.`,
    ],
  };
  const scalings = await scalingTables(progress);
  return {
    rows: [],
    tables: [all, ...tables, offendersTable(offenders), ...scalings],
    systems: limits.blas ? [`OpenBLAS: ${limits.blas.detail}`] : [],
    notes,
  };
}
function lastExponents(points: readonly Point[]): string {
  const two = points.slice(-2);
  const of = (f: (p: Point) => number) => exponentOf(two.map((p) => [p.x, f(p)])).toFixed(2);
  return `${of((p) => p.ms)} / ${of((p) => p.flops)}`;
}

async function measured(series: (typeof SERIES)[number], threads: number, rounds: number, progress: Context["progress"]): Promise<readonly Point[]> {
  const points: Point[] = [];
  const steps: (() => Promise<readonly KernelTime[]>)[] = [];
  const closing: (() => void)[] = [];
  try {
    for (const config of series.configs) {
      const x = series.of(config);
      progress(`${series.what} ${x}: compiling`);
      const session = await openNative(threads);
      closing.push(() => session[Symbol.dispose]());
      const own = await openStep(session, config, { profile: true });
      points.push({ x, config, flops: stepFlops(config, own.parameters), ms: Number.POSITIVE_INFINITY, kernels: new Map() });
      steps.push(async () => kernelTimes(own.program, await own.step()));
      await own.step();
    }
    for (let round = 0; round < rounds; round++)
      for (const i of turns(points.length, round)) {
        const [p, step] = [points[i] as Point, steps[i] as (typeof steps)[0]];
        progress(`${series.what} ${p.x}: round ${round + 1} of ${rounds}`);
        const end = performance.now() + TURN_MS;
        do {
          const start = performance.now();
          const times = await step();
          p.ms = Math.min(p.ms, performance.now() - start);
          for (const k of times) {
            const known = p.kernels.get(k.name);
            if (!known || k.slowestMs < known.slowestMs) p.kernels.set(k.name, k);
          }
        } while (performance.now() < end);
      }
    return points;
  } finally {
    for (const close of closing) close();
  }
}

interface Offender {
  readonly kernel: KernelTime;
  readonly time: number;
  readonly work: number;
  /** Of the longest step. */
  readonly share: number;
}
/** Kernels whose time grows faster than what the machine would need for their operations and bytes, whichever takes longer. */
function offendersIn(points: readonly Point[], roofs: Roofs): readonly Offender[] {
  const last = points.at(-1) as Point;
  return [...last.kernels.values()]
    .flatMap((kernel): Offender[] => {
      const each = points.flatMap((p) => {
        const k = p.kernels.get(kernel.name);
        return k && k.form === kernel.form
          ? [{ x: p.x, ms: k.slowestMs, needed: Math.max(k.operations / roofs.gflops, k.bytes / roofs.memory) }]
          : [];
      });
      // Times of a few microseconds are a call's and a clock's.
      const known = each.filter((e) => e.ms > 0.02 && e.needed > 0);
      const share = kernel.slowestMs / last.ms;
      if (known.length < 3 || share < LEAST_SHARE) return [];
      const [time, work] = [exponentOf(known.map((e) => [e.x, e.ms])), exponentOf(known.map((e) => [e.x, e.needed]))];
      return time > work + 2 * TOLERANCE ? [{ kernel, time, work, share }] : [];
    })
    .sort((a, b) => b.share * (b.time - b.work) - a.share * (a.time - a.work));
}
const offendersTable = (all: readonly (Offender & { readonly series?: string })[]): Table => ({
  title: "kernels that grow faster than their work",
  head: ["expression", "with", "time's exponent", "work's exponent", "of the longest step", "pass", "kernel"],
  rows: all.map((o) => [
    titleOf(o.kernel),
    o.series ?? "",
    o.time.toFixed(2),
    o.work.toFixed(2),
    `${(100 * o.share).toFixed(1)} %`,
    o.kernel.source.half,
    o.kernel.name,
  ]),
  data: all,
  notes: [
    `Those with at least ${100 * LEAST_SHARE} % of the longest step whose time's exponent is more than ${2 * TOLERANCE} above that of the longer of their operations at the peak and their bytes at memory's speed. Where a kernel's data leaves the caches, its time grows faster than its bytes once.`,
  ],
});

// ─── counted ─────────────────────────────────────────────────────────────────────────────────────────

async function scalingTables(progress: Context["progress"]): Promise<readonly Table[]> {
  const found: { readonly size: string; readonly s: Scaling }[] = [];
  for (const size of SIZES) {
    progress(`counting the work of ${size} by threads`);
    using session = await openNative(1);
    const { plan } = (await openStep(session, STEP_SIZES[size])).program;
    if (plan) found.push({ size, s: scalingOf(plan, THREADS) });
  }
  const whole: Table = {
    title: "a step's work by threads, counted",
    head: ["step", "barriers", "kernels", "", ...THREADS.map((t) => `×${t}`)],
    rows: found.flatMap(({ size, s }) => {
      const one = s.shares[0]?.total ?? 0;
      return [
        [size, String(s.barriers), String(s.kernels.length), "speed-up", ...s.shares.map((x) => (one / x.most).toFixed(2))],
        ["", "", "", "imbalance", ...s.shares.map((x) => ((x.most * x.threads) / x.total).toFixed(2))],
        ["", "", "", "repeated work", ...s.shares.map((x) => `${(100 * (x.total / one - 1)).toFixed(1)} %`)],
      ];
    }),
    data: found.map(({ size, s }) => ({ size, ...s })),
    notes: [
      "Operations and accesses that each thread makes, followed through the scheduled loops without computing anything. Speed-up: all work over that of the thread that has most, kernel by kernel; imbalance: the same over the mean; repeated work: what more threads do again, such as packing. Barriers and memory cost besides (docs/scaling.md).",
    ],
  };
  return [whole, ...found.map(({ size, s }) => slowTable(size, s))];
}
/** The kernels that lose most by their division at 64 threads. */
function slowTable(size: string, s: Scaling): Table {
  const one = s.shares[0]?.total ?? 1;
  const most = THREADS.at(-1) as number;
  const lost = s.kernels
    .flatMap((k) => {
      const [first, last] = [k.shares?.[0], k.shares?.at(-1)];
      return first && last ? [{ k, first, lost: (k.times * (last.most - first.total / most)) / one }] : [];
    })
    .sort((a, b) => b.lost - a.lost)
    .slice(0, 10);
  return {
    title: `kernels of ${size} that divide worst`,
    head: ["kernels between two barriers", "of the work", "times", "busy of 64", ...THREADS.slice(1).map((t) => `×${t}`)],
    rows: lost.map(({ k, first }) => [
      `${k.nests.slice(0, 3).join(", ")}${k.nests.length > 3 ? ` and ${k.nests.length - 3} more` : ""}`,
      `${((100 * k.times * first.total) / one).toFixed(1)} %`,
      String(k.times),
      String(k.units),
      ...(k.shares ?? []).slice(1).map((x) => (first.most / x.most).toFixed(1)),
    ]),
    data: lost.map(({ k }) => k),
    notes: [],
  };
}
