// Matrix products [n,n]·[n,n] in f32 against OpenBLAS, with the machine's own peak measured in the same rounds.
import { type Contestant, rounds, type Showing } from "./contestant.js";
import { openNothing, openProduct } from "./model.js";
import { type Context, type Outcome, openNative, ours, repeated } from "./parts.js";
import { openBlas, peak, present } from "./peers.js";
import { digits, type Row, row } from "./results.js";
import { median } from "./statistics.js";

const NS = [256, 512, 1024, 2048] as const;
/** Where the product has to reach this share of OpenBLAS, on two threads. */
const BAR: Readonly<Record<number, number>> = { 512: 0.8, 1024: 0.8 };
const SLICE_SECONDS = 0.25;

/** Each entry of the first and last row within the error of an f32 sum of n products. */
async function check(session: Awaited<ReturnType<typeof openNative>>, n: number): Promise<void> {
  const [a, b, c] = await Promise.all(["a", "b", "c"].map((p) => session.read(p)));
  for (const i of [0, n - 1])
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += (a?.[i * n + k] as number) * (b?.[k * n + j] as number);
      const got = c?.[i * n + j] as number;
      if (!(Math.abs(got - sum) <= 1e-4 * Math.sqrt(n))) throw new Error(`the product of ${n} is wrong at [${i}, ${j}]: ${got}, and ${sum} in f64`);
    }
}

export async function gemm({ args, progress }: Context): Promise<Outcome> {
  const notes: string[] = [];
  const found = present([await openBlas(args.threads), await peak(args.threads)], (line) => notes.push(line));
  const blas = found.find((c) => c.name === "OpenBLAS");
  // One process, asked for each width that it has.
  const limits = found
    .filter((c) => c.name === "peak")
    .flatMap((c) =>
      c.detail.split(" ").map((w): Contestant => ({ ...c, name: `fma of ${w} floats`, slice: (_, seconds) => c.slice(Number(w), seconds) })),
    );
  const rows: Row[] = [];
  const closing: (() => void)[] = found.map((c) => c.close);
  try {
    const idle = await openNative(args.threads);
    closing.push(() => idle[Symbol.dispose]());
    const nothing = await openNothing(idle);
    const overheads: number[] = [];
    for (const n of NS) {
      progress(`product of ${n}`);
      const session = await openNative(args.threads);
      const program = await openProduct(session, n);
      closing.push(() => session[Symbol.dispose]());
      await program.run({});
      await check(session, n);
      const mine = ours(
        "",
        (_, seconds) => repeated(seconds, () => program.run({})),
        () => undefined,
      );
      const call: Contestant = { ...mine, name: "call", slice: (_, seconds) => repeated(seconds / 4, () => nothing.run({})) };
      const all = [mine, ...(blas ? [blas] : []), call, ...limits];
      const measured = await rounds(all, { size: n, seconds: SLICE_SECONDS, pairs: args.pairs ?? 7, progress });
      const flops = (seconds: number) => (2 * n ** 3) / seconds / 1e9;
      const speed = ({ medians, all }: Showing): Showing => ({ medians: medians.map(flops), all: all.map(flops) });
      const of = (c: Contestant | undefined) => (c ? (measured.get(c) ?? null) : null);
      const times = measured.get(mine) as Showing;
      const theirs = of(blas);
      const bar = BAR[n] === undefined || args.threads !== 2 ? undefined : { on: "ratio" as const, limit: BAR[n] };
      const same = { part: "gemm", what: `product ${n}`, unit: "GFLOP/s", better: "more" as const };
      rows.push(row({ ...same, ours: speed(times), against: "OpenBLAS", theirs: theirs && speed(theirs), bar }));
      for (const limit of limits) {
        const top = measured.get(limit) as Showing;
        rows.push(row({ ...same, ours: speed(times), against: limit.name, theirs: top }));
        if (!theirs || limit !== limits.at(-1)) continue;
        const r = row({ ...same, ours: speed(theirs), against: limit.name, theirs: top });
        notes.push(`product ${n}: OpenBLAS reaches ${digits(r.best?.ratio ?? 0)} of ${limit.name}, best against best`);
      }
      overheads.push(...(of(call)?.medians ?? []));
      closing.pop()?.(); // its memory
    }
    notes.push(`a run's call without work takes ${digits(median(overheads) * 1e6)} µs, which the products' times include`);
  } finally {
    for (const close of closing) close();
  }
  return { rows, systems: blas ? [`${blas.name}: ${blas.detail}`] : [], notes };
}
