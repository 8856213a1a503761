// Attention variants, forward and with the gradients of queries, keys and values, against the fastest form that PyTorch
// has of each. A run takes its tensors from host memory, copies that PyTorch has no need of; results stay where they are computed.

import { type Contestant, rounds, type Showing } from "./contestant.js";
import { openAttention } from "./model.js";
import { type Context, type Outcome, openNative, ours, repeated } from "./parts.js";
import { ATTENTION, type AttentionSizes, type AttentionVariant, present, torchAttention } from "./peers.js";
import { type Row, row } from "./results.js";

/** `bar`: PyTorch's time in units of ours that is wanted, forward and backward, on two threads. */
interface Case {
  readonly variant: AttentionVariant;
  readonly sizes: AttentionSizes;
  readonly bar?: number;
  /** Beside the variant, where it is measured at several sizes. */
  readonly name?: string;
}
const SIZES: AttentionSizes = { head: 8, time: 2048, dim: 64, window: 256 };
const LONG: AttentionSizes = { ...SIZES, head: 2, time: 8192 };
const BAR: { readonly [V in AttentionVariant]: number } = { causal: 1.3, window: 6, alibi: 3, "soft-cap": 4, documents: 8 };
/** Widths of a head, the model's staying the same. */
const DIMS = [16, 32, 128, 256];
const CASES: readonly Case[] = [
  ...ATTENTION.map((variant) => ({ variant, sizes: SIZES, bar: BAR[variant] })),
  { variant: "window", sizes: LONG, bar: 20, name: "8,192 keys" },
  ...DIMS.map((dim): Case => ({ variant: "causal", sizes: { ...SIZES, dim, head: (SIZES.head * SIZES.dim) / dim }, name: `width ${dim}` })),
];
const SLICE_SECONDS = 0.6;
const PASSES = ["forward", "forward and backward"] as const;

/** Numbers from a fixed generator, of about unit variance: the sum of four, each within ±1/2. */
function dataOf(s: AttentionSizes) {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const tensor = () => Float32Array.from({ length: s.head * s.time * s.dim }, () => (next() + next() + next() + next()) * Math.sqrt(3));
  return {
    ...{ q: tensor(), k: tensor(), v: tensor(), g: tensor() },
    m: Float32Array.from({ length: s.head }, (_, h) => slope(h, s.head)),
    doc: Int32Array.from({ length: s.time }, (_, t) => Math.floor((t * 8) / s.time)),
  };
}
/** Some rows of the last head beside the same in f64. */
function check(variant: AttentionVariant, s: AttentionSizes, { q, k, v }: ReturnType<typeof dataOf>, out: ArrayLike<number>): void {
  const h = s.head - 1;
  const at = (x: ArrayLike<number>, t: number, d: number) => x[(h * s.time + t) * s.dim + d] as number;
  const document = (t: number) => Math.floor((t * 8) / s.time);
  for (const i of [0, (s.time >> 1) + 3, s.time - 1]) {
    const weights: [number, number][] = [];
    for (let j = 0; j <= i; j++) {
      if (variant === "window" && i - j >= s.window) continue;
      if (variant === "documents" && document(i) !== document(j)) continue;
      let score = 0;
      for (let d = 0; d < s.dim; d++) score += at(q, i, d) * at(k, j, d);
      score /= Math.sqrt(s.dim);
      if (variant === "alibi") score -= slope(h, s.head) * (i - j);
      if (variant === "soft-cap") score = CAP * Math.tanh(score / CAP);
      weights.push([j, score]);
    }
    const most = weights.reduce((m, [, x]) => Math.max(m, x), -Infinity);
    const total = weights.reduce((n, [, x]) => n + Math.exp(x - most), 0);
    for (let d = 0; d < s.dim; d++) {
      const want = weights.reduce((n, [j, x]) => n + Math.exp(x - most) * at(v, j, d), 0) / total;
      const got = at(out, i, d);
      if (!(Math.abs(got - want) <= 1e-5)) throw new Error(`${variant} attention is wrong at [${i}, ${d}]: ${got}, and ${want} in f64`);
    }
  }
}
const CAP = 30;
const slope = (h: number, heads: number): number => 2 ** ((-8 * (h + 1)) / heads);

export async function attention({ args, progress }: Context): Promise<Outcome> {
  const rows: Row[] = [];
  const notes: string[] = [];
  const systems: string[] = [];
  for (const { variant, sizes, bar: wanted, name: at } of CASES) {
    const title = at === undefined ? variant : `${variant}, ${at}`;
    progress(`${title}: attention`);
    using session = await openNative(args.threads, args.tune ? progress : undefined);
    const own = await openAttention(session, variant, { ...sizes, cap: CAP });
    const data = dataOf(sizes);
    const given = { q: data.q, k: data.k, v: data.v, ...Object.fromEntries(own.reads.map((name) => [name, data[name]])) };
    const runs = [() => own.forward.run(given), () => own.both.run({ ...given, g: data.g })] as const;
    await runs[1]();
    check(variant, sizes, data, await own.read("out"));
    const found = present([await torchAttention(variant, sizes, args.threads, args.peers)], (text) => notes.push(text));
    try {
      const [torch] = found;
      if (torch) systems.push(`${torch.contestant.name}, ${title}: forward ${torch.forward}, forward and backward ${torch.both}`);
      for (const [pass, name] of PASSES.entries()) {
        const mine = ours(
          "",
          (_, seconds) => repeated(seconds, runs[pass] as (typeof runs)[0]),
          () => undefined,
        );
        const all: readonly Contestant[] = [mine, ...(torch ? [torch.contestant] : [])];
        const measured = await rounds(all, { size: pass, seconds: SLICE_SECONDS, pairs: args.pairs ?? 7, progress });
        const ms = (c: Contestant): Showing => {
          const { medians, all: each } = measured.get(c) as Showing;
          return { medians: medians.map((x) => x * 1e3), all: each.map((x) => x * 1e3) };
        };
        const bar = wanted && pass === 1 && args.threads === 2 ? { on: "ratio" as const, limit: Number((1 / wanted).toFixed(3)) } : undefined;
        const theirs = torch ? ms(torch.contestant) : null;
        rows.push(row({ part: "attention", what: `${title}, ${name}`, unit: "ms", better: "less", ours: ms(mine), against: "PyTorch", theirs, bar }));
      }
    } finally {
      for (const t of found) t.contestant.close();
    }
  }
  notes.push(
    `attention: batch 1, ${SIZES.head} heads, ${SIZES.time} queries and keys, width ${SIZES.dim}; window ${SIZES.window}, cap ${CAP}, 8 documents; the long window: ${LONG.head} heads, ${LONG.time} queries and keys; other widths: as many heads as keep width · heads`,
  );
  return { rows, systems: [...new Set(systems)], notes };
}
