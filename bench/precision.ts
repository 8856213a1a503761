// What storage of half width costs and brings: the decoder trained on the same text under each policy, its loss along the
// way, on text it has not seen, the bytes that weights, state and temporaries take and that a step's kernels move, and the
// time of a step against f32's, by turns. The policies are those of docs/precision.md.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isLeft } from "fp-ts/lib/Either.js";
import { each, kernelTimes, type Session, type SessionProgram } from "../index.js";
import { adamw } from "../models/index.js";
import {
  type Corpus,
  isFull,
  loadCorpus,
  type Precision,
  precisionText,
  readPrecision,
  STEP_SIZES,
  trainingBatch,
  validationBatches,
} from "../trainer.js";
import type { Size } from "./arguments.js";
import { openDecoder } from "./model.js";
import { type Context, type Outcome, openNative } from "./parts.js";
import { ROOT } from "./peers.js";
import { digits, type Row, row, type Table } from "./results.js";
import { turns } from "./statistics.js";

/** Which rounding each of them isolates is said in docs/precision.md; f32 first: the others are compared with it. */
const POLICIES = [
  "f32",
  "params=bf16",
  "params=bf16,update=stochastic",
  "params=bf16,update=nearest",
  "state=bf16",
  "compute=bf16",
  "bf16",
  "params=bf16,state=bf16,compute=bf16,update=stochastic",
  "f16",
  "params=f16,compute=f16,update=stochastic",
  "state=f16",
] as const;
/** What happens to steps below half a unit of the last place, seen where all steps are that small. */
const REMEDIES = ["f32", "params=bf16", "params=bf16,update=stochastic", "params=bf16,update=nearest"] as const;
const STEPS: Readonly<Record<Size, number>> = { micro: 1000, tiny: 150, small: 30, base: 10 };
const [LR, SMALL, WARMUP] = [3e-3, 3e-5, 20];
const [SEED, OTHER_SEED] = [1, 2];
const VALIDATION = 16;
/** Steps that a loss of the table and of the picture is the mean of. */
const WINDOW = 20;
const TURN_MS = 60;
const PAIRS = 15;

interface Trained {
  readonly text: string;
  readonly precision: Precision;
  readonly losses: readonly number[];
  readonly validation: number;
  readonly bytes: { readonly params: number; readonly state: number; readonly temporaries: number; readonly moved: number };
  readonly kernels: number;
  readonly step: () => Promise<unknown>;
  /** Best milliseconds of a step, one a round. */
  readonly ms: number[];
  readonly close: () => void;
}

export async function precision({ args, progress }: Context): Promise<Outcome> {
  const s = STEP_SIZES[args.size];
  const steps = STEPS[args.size];
  const corpus = await loadCorpus(null, s.time + 1);
  if (isLeft(corpus)) throw new Error(`${corpus.left.message}; ${corpus.left.hint}`);
  const [all, slow]: readonly [Trained[], Trained[]] = [[], []];
  let other: Trained | undefined;
  const run = (text: string, o: { readonly lr?: number; readonly seed?: number } = {}): Promise<Trained> => {
    const policy = readPrecision(text);
    if (isLeft(policy)) throw new Error(policy.left); // the lists are ours
    const said = `${args.size}, ${text}${o.lr === undefined ? "" : ` at ${o.lr}`}`;
    return trained(text, policy.right, corpus.right, args, { lr: LR, seed: SEED, ...o }, (t) => progress(`${said}: step ${t} of ${steps}`));
  };
  try {
    for (const text of POLICIES) {
      all.push(await run(text));
    }
    // How far two runs are apart that differ in nothing that matters.
    other = await run("f32", { seed: OTHER_SEED });
    for (const text of REMEDIES) slow.push(await run(text, { lr: SMALL }));
    const pairs = args.pairs ?? PAIRS;
    for (let round = 0; round < pairs; round++) {
      progress(`${args.size}: round ${round + 1} of ${pairs}`);
      for (const i of turns(all.length, round)) await turn(all[i] as Trained);
    }
  } finally {
    for (const t of [...all, ...slow, ...(other ? [other] : [])]) t.close();
  }
  const [full] = all as [Trained, ...Trained[]];
  const table = tableOf(args.size, all, full, other);
  if (args.save) writeFileSync(join(ROOT, "bench", pictureName(args.size)), await picture(args.size, all, full, other));
  const showing = (t: Trained) => ({ medians: t.ms, all: t.ms });
  const rows = all.slice(1).map(
    (t): Row =>
      row({
        part: "precision",
        group: "Time of a step",
        what: `${args.size}, ${t.text}`,
        unit: "ms",
        better: "less",
        ours: showing(t),
        against: "f32",
        theirs: showing(full),
      }),
  );
  return {
    rows,
    tables: [args.save ? { ...table, picture: pictureName(args.size) } : table, smallSteps(args.size, slow)],
    systems: [`AdamW at ${LR} after ${WARMUP} steps of warm-up, batches of ${s.batch} × ${s.time} bytes, the same for every policy`],
    notes: [`precision: a step's figure in a round is the least of a turn of ${TURN_MS} ms`],
  };
}
const pictureName = (size: Size) => `precision-${size}.svg`;

