// Where a nest touches the rows of a buffer: at which of its loops' variables, how far beside it, and whether that loop makes
// rows or folds over them. Row blocks (blocks.ts) stand on this: what a nest reads at its own row, or a few rows
// beside it, it can have in the same turn.
import type { Extent } from "../../dsl/node.js";
import { type Buffer, type Expr, extentVar, maxOf, variable } from "./expr.js";
import { variables } from "./form.js";
import { isub, linearForm } from "./ints.js";
import { axesOf, expressionsOf, loadsOf, storesOf } from "./memory.js";
import type { Axis, Nest } from "./nest.js";
import { type Range, rangeOf } from "./ranges.js";

/** Rows further away than this are not made twice. */
export const FURTHEST = 16;

export interface Touch {
  readonly buffer: Buffer;
  readonly index: readonly Expr[];
  readonly stores: boolean;
}
export const touches = (n: Nest): readonly Touch[] => [
  ...loadsOf(expressionsOf(n)).map(({ buffer, index }) => ({ buffer, index, stores: false })),
  ...storesOf(n).map(({ buffer, index }) => ({ buffer, index, stores: true })),
];

/** A nest's loop over rows. */
export interface RowLoop {
  readonly axis: Axis;
  /** makes: each iteration is a row of all results. folds: results are folded over rows. */
  readonly kind: "makes" | "folds";
}
/** How a nest touches rows of some buffers: the loop, and the rows beside its own that it reads of each. */
export interface Aligned {
  readonly loop: RowLoop;
  readonly beside: ReadonlyMap<Buffer, Range>;
}
/** `index` as a variable of the nest over all rows, plus what moves little. */
export function rowIn(index: Expr, n: Nest, extent: Extent, bounds: ReadonlyMap<string, Range>): { axis: Axis; beside: Range } | undefined {
  const { terms } = linearForm(index);
  for (const axis of axesOf(n)) {
    if (terms.get(variable(axis.v)) !== 1 || extentVar(axis.extent) !== extentVar(extent)) continue;
    const rest = isub(index, variable(axis.v));
    if (variables(rest).has(axis.v)) continue;
    const beside = rangeOf(rest, new Map([...bounds, ...axesOf(n).map((a) => [a.v, [0, Math.max(0, maxOf(a.extent) - 1)]] as const)]));
    if (beside[0] >= -FURTHEST && beside[1] <= FURTHEST) return { axis, beside };
  }
  return undefined;
}

/** What a loop over rows is to a nest; a reason where it can be neither. */
export function kindOf(n: Nest, axis: Axis): RowLoop["kind"] | string {
  const has = (axes: readonly Axis[]) => axes.includes(axis);
  switch (n.form) {
    case "map":
      return "makes";
    case "contract":
      return has(n.k) ? "folds" : "makes";
    case "scatter":
      return has(n.rows) ? "makes" : has(n.over) ? "folds" : "adds at rows that the data choose";
    case "top":
      return has(n.rows) ? "makes" : "selects among rows";
    case "row": {
      if (has(n.rows)) return "makes";
      if (n.stages.some((s) => s.stage === "scan")) return "scans along rows";
      const folds = n.stages.flatMap((s) => (s.stage === "fold" ? [s] : []));
      const maps = n.stages.flatMap((s) => (s.stage === "map" ? [s] : []));
      return folds.every((f) => has(f.over)) && maps.every((m) => !has(m.axes)) && !ordered(n) ? "folds" : "folds over rows and reads the result";
    }
    case "tiles": {
      if (n.columns.length > 0) return "folds over both sides in one pass";
      if (has(n.batch) || has(n.rows)) return "makes";
      if (!has(n.over)) return "contracts rows";
      return n.quads.length === 0 && n.folds.every((f) => f.rescale === null && f.at === null) ? "folds" : "folds over rows in one pass";
    }
  }
}
/** Does a fold of a row read what the row has before it? */
function ordered(n: Nest & { form: "row" }): boolean {
  const own = new Set(storesOf(n).map((s) => s.buffer));
  const binds = new Set(n.stages.flatMap((s) => (s.stage === "fold" ? s.bind : [])));
  const elements = n.stages.flatMap((s) => (s.stage === "fold" ? s.elements : []));
  const todo = [...elements];
  const seen = new Set<Expr>();
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if ((e.kind === "local" && binds.has(e.name)) || (e.kind === "load" && own.has(e.buffer))) return true;
    if (e.kind === "load") todo.push(...e.index, ...(e.inside ? [e.inside] : []));
    else if (e.kind === "call") todo.push(...e.args);
    else if (e.kind === "random") todo.push(...e.extend, e.counter);
  }
  return loadsOf(n.stages.flatMap((s) => (s.stage === "map" ? s.stores.flatMap((x) => [...x.index, x.value]) : []))).some((l) => own.has(l.buffer));
}

/** How a nest touches the rows of these buffers (by buffer: which axis the rows are); a reason where it cannot have them
 *  block by block; undefined where it touches none. `own`: the loop that is known to be its rows. */
export function aligned(
  n: Nest,
  rows: ReadonlyMap<Buffer, number>,
  extent: Extent,
  bounds: ReadonlyMap<string, Range>,
  own?: Axis,
): Aligned | string | undefined {
  let axis = own;
  const beside = new Map<Buffer, Range>();
  for (const t of touches(n)) {
    const at = rows.get(t.buffer);
    if (at === undefined) continue;
    const found = rowIn(t.index[at] as Expr, n, extent, bounds);
    if (!found || (axis && found.axis !== axis)) return t.stores ? "writes rows in another order" : "reads rows at other places than its own";
    axis = found.axis;
    const [lo, hi] = found.beside;
    if (t.stores && (lo !== 0 || hi !== 0)) return "writes rows beside its own";
    const known = beside.get(t.buffer) ?? found.beside;
    beside.set(t.buffer, [Math.min(lo, known[0]), Math.max(hi, known[1])]);
  }
  if (!axis) return undefined;
  const kind = kindOf(n, axis);
  return kind === "makes" || kind === "folds" ? { loop: { axis, kind }, beside } : kind;
}

/** The axis of each buffer that a nest which makes rows writes them along. */
export function rowsWritten(n: Nest, axis: Axis): ReadonlyMap<Buffer, number> {
  const out = new Map<Buffer, number>();
  for (const s of storesOf(n)) {
    const along = s.index.filter((e) => variables(e).has(axis.v));
    if (along.length === 1 && along[0] === variable(axis.v)) out.set(s.buffer, s.index.indexOf(variable(axis.v)));
  }
  return out;
}
