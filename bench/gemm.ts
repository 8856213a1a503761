// Matrix products in f32 against OpenBLAS, with the machine's own peak measured in the same rounds: squares, and every
// product of a training step at the sizes asked for, with the operands as they lie in memory there.
//
// A run of a program costs a call beside its kernels (told below), which a step pays once and not a product. So what counts
// is the time inside the kernels, by the clock that the program itself carries (kernelTimes), of the thread that takes
// longest; packing is in it. OpenBLAS is timed around the call from C.
import { kernelTimes } from "../index.js";
import { STEP_SIZES } from "../trainer.js";
import { type Contestant, rounds, type Showing } from "./contestant.js";
import { type Limits, limitRows, openLimits, speedOf } from "./limits.js";
import { openNothing, openProduct, openStep } from "./model.js";
import { type Context, type Outcome, openNative, ours, repeated } from "./parts.js";
import { blasTask } from "./peers.js";
import { type Shape, shapeOf, shapesOf } from "./products.js";
import { digits, type Row, row } from "./results.js";
import { median } from "./statistics.js";

const NS = [256, 512, 1024, 2048] as const;
/** The shares of OpenBLAS's speed that are wanted, on one thread and on two. */
const BAR = { square: 0.97, shape: 0.9 } as const;
const SLICE_SECONDS = 0.25;

const squareOf = (n: number): Shape => ({
  label: String(n),
  calls: 1,
  ...shapeOf({
    axes: [
      { name: "m", size: n, of: "m" },
      { name: "n", size: n, of: "n" },
      { name: "k", size: n, of: "k" },
    ],
    ...{ a: { order: ["m", "k"] }, b: { order: ["k", "n"] }, c: { order: ["m", "n"] } },
  }),
});
const operations = ({ blas }: Shape) => 2 * blas.batch * blas.m * blas.n * blas.k;

/** Some entries within the error of an f32 sum of so many products. */
async function check(session: Awaited<ReturnType<typeof openNative>>, s: Shape): Promise<void> {
  const [a, b, c] = await Promise.all(["a", "b", "c"].map((path) => session.read(path)));
  const sizes = new Map(s.axes.map((x) => [x.name, x.size]));
  const place = (order: readonly string[], at: ReadonlyMap<string, number>) =>
    order.reduce((n, axis) => n * (sizes.get(axis) as number) + (at.get(axis) as number), 0);
  const terms = s.axes.filter((x) => x.of === "k");
  let state = 1;
  for (let entry = 0; entry < 40; entry++) {
    const at = new Map<string, number>();
    for (const x of s.axes) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      at.set(x.name, entry === 0 ? 0 : entry === 1 ? x.size - 1 : Math.floor((state / 2 ** 32) * x.size));
    }
    let sum = 0;
    for (let k = 0; k < s.blas.k; k++) {
      let rest = k;
      for (const x of [...terms].reverse()) {
        at.set(x.name, rest % x.size);
        rest = Math.floor(rest / x.size);
      }
      sum += (a?.[place(s.a, at)] as number) * (b?.[place(s.b, at)] as number);
    }
    const got = c?.[place(s.c, at)] as number;
    if (!(Math.abs(got - sum) <= 1e-4 * Math.sqrt(s.blas.k)))
      throw new Error(`the product ${s.label} is wrong at ${[...at].map(([axis, i]) => `${axis} ${i}`).join(", ")}: ${got}, and ${sum} in f64`);
  }
}

interface Measured {
  readonly rows: readonly Row[];
  /** Seconds of whole runs, call included. */
  readonly whole: Showing;
}
async function measure(
  shape: Shape,
  limits: Limits,
  { args, progress }: Context,
  show: { readonly group: string; readonly what: string; readonly bar: number; readonly withLimits: boolean },
): Promise<Measured> {
  progress(`${show.group}: ${show.what}`);
  using session = await openNative(args.threads, args.tune ? progress : undefined);
  const program = await openProduct(session, shape);
  await program.run({});
  await check(session, shape);
  const wholes: number[][] = [];
  const mine = ours(
    "",
    async (_, seconds) => {
      const inside: number[] = [];
      wholes.push([
        ...(await repeated(seconds, async () => {
          const times = kernelTimes(program, await program.run({}));
          inside.push(times.reduce((n, k) => n + k.slowestMs, 0) / 1e3);
        })),
      ]);
      return inside;
    },
    () => undefined,
  );
  const contestants: readonly Contestant[] = [mine, ...(limits.blas ? [limits.blas] : []), ...(show.withLimits ? limits.all : [])];
  const measured = await rounds(contestants, { size: blasTask(shape.blas), seconds: SLICE_SECONDS, pairs: args.pairs ?? 7, progress });
  const own = speedOf(measured.get(mine) as Showing, operations(shape));
  const theirs = limits.blas ? speedOf(measured.get(limits.blas) as Showing, operations(shape)) : null;
  const same = { part: "gemm", group: show.group, what: show.what, ours: own };
  const bar = args.threads <= 2 ? { on: "ratio" as const, limit: show.bar } : undefined;
  const whole = wholes.slice(1); // the first round warms up
  return {
    rows: [
      row({ ...same, unit: "GFLOP/s", better: "more", against: "OpenBLAS", theirs, bar }),
      ...(show.withLimits ? limitRows(limits, measured, same) : []),
    ],
    whole: { medians: whole.map(median), all: whole.flat() },
  };
}

export async function gemm(context: Context): Promise<Outcome> {
  const { args, progress } = context;
  const notes: string[] = [];
  const rows: Row[] = [];
  const limits = await openLimits(args.threads, (line) => notes.push(line));
  try {
    for (const n of NS) {
      const square = squareOf(n);
      const { rows: found, whole } = await measure(square, limits, context, {
        group: "squares",
        what: `product ${n}`,
        bar: BAR.square,
        withLimits: true,
      });
      rows.push(...found);
      notes.push(`product ${n}: ${digits(median(speedOf(whole, operations(square)).medians))} GFLOP/s with the call around it`);
    }
    for (const size of args.sizes) {
      progress(`the products of ${size}`);
      const shapes = await stepShapes(size);
      for (const s of shapes) {
        const { m, n, k, ta, tb, batch } = s.blas;
        const what = `${s.label}: ${batch > 1 ? `${batch} × ` : ""}${m} × ${n} × ${k} ${ta ? "T" : "N"}${tb ? "T" : "N"}${s.plain ? "" : " *"}`;
        rows.push(...(await measure(s, limits, context, { group: size, what, bar: BAR.shape, withLimits: false })).rows);
      }
    }
    progress("a call without work");
    using idle = await openNative(args.threads);
    const nothing = await openNothing(idle);
    await nothing.run({});
    notes.push(
      `products: the time inside the kernels; a run's call without work takes ${digits(median(await repeated(1, () => nothing.run({}))) * 1e6)} µs beside`,
    );
    if (args.sizes.length > 0)
      notes.push(
        "products of a step: rows × columns × terms; T: that operand is stored transposed, for OpenBLAS too; * its axes lie interleaved in memory as no library's matrix does, and OpenBLAS is given a plain one",
      );
  } finally {
    limits.close();
  }
  return { rows, systems: limits.blas ? [`OpenBLAS: ${limits.blas.detail}`] : [], notes };
}

/** The step is compiled for its plan alone. */
async function stepShapes(size: keyof typeof STEP_SIZES): Promise<readonly Shape[]> {
  using session = await openNative(1);
  return shapesOf(await openStep(session, STEP_SIZES[size]));
}