async function trained(
  text: string,
  precision: Precision,
  corpus: Corpus,
  { size, threads }: Pick<Context["args"], "size" | "threads">,
  { lr, seed }: { readonly lr: number; readonly seed: number },
  progress: (step: number) => void,
): Promise<Trained> {
  const s = STEP_SIZES[size];
  const session = await openNative(threads);
  const close = () => session[Symbol.dispose]();
  try {
    const { programs, step, evaluate } = await openDecoder(session, s, { precision, optimizer: each({ "*": adamw({ eps: 1e-8 }) }), seed });
    const shape = { sequences: s.batch, time: s.time };
    const batchOf = ({ tokens, next }: ReturnType<typeof trainingBatch>) => ({ tokens, next });
    const losses: number[] = [];
    for (let t = 1; t <= STEPS[size]; t++) {
      if (t % 20 === 1) progress(t);
      const batch = batchOf(trainingBatch(corpus.train, shape, SEED, t));
      losses.push((await step.run({ ...batch, lr: [lr * Math.min(1, t / WARMUP)], t: [t] })).loss?.[0] ?? Number.NaN);
    }
    let validation = 0;
    for (const batch of validationBatches(corpus.validation, shape, VALIDATION))
      validation += ((await evaluate.run(batchOf(batch))).loss?.[0] ?? Number.NaN) / VALIDATION;
    const batch = batchOf(trainingBatch(corpus.train, shape, SEED, 0));
    let t = STEPS[size];
    const again = () => step.run({ ...batch, lr: [0], t: [++t] });
    return {
      text,
      precision,
      losses,
      validation,
      bytes: {
        params: bytesOf(programs.params),
        state: bytesOf(programs.state),
        temporaries: step.plan?.arenaBytes ?? 0,
        moved: await movedBytes(session, programs.step, batch),
      },
      kernels: step.kernels.length,
      step: again,
      ms: [],
      close,
    };
  } catch (e) {
    close();
    throw e;
  }
}
const BYTES: Readonly<Record<string, number>> = { f32: 4, bf16: 2, f16: 2 };
const bytesOf = (leaves: readonly { readonly dtype: string; readonly axes: object }[]): number =>
  leaves.reduce((sum, l) => sum + (BYTES[l.dtype] ?? Number.NaN) * Object.values(l.axes).reduce<number>((n, e) => n * Number(e), 1), 0);
/** What the kernels of a step read and write, in a program of its own that measures itself. */
async function movedBytes(session: Session, spec: SessionProgram["spec"], batch: object): Promise<number> {
  using profiled = await session.program({ ...spec, profile: true });
  const results = await profiled.run({ ...batch, lr: [0], t: [1] });
  return kernelTimes(profiled, results).reduce((sum, k) => sum + k.bytes, 0);
}

async function turn(m: Trained): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + TURN_MS;
  do {
    const start = performance.now();
    await m.step();
    best = Math.min(best, performance.now() - start);
  } while (performance.now() < end);
  m.ms.push(best);
}

