// What a nest computes with: its expressions, loops and stores, and the memory that it reads and writes.
import { type Buffer, type Expr, elements, load, partsOf } from "./expr.js";
import type { Axis, Nest, Stage, Store } from "./nest.js";

export const bytesOf = (b: Buffer): number => elements(b) * { f32: 4, f64: 8, i32: 4, bf16: 2, f16: 2, bool: 1 }[b.dtype];

export function storesOf(n: Nest): readonly Store[] {
  const ofStage = (s: Stage): readonly Store[] => (s.stage === "fold" ? [] : s.stores);
  switch (n.form) {
    case "map":
    case "contract":
      return n.stores;
    case "row":
      return n.stages.flatMap(ofStage);
    case "tiles":
      return [...n.stores.flatMap((s) => s.stores), ...n.columns.map((c) => c.store), ...n.quads];
    case "scatter":
      return [{ buffer: n.into.buffer, index: n.into.index, value: n.value }];
    case "top":
      return n.chosen ? [...n.stores, { ...n.chosen, value: n.element }] : n.stores;
  }
}
/** Every expression of a nest. */
export function expressionsOf(n: Nest): readonly Expr[] {
  const stores = storesOf(n).flatMap((s) => [...s.index, s.value]);
  switch (n.form) {
    case "map":
      return stores;
    case "contract":
      return [...stores, n.a, n.b];
    case "row":
      return [...stores, ...n.stages.flatMap((s) => (s.stage === "map" ? [] : [...s.elements, ...s.monoid.combine]))];
    case "tiles":
      return [
        ...stores,
        ...n.dots.flatMap((d) => [d.a, d.b]),
        ...n.sides.flatMap((s) => [s.element, ...s.monoid.combine]),
        n.mask,
        ...n.folds.flatMap((f) => [...f.elements, ...f.monoid.combine, ...[f.rescale, f.b, f.at].filter((e) => e !== null)]),
        ...n.columns.flatMap((c) => [c.element, c.a]),
      ];
    case "scatter":
      return [...stores, n.index, ...(n.onto ? [load(n.into.buffer, n.into.index)] : [])];
    case "top":
      return [...stores, n.element];
  }
}
export function loadsOf(roots: readonly Expr[]): readonly Extract<Expr, { kind: "load" }>[] {
  const out: Extract<Expr, { kind: "load" }>[] = [];
  const seen = new Set<Expr>();
  const todo = [...roots];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "load") out.push(e);
    todo.push(...partsOf(e));
  }
  return out;
}

/** Every loop of a nest. */
export function axesOf(n: Nest): readonly Axis[] {
  const ofStage = (s: Stage): readonly Axis[] => (s.stage === "map" ? s.axes : s.stage === "fold" ? s.over : [s.over]);
  switch (n.form) {
    case "map":
      return n.axes;
    case "row":
      return [...n.rows, ...n.stages.flatMap(ofStage)];
    case "contract":
      return [...n.batch, ...n.m, ...n.n, ...n.k];
    case "tiles":
      return [...n.batch, ...n.rows, ...n.over, ...tileAxes(n)];
    case "scatter":
      return [...n.rows, ...n.over, n.target];
    case "top":
      return [...n.rows, n.over, n.slot];
  }
}
function tileAxes(n: Nest & { form: "tiles" }): readonly Axis[] {
  return [
    ...n.dots.flatMap((d) => d.k),
    ...n.sides.flatMap((s) => s.fold),
    ...n.folds.flatMap((f) => f.n),
    ...n.columns.flatMap((c) => c.n),
    ...n.stores.flatMap((s) => s.n),
  ];
}

/** The memory that a nest reads and writes. */
export interface Touched {
  readonly reads: ReadonlySet<Buffer>;
  readonly writes: ReadonlySet<Buffer>;
}
export const touched = (n: Nest): Touched => ({
  reads: new Set(loadsOf(expressionsOf(n)).map((l) => l.buffer)),
  writes: new Set(storesOf(n).map((s) => s.buffer)),
});
export const meets = (a: ReadonlySet<Buffer>, b: ReadonlySet<Buffer>): boolean => [...a].some((x) => b.has(x));
/** Must what touches the one stay after what touches the other? */
export const conflicts = (earlier: Touched, later: Touched): boolean =>
  meets(earlier.writes, later.reads) || meets(earlier.writes, later.writes) || meets(earlier.reads, later.writes);
