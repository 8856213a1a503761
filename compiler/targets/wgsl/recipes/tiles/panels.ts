// Operands in workgroup memory: panels of a tile's rows (or lanes) by the inner index, which all invocations fill together.
// Neighbours take neighbours along whichever index the operand's memory runs, four elements at a time where that is the
// inner one. What lies beyond the tile or the inner index's end is 0.
import { letS, loop, type Stmt, storeS } from "../../../../loop/ir.js";
import { affinity, count, freshName, indexed, type Span, unflatten } from "../../../../loop/spans.js";
import { add, idiv, imod, less, mul, rename } from "../../../../loop/terms.js";
import { type Buffer, type Expr, int, load, real, variable } from "../../../../lower/expr.js";
import type { Operand } from "./demand.js";
import { and, type Group, when } from "./group.js";

/** What lies at (row or lane of the tile, inner index). */
export type Panel = (at: Expr, inner: Expr) => Expr;

export interface Target {
  readonly buffer: Buffer;
  /** Index of (row or lane, inner index): a vector of four from a multiple of four on is contiguous. */
  readonly index: (at: Expr, inner: Expr) => readonly Expr[];
  /** Rows or lanes, and inner indices of each, that are filled. */
  readonly rows: number;
  readonly depth: number;
}

/** Fills `to` with the operand's inner indices from `from` on, below `end` (its length, where that is null). */
export function fill(g: Group, o: Operand, to: Target, from: Expr, end: Expr | null = null): readonly Stmt[] {
  const { shape } = g;
  const side = o.side === "rows" ? shape.row : shape.over;
  const first = o.side === "rows" ? shape.i0 : shape.j0;
  const exists = (at: Expr) => (o.side === "rows" ? g.rowExists(at) : g.laneExists(at));
  const lets = (at: Expr) => g.sideLets([o.value], at);
  const length = count(o.inner);
  const last = o.inner.at(-1);
  const along = (v: string) => affinity(v, { terms: [o.value], stores: [] });
  const turned = last !== undefined && along(side.v) > along(last.v);
  // Whether a vector of four lies inside the inner index where its first element does: else each is looked at by itself.
  const whole = from.kind === "num" && end === null && length.kind === "num" && length.value === to.depth + from.value;
  const even =
    last !== undefined && !turned && g.layout.vectors && length.kind === "num" && length.value % 4 === 0 && to.depth % 4 === 0 && !o.inner.some(odd);
  const value = (at: Expr, to: ReadonlyMap<string, Expr> = new Map()) => rename([o.value], new Map([...to, [side.v, add(first, at)]]))[0] as Expr;
  if (even) {
    const quads = to.depth / 4;
    return g.divided(to.rows * quads, (i) => {
      const [at, q, v] = [freshName("at"), freshName("inner"), freshName("v")];
      const inner = mul(variable(q), int(4));
      const base = add(from, inner);
      const here = indexed(o.inner, base, variable(v), 4);
      const zero = loop(v, int(0), int(4), [storeS(to.buffer, to.index(variable(at), add(inner, variable(v))), real(0))], "vector");
      const own = value(variable(at), here.to);
      const inside = and(exists(variable(at)), whole ? null : less(base, length), end === null ? null : less(base, end));
      return [
        letS(at, idiv(i, int(quads))),
        letS(q, imod(i, int(quads))),
        ...when(
          inside,
          [
            ...here.lets,
            ...lets(variable(at)),
            loop(v, int(0), int(4), [...here.inner, storeS(to.buffer, to.index(variable(at), add(inner, variable(v))), own)], "vector"),
          ],
          [zero],
        ),
      ];
    });
  }
  return g.divided(to.rows * to.depth, (i) => {
    const [at, k, flat] = [freshName("at"), freshName("inner"), freshName("flat")];
    const [n, m] = turned ? [imod(i, int(to.rows)), idiv(i, int(to.rows))] : [idiv(i, int(to.depth)), imod(i, int(to.depth))];
    const inside = and(exists(variable(at)), whole ? null : less(variable(flat), length), end === null ? null : less(variable(flat), end));
    return [
      letS(at, n),
      letS(k, m),
      letS(flat, add(from, variable(k))),
      ...when(
        inside,
        [...unflatten(o.inner, variable(flat)), ...lets(variable(at)), storeS(to.buffer, to.index(variable(at), variable(k)), value(variable(at)))],
        [storeS(to.buffer, to.index(variable(at), variable(k)), real(0))],
      ),
    ];
  });
}
/** Vectors of four may straddle its end. */
const odd = (s: Span): boolean => s.extent.kind !== "num" || s.extent.value % 4 !== 0;

/** Four neighbours (or one) along the inner index, as values of the invocation: `into[…, v] = panel(at, inner + v)`. */
export function quad(into: Buffer, lead: readonly Expr[], panel: Panel, at: Expr, inner: Expr, some: number): Stmt {
  const v = freshName("v");
  return loop(v, int(0), int(some), [storeS(into, [...lead, variable(v)], panel(at, add(inner, variable(v))))], some === 4 ? "vector" : "unroll");
}
export const panelOf =
  (t: Target): Panel =>
  (at, inner) =>
    load(t.buffer, t.index(at, inner));