const meanOf = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;
/** The mean loss of the steps up to the t-th, as many as a window has. */
const lossAt = (t: Trained, step: number): number => meanOf(t.losses.slice(Math.max(0, step - WINDOW), step));
function tableOf(size: Size, all: readonly Trained[], full: Trained, other: Trained | undefined): Table {
  const steps = full.losses.length;
  const at = [0.05, 0.25, 1].map((share) => Math.max(WINDOW, Math.round(share * steps)));
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(2);
  const signed = (x: number): string => `${x >= 0 ? "+" : "−"}${Math.abs(x).toFixed(4)}`;
  return {
    title: `Storage, ${size}: losses in nats a byte, bytes in MB`,
    head: [
      "policy",
      ...at.map((n) => `loss to step ${n}`),
      "against f32",
      "validation",
      "against f32",
      "weights",
      "state",
      "temporaries",
      "moved a step",
      "kernels",
    ],
    rows: all.map((t) => [
      t.text,
      ...at.map((n) => lossAt(t, n).toFixed(4)),
      t === full ? "" : signed(lossAt(t, steps) - lossAt(full, steps)),
      t.validation.toFixed(4),
      t === full ? "" : signed(t.validation - full.validation),
      mb(t.bytes.params),
      mb(t.bytes.state),
      mb(t.bytes.temporaries),
      digits(t.bytes.moved / 1e6),
      String(t.kernels),
    ]),
    data: all.map(({ text, losses, validation, bytes, kernels }) => ({ policy: text, losses, validation, bytes, kernels })),
    notes: [
      `Losses are means of the ${WINDOW} steps up to the one named.`,
      ...(other
        ? [
            `The yardstick: f32 from other initial weights is ${signed(lossAt(other, steps) - lossAt(full, steps))} from f32 in training, ${signed(other.validation - full.validation)} in validation.`,
          ]
        : []),
      ...all.filter((t) => !isFull(t.precision)).map((t) => `${t.text}: ${precisionText(t.precision)}.`),
    ],
  };
}

function smallSteps(size: Size, slow: readonly Trained[]): Table {
  const rows = slow.map((t) => [t.text, lossAt(t, WINDOW).toFixed(4), lossAt(t, t.losses.length).toFixed(4), t.validation.toFixed(4)]);
  return {
    title: `Small steps, ${size}: a rate of ${SMALL}`,
    head: ["policy", `loss to step ${WINDOW}`, `loss to step ${STEPS[size]}`, "validation"],
    rows,
    data: slow.map(({ text, losses, validation }) => ({ policy: text, losses, validation })),
    notes: [],
  };
}

/** Beyond it a policy is no rival of f32: its line leaves the picture. */
const SHOWN = 0.06;
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#000000"];
/** The difference of each policy's loss from f32's along the run, each the mean of a window. */
async function picture(size: Size, all: readonly Trained[], full: Trained, other: Trained | undefined): Promise<string> {
  const echarts = await import("echarts");
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 1240, height: 560 });
  try {
    const steps = full.losses.map((_, i) => i + 1).filter((n) => n >= WINDOW);
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      title: {
        text: `Loss under a policy less that of f32: ${size}`,
        subtext: `nats a byte, means of ${WINDOW} steps; dashed: f32 from other weights`,
        left: 16,
        top: 8,
      },
      color: COLOURS,
      legend: { orient: "vertical", left: 780, top: 80, data: all.slice(1).map((t) => t.text) },
      grid: { left: 84, right: 480, top: 84, bottom: 56 },
      xAxis: { type: "value" as const, name: "step", nameLocation: "middle" as const, nameGap: 30, min: 0, max: full.losses.length },
      yAxis: { type: "value" as const, min: -SHOWN, max: SHOWN },
      series: [...all.slice(1), ...(other ? [other] : [])].map((t) => ({
        type: "line" as const,
        name: t === other ? "f32 from other weights" : t.text,
        showSymbol: false,
        clip: true,
        lineStyle: t === other ? { width: 1, type: "dashed" as const, color: "#999999" } : { width: 1.5 },
        data: steps.map((n) => [n, lossAt(t, n) - lossAt(full, n)]).filter(([, d]) => Number.isFinite(d)),
      })),
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
