// The same nest over other expressions, memory and loops.
import type { Buffer, Expr } from "./expr.js";
import type { Axis, Nest, Stage, Store } from "./nest.js";

// ── a nest again ─────────────────────────────────────────────────────────────────────────────────────
export type Placing = <P extends { readonly buffer: Buffer; readonly index: readonly Expr[] }>(p: P) => P;
/** The same nest over other expressions, places and loops. */
export function remade(n: Nest, e: (x: Expr) => Expr, place: Placing, axis: (a: Axis) => Axis): Nest {
  const axes = (list: readonly Axis[]) => list.map(axis);
  const stores = (list: readonly Store[]) => list.map((s): Store => ({ ...place(s), value: e(s.value) }));
  switch (n.form) {
    case "map":
      return { ...n, axes: axes(n.axes), stores: stores(n.stores) };
    case "row": {
      const stage = (s: Stage): Stage => {
        if (s.stage === "map") return { ...s, axes: axes(s.axes), stores: stores(s.stores) };
        if (s.stage === "fold") return { ...s, over: axes(s.over), elements: s.elements.map(e) };
        return { ...s, over: axis(s.over), elements: s.elements.map(e), stores: stores(s.stores) };
      };
      return { ...n, rows: axes(n.rows), stages: n.stages.map(stage) };
    }
    case "contract":
      return { ...n, batch: axes(n.batch), m: axes(n.m), n: axes(n.n), k: axes(n.k), a: e(n.a), b: e(n.b), stores: stores(n.stores) };
    case "scatter":
      return { ...n, rows: axes(n.rows), over: axes(n.over), target: axis(n.target), index: e(n.index), value: e(n.value), into: place(n.into) };
    case "top":
      return {
        ...n,
        rows: axes(n.rows),
        over: axis(n.over),
        slot: axis(n.slot),
        element: e(n.element),
        stores: stores(n.stores),
        chosen: n.chosen && place(n.chosen),
      };
    case "tiles":
      return {
        ...n,
        batch: axes(n.batch),
        rows: axes(n.rows),
        over: axes(n.over),
        sides: n.sides.map((s) => ({ ...s, fold: axes(s.fold), element: e(s.element) })),
        dots: n.dots.map((d) => ({ ...d, k: axes(d.k), a: e(d.a), b: e(d.b) })),
        mask: e(n.mask),
        folds: n.folds.map((f) => ({
          ...f,
          n: axes(f.n),
          elements: f.elements.map(e),
          rescale: f.rescale && e(f.rescale),
          b: f.b && e(f.b),
          at: f.at && e(f.at),
        })),
        columns: n.columns.map((c) => ({ n: axes(c.n), element: e(c.element), a: e(c.a), store: { ...place(c.store), value: e(c.store.value) } })),
        quads: stores(n.quads),
        stores: n.stores.map((s) => ({ n: axes(s.n), stores: stores(s.stores) })),
      };
  }
}
