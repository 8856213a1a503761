// How each variant is tested: its sizes, which of its axes have run-time extents, and the values of its inputs. Extents come
// in kinds, so that few shapes meet every border: none, one, less than a tile (48 rows by 64 keys), more, and the greatest.
import { numbers } from "../graph/harness.js";

/** One run's extents. `rows` are queries, `cols` keys; of an image its height and width. */
export interface Extents {
  readonly batch: number;
  readonly rows: number;
  readonly cols: number;
}
/** The most elements of a batch. */
export const MAX_BATCH = 7;

/** Values of an input of `length` elements. */
export type Fill = (next: () => number, length: number, e: Extents) => ArrayLike<number>;
const between =
  (from: number, to: number): Fill =>
  (next, length) =>
    Float64Array.from({ length }, () => Math.fround(from + (to - from) * next()));
export const anything = between(-1.5, 1.5);
const whole =
  (most: (e: Extents) => number): Fill =>
  (next, length, e) =>
    Float64Array.from({ length }, () => Math.floor(next() * (most(e) + 1)));
/** Documents of random lengths, some of one token. */
const documents: Fill = (next, length, { rows }) => {
  let doc = 0;
  return Float64Array.from({ length }, (_, i) => (i % Math.max(1, rows) === 0 || next() < 0.15 ? ++doc : doc));
};

export interface Setting {
  readonly head: number;
  /** The greatest extents. */
  readonly batch: number;
  readonly rows: number;
  readonly cols: number;
  /** apart: queries and keys have an extent each. one: one extent for both. image: height and width. keys: the number of keys
   *  is static, `cols`. */
  readonly extents: "apart" | "one" | "image" | "keys";
  /** Why not `apart`, or why smaller than elsewhere. */
  readonly because?: string;
  readonly fill?: Readonly<Record<string, Fill>>;
}
const usual: Setting = { head: 2, batch: MAX_BATCH, rows: 150, cols: 150, extents: "apart" };
const also = (o: Partial<Setting>): Setting => ({ ...usual, ...o }); // the rest is the usual
const filled = (fill: Setting["fill"] & {}): Setting => also({ fill });

export const DIM = 16;
export const VALUE = 12;
/** The width of windows and the keys that an indexer keeps. */
export const SPAN = 20;

/** By the registry's names. */
export const settings: Readonly<Record<string, Setting>> = {
  "multi-head": usual,
  "grouped-query": also({ head: 4 }),
  "multi-query": usual,
  latent: usual,
  causal: usual,
  window: usual,
  prefix: filled({ prefix: whole((e) => e.cols) }),
  documents: also({ extents: "one", because: "a document lies along one time, that of queries and keys", fill: { doc: documents } }),
  alibi: filled({ m: between(0.02, 0.5) }),
  "t5-bias": usual,
  "soft-cap": usual,
  "qk-norm": usual,
  cosine: filled({ tau: between(0.05, 1) }),
  sigmoid: usual,
  differential: usual,
  "sink-logit": usual,
  "off-by-one": usual,
  "sink-tokens": usual,
  neighbourhood: also({ rows: 13, cols: 12, extents: "image", because: "queries and keys are the points of one image" }),
  dilated: usual,
  "stick-breaking": usual,
  forgetting: also({ extents: "one", because: "gates lie along one time, that of queries and keys", fill: { logf: between(-1, 0) } }),
  "tensor-product": usual,
  "multi-token": usual,
  "talking-heads": usual,
  gated: usual,
  retention: filled({ gamma: between(0.8, 0.99) }),
  simplicial: also({ rows: 50, cols: 21, because: "a score has three positions: 50 · 21 · 21 of them a head" }),
  "native-sparse": also({ head: 4, rows: 100, cols: 68, extents: "keys", because: "keys are cut into blocks, and an axis is cut by static sizes" }),
  "lightning-indexer": usual,
};

/** The same where every score costs a hundred times more: a few tiles of a GPU's kernels. */
export const tiny = (s: Setting): Setting => {
  const least = (n: number, most: number) => Math.min(n, s.extents === "image" ? Math.floor(Math.sqrt(most)) : most);
  return { ...s, batch: 4, rows: least(s.rows, 37), cols: s.extents === "keys" ? s.cols : least(s.cols, 37) };
};

/** Extents of every kind, drawn anew for each round of ten. */
export function shapes(s: Setting, rounds: number, seed: number): readonly Extents[] {
  const next = numbers(seed);
  for (let i = 0; i < 8; i++) next();
  const from = (low: number, high: number, max: number) => {
    const top = Math.max(1, Math.min(high, max));
    const bottom = Math.min(low, top);
    return bottom + Math.floor(next() * (top - bottom + 1));
  };
  const odd = (n: number) => n - 1 + (n % 2);
  const round = (): readonly (readonly [number, number])[] => [
    [0, from(1, 150, s.cols)],
    [from(1, 150, s.rows), 0],
    [1, 1],
    [1, odd(from(2, 150, s.cols))],
    [odd(from(2, 150, s.rows)), 1],
    [odd(from(2, 47, s.rows)), odd(from(2, 63, s.cols))],
    [odd(from(49, 95, s.rows)), odd(from(65, 127, s.cols))],
    [s.rows, s.cols],
    [from(1, 150, s.rows), from(1, 150, s.cols)],
    [from(48, 96, s.rows), from(64, 128, s.cols)],
  ];
  return Array.from({ length: rounds }, round)
    .flat()
    .map(([rows, cols], i) => ({
      batch: i % 10 === 8 ? from(0, 3, s.batch) : 1 + (i % 2),
      rows,
      cols: s.extents === "one" ? rows : s.extents === "keys" ? s.cols : cols,
    }));
}
export const showExtents = (e: Extents): string => `batch ${e.batch}, ${e.rows} × ${e.cols}`;
