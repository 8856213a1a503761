// fast-check arbitraries of what bounds on logits depend on: sizes, weights over twelve orders of magnitude, matrices of
// less than full rank, steps that are aligned with the partner weight and the inputs, inputs.
import * as fc from "fast-check";
import { randomNumbers } from "../index.js";
import { scales, unitPositions, unitVector } from "./draws.js";

type Size = number | readonly [least: number, most: number] | fc.Arbitrary<number>;
/** Sizes by axis: a number stands as it is, [1, 6] is a range with both ends (odd numbers and 1 among them), and
 *  any arbitrary of numbers does, such as `even(2, 8)`. Shrinks to the least. */
export function shapes<const S extends Readonly<Record<string, Size>>>(axes: S): fc.Arbitrary<{ readonly [A in keyof S & string]: number }> {
  const one = (s: Size): fc.Arbitrary<number> =>
    typeof s === "number" ? fc.constant(s) : s instanceof fc.Arbitrary ? s : fc.integer({ min: s[0], max: s[1] });
  const record: Record<string, fc.Arbitrary<number>> = Object.fromEntries(Object.entries(axes).map(([a, s]) => [a, one(s)]));
  return fc.record(record) as fc.Arbitrary<{ readonly [A in keyof S & string]: number }>; // one number for each axis of S
}
/** Even numbers from `least` to `most`: rotary positions turn pairs. */
export const even = (least: number, most: number): fc.Arbitrary<number> =>
  fc.integer({ min: Math.ceil(least / 2), max: Math.floor(most / 2) }).map((n) => 2 * n);

/** A matrix, row-major, and what it maps: `rows` inputs to `columns` outputs. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}
const matrix = (rows: number, columns: number, at: (r: number, c: number) => number): Matrix => ({
  rows,
  columns,
  data: Float64Array.from({ length: rows * columns }, (_, i) => at(Math.floor(i / columns), i % columns)),
});
interface Of {
  readonly rows: number;
  readonly columns: number;
  /** Frobenius norms are about 2^−range … 2^range: 20 unless said, twelve orders of magnitude. */
  readonly range?: number;
}
const seeds = fc.nat({ max: 2 ** 20 });
/** Matrices of this rank at most, over twelve orders of magnitude; 1 unless said. Shrink to a single 1 in the corner. */
export function rankDeficient({ rows, columns, range = 20, rank = 1 }: Of & { readonly rank?: number }): fc.Arbitrary<Matrix> {
  return fc
    .record({ seed: seeds, power: scales(range), rank: fc.integer({ min: 1, max: Math.min(rank, rows, columns) }) })
    .map(({ seed, power, rank }) => {
      const random = randomNumbers(seed);
      const unit = (length: number, k: number) =>
        seed === 0 ? Float64Array.from({ length }, (_, i) => (i === k ? 1 : 0)) : unitVector(length, random);
      const terms = Array.from({ length: rank }, (_, k) => ({ u: unit(rows, k), v: unit(columns, k), size: 2 ** (power - k) }));
      return matrix(rows, columns, (r, c) => terms.reduce((s, t) => s + t.size * (t.u[r] as number) * (t.v[c] as number), 0));
    });
}
/** Weights over twelve orders of magnitude: of rank one, of less than full rank, or with all entries at random. */
export function weights({ rows, columns, range = 20 }: Of): fc.Arbitrary<Matrix> {
  const dense = fc.record({ seed: seeds, power: scales(range) }).map(({ seed, power }) => {
    const random = randomNumbers(seed);
    return matrix(rows, columns, () => 2 ** power * (2 * random() - 1));
  });
  return fc.oneof(
    rankDeficient({ rows, columns, range }),
    rankDeficient({ rows, columns, range, rank: Math.max(1, Math.min(rows, columns) - 1) }),
    dense,
  );
}
/** Inputs of norm 1 at each of `positions`: all alike along the first axis, or anywhere. */
export function inputs({ positions, features }: { readonly positions: number; readonly features: number }): fc.Arbitrary<Float64Array> {
  return seeds.map((seed) =>
    seed === 0
      ? Float64Array.from({ length: positions * features }, (_, i) => (i % features === 0 ? 1 : 0))
      : unitPositions({ position: positions, feature: features }, ["position"], randomNumbers(seed)),
  );
}
/** The rank-one step of Frobenius norm `size` by which ℓ = xᵀ W Pᵀ y moves most: x (Pᵀy)ᵀ, aligned with the input x, and
 *  with what the partner weight P makes of y. */
export function alignedStep(partner: Matrix, x: ArrayLike<number>, y: ArrayLike<number>, size: number): Matrix {
  const py = Array.from({ length: partner.columns }, (_, c) =>
    Array.from(y).reduce((s, v, r) => s + v * (partner.data[r * partner.columns + c] as number), 0),
  );
  const norm = Math.hypot(...Array.from(x)) * Math.hypot(...py);
  return matrix(x.length, partner.columns, (r, c) => (norm === 0 ? 0 : (size * (x[r] as number) * (py[c] as number)) / norm));
}
/** Rank-one steps of norm at most `size` in that direction, forwards or backwards. */
export const alignedSteps = (partner: Matrix, x: ArrayLike<number>, y: ArrayLike<number>, size = 1): fc.Arbitrary<Matrix> =>
  fc.double({ min: -1, max: 1, noNaN: true }).map((t) => alignedStep(partner, x, y, t * size));
