// Folds over small axes with a value at each row, or at each lane, of a tile: an invocation each, into workgroup memory.
import { foldLoops } from "../../../../loop/fold.js";
import { type Stmt, storeS } from "../../../../loop/ir.js";
import { spanOf } from "../../../../loop/spans.js";
import { type Expr, local } from "../../../../lower/expr.js";
import type { Side } from "../../../../lower/nest.js";
import { barrier, dtypeOf, type Group, when } from "./group.js";

export function holdSides(g: Group): void {
  for (const s of g.nest.sides) {
    const like = s.monoid.combine[0] as Expr;
    g.holdSide(s.name, s.of, g.shared(s.name, dtypeOf(like), s.of === "rows" ? g.layout.rows : g.layout.lanes));
  }
}
/** Computes those of the present tile. One may read another of the same side, at its own index. */
export function sides(g: Group, of: "rows" | "over"): readonly Stmt[] {
  const { shape, layout } = g;
  const all = g.nest.sides.filter((s) => s.of === of);
  if (all.length === 0) return [];
  const one = (s: Side, at: Expr): readonly Stmt[] => {
    const element = of === "rows" ? shape.one(s.element, at, undefined) : shape.one(s.element, undefined, at);
    const like = s.monoid.combine[0] as Expr;
    return [
      ...foldLoops({ over: s.fold.map(spanOf), monoid: s.monoid, elements: [element], bind: [s.name] }, "lanes"),
      storeS(g.side(s.name), [at], local(s.name, like.type)),
    ];
  };
  const there = (at: Expr) => (of === "rows" ? g.rowExists(at) : g.laneExists(at));
  const each = (at: Expr) =>
    when(
      there(at),
      all.flatMap((s) => one(s, at)),
    );
  return [...g.divided(of === "rows" ? layout.rows : layout.lanes, each), barrier];
}
