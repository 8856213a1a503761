// Folds and maps that work on the same rows become the stages of one kernel: a softmax is maximum, sum and quotient of a
// row while the row is in cache. A kernel joins an earlier one when, of what that one writes, it reads the present row
// only; what it reads, the same thread has just written.
import { type Expr, extentVar, maxOf } from "./expr.js";
import { joinEarlier, renamed } from "./fuse.js";
import { expressionsOf, loadsOf } from "./memory.js";
import type { Axis, Nest, Stage, Store } from "./nest.js";

type RowNest = Extract<Nest, { form: "row" }>;
type Joining = Extract<Nest, { form: "row" | "map" }>;
/** Fewer rows than this and a row's inner loops are better spread over the threads. */
const FEWEST_ROWS = 64;
const MOST_STAGES = 8;

const isRow = (n: Nest): n is RowNest => n.form === "row";
const isJoining = (n: Nest): n is Joining => n.form === "row" || n.form === "map";

export const fuseRows = (nests: readonly Nest[]): readonly Nest[] => joinEarlier(nests, isRow, isJoining, merge);

function merge(to: RowNest, from: Joining): RowNest | undefined {
  const count = to.rows.reduce((n, r) => n * maxOf(r.extent), 1);
  const stages = from.form === "row" ? from.stages.length : 1;
  if (count < FEWEST_ROWS || to.stages.length + stages > MOST_STAGES) return undefined;
  const axes = from.form === "row" ? from.rows : from.axes;
  const names = rowsRead(to, from, axes);
  if (!names || (from.form === "row" && names.size !== axes.length)) return undefined;
  const done = new Map<Expr, Expr>();
  const go = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const made = renamed(e, names, go);
    done.set(e, made);
    return made;
  };
  const stores = (list: readonly Store[]): readonly Store[] => list.map((s) => ({ buffer: s.buffer, index: s.index.map(go), value: go(s.value) }));
  const stage = (s: Stage): Stage =>
    s.stage === "map"
      ? { ...s, stores: stores(s.stores) }
      : s.stage === "fold"
        ? { ...s, elements: s.elements.map(go) }
        : { ...s, elements: s.elements.map(go), stores: stores(s.stores) };
  const added: readonly Stage[] =
    from.form === "row" ? from.stages.map(stage) : [{ stage: "map", axes: axes.filter((a) => !names.has(a.v)), stores: stores(from.stores) }];
  return { ...to, nodes: [...to.nodes, ...from.nodes], stages: [...to.stages, ...added] };
}

/** The variables of `from` that are the rows of `to`: read off its loads of what `to` writes, which must agree. */
function rowsRead(to: RowNest, from: Joining, axes: readonly Axis[]): ReadonlyMap<string, string> | undefined {
  const names = new Map<string, string>();
  const written = new Map<number, Store>();
  const inner = new Set<string>();
  for (const s of to.stages) {
    if (s.stage === "fold") continue;
    for (const a of s.stage === "map" ? s.axes : [s.over]) inner.add(a.v);
    for (const st of s.stores) written.set(st.buffer.id, st);
  }
  for (const l of loadsOf(expressionsOf(from))) {
    const store = written.get(l.buffer.id);
    if (!store) continue;
    if (store.index.length !== l.index.length || l.inside) return undefined;
    for (const [i, place] of store.index.entries()) {
      const e = l.index[i] as Expr;
      const row = place.kind === "var" ? to.rows.find((r) => r.v === place.name) : undefined;
      if (!row) {
        // An earlier stage has written all of the row: any place in it may be read.
        if (e !== place && !(place.kind === "var" && inner.has(place.name))) return undefined;
        continue;
      }
      const axis = e.kind === "var" ? axes.find((a) => a.v === e.name) : undefined;
      if (!axis || extentVar(axis.extent) !== extentVar(row.extent)) return undefined;
      const known = names.get(axis.v);
      if (known !== undefined && known !== row.v) return undefined;
      names.set(axis.v, row.v);
    }
  }
  return names.size === to.rows.length && new Set(names.values()).size === names.size ? names : undefined;
}
