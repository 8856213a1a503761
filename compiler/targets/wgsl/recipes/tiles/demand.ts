// What the tiles of a nest need, before sizes are chosen: its dots with their operands, its sums, which folds the others
// wait for. Operands are known by what they are, so that one panel serves the product of the scores and the sum that
// follows (a query is read by Σ_d q·k and by Σ_i dS·q).
import { fuse, type Span, spanOf } from "../../../../loop/spans.js";
import { coefficient, namesOf, offset, rename, termsOf } from "../../../../loop/terms.js";
import type { TilesNest } from "../../../../loop/tiles/shape.js";
import { type Expr, local } from "../../../../lower/expr.js";
import type { Axis, Store, TileFold } from "../../../../lower/nest.js";

/** A value over one side's index and an inner index, flat over `inner`. */
export interface Operand {
  readonly key: string;
  readonly side: "rows" | "over";
  readonly value: Expr;
  readonly inner: readonly Span[];
  /** Greatest length of the inner index. */
  readonly length: number;
}
export interface DotDemand {
  readonly name: string;
  readonly a: Operand;
  readonly b: Operand;
  /** a is an array whose rows are contiguous and as long as vectors of four: it may be read where it lies. */
  readonly inPlace: boolean;
}
export interface SumDemand {
  readonly fold: TileFold;
  /** Greatest number of columns. */
  readonly columns: number;
  /** null: added at an index. */
  readonly b: Operand | null;
}
export interface Demand {
  readonly nest: TilesNest;
  readonly dots: readonly DotDemand[];
  readonly sums: readonly SumDemand[];
  /** Folds without axes of their own, whose parts the invocations of a row keep until the last tile: nothing waits for them. */
  readonly late: ReadonlySet<TileFold>;
  /** Those that later elements read: combined in every tile. */
  readonly early: readonly TileFold[];
  /** Sums that are stored at more than their own columns, or in another order: they pass through the workgroup's memory. */
  readonly exchanged: ReadonlySet<TileFold>;
  /** Folds whose order matters. */
  readonly chained: readonly TileFold[];
}

/** Whether a term reads more than indices. */
export const readsData = (e: Expr): boolean => termsOf([e]).some((t) => t.kind === "load" || t.kind === "local" || t.kind === "random");

export const four = (n: number): number => 4 * Math.ceil(n / 4);

function operand(side: "rows" | "over", value: Expr, axes: readonly Axis[], fusedWith: readonly Expr[] = []): Operand & { others: readonly Expr[] } {
  const fused = fuse([axes.map(spanOf)], [true], { terms: [value, ...fusedWith], stores: [] });
  const inner = fused.groups[0] as readonly Span[];
  const [mine, ...others] = fused.work.terms as readonly [Expr, ...Expr[]];
  return { ...keyed(side, mine, inner), others };
}
function keyed(side: "rows" | "over", value: Expr, inner: readonly Span[]): Operand {
  const plain = rename([value], new Map(inner.map((s, i) => [s.v, local(`inner#${i}`, "int")])))[0] as Expr;
  const key = `${side} ${plain.id} ${inner.map((s) => s.extent.id).join()}`;
  return { key, side, value, inner, length: inner.reduce((n, s) => n * s.max, 1) };
}

function contiguous(o: Operand): boolean {
  const { value: e, inner } = o;
  const [k] = inner;
  if (e.kind !== "load" || e.inside || e.buffer.dtype !== "f32" || inner.length !== 1 || !k || k.extent.kind !== "num") return false;
  return k.max % 4 === 0 && k.max > 0 && coefficient(offset(e.buffer, e.index), k.v) === 1;
}

export function demandOf(nest: TilesNest): Demand {
  const dots = nest.dots.map((d): DotDemand => {
    const { others, ...a } = operand("rows", d.a, d.k, [d.b]);
    const b = keyed("over", others[0] as Expr, a.inner);
    return { name: d.name, a, b, inPlace: contiguous(a) };
  });
  const sums = nest.folds
    .filter((f) => f.n.length > 0)
    .map((fold): SumDemand => {
      const columns = fold.n.reduce((n, a) => n * spanOf(a).max, 1);
      if (!fold.b) return { fold, columns, b: null };
      const { others: _, ...b } = operand("over", fold.b, fold.n);
      return { fold, columns, b };
    });
  const read = namesOf(
    ...nest.folds.flatMap((f) => [...f.elements, ...(f.rescale ? [f.rescale] : []), ...(f.at ? [f.at] : [])]),
    ...nest.quads.flatMap((q) => [q.value, ...q.index]),
  );
  const rowFolds = nest.folds.filter((f) => f.n.length === 0);
  const chained = rowFolds.filter((f) => f.monoid.kind === "general");
  const early = rowFolds.filter((f) => f.monoid.kind !== "general" && f.bind.some((b) => read.has(b) || read.has(`was.${b}`)));
  const exchanged = new Set(nest.stores.flatMap(({ n, stores }) => strangers(nest, n, stores)));
  return { nest, dots, sums, exchanged, late: new Set(rowFolds.filter((f) => f.monoid.kind !== "general" && !early.includes(f))), early, chained };
}

/** Sums that a group of stores reads, if they are not all at the group's own indices. */
function strangers(nest: TilesNest, n: readonly Axis[], stores: readonly Store[]): readonly TileFold[] {
  const read = namesOf(...stores.flatMap((s) => [s.value, ...s.index]));
  const sums = nest.folds.filter((f) => f.n.length > 0 && read.has(f.bind[0] as string));
  return sums.every((f) => f.n.map((a) => a.v).join() === n.map((a) => a.v).join()) ? [] : sums;
}
