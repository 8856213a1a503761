// A fold of a weight's new values runs in the kernel that writes them (graph/kept.ts): its rows become that kernel's rows,
// and what the first stage stores the second folds, from the cache. Weight, gradient and state are read and written once,
// and the norms that the next step needs are there.
import { type Expr, extentVar, maxOf } from "./expr.js";
import { renamed } from "./fuse.js";
import { conflicts, expressionsOf, loadsOf, storesOf, touched } from "./memory.js";
import type { Axis, Nest, Stage, Store } from "./nest.js";

type MapNest = Extract<Nest, { form: "map" }>;
type RowNest = Extract<Nest, { form: "row" }>;

/** With one row the update itself, which is the larger part, would be one thread's. */
const FEWEST_ROWS = 2;

/** `folds` read what `updates` leave, and stand behind them where they have to stay kernels of their own. */
export function foldWhereWritten(updates: readonly Nest[], folds: readonly Nest[]): readonly Nest[] {
  const out = [...updates];
  for (const f of folds) {
    const reads = touched(f).reads;
    const at = out.findLastIndex((n) => storesOf(n).some((s) => reads.has(s.buffer)));
    const host = out[at];
    const made = host && f.form === "row" && free(out.slice(at + 1), f) ? joined(host, f) : undefined;
    if (made) out[at] = made;
    else out.push(f);
  }
  return out;
}
/** May the fold run before these? */
const free = (later: readonly Nest[], f: Nest): boolean => {
  const io = touched(f);
  return later.every((n) => !conflicts(touched(n), io));
};

/** The fold as further stages of the kernel that writes what it reads. */
function joined(host: Nest, f: RowNest): RowNest | undefined {
  if (host.form !== "map" && host.form !== "row") return undefined;
  if (f.rows.reduce((n, r) => n * maxOf(r.extent), 1) < FEWEST_ROWS) return undefined;
  const own = new Set(host.form === "map" ? host.axes.map((a) => a.v) : host.rows.map((a) => a.v));
  const names = pairs(host, f);
  if (!names) return undefined;
  const rows = new Map(f.rows.map((r) => [names.get(r.v), r] as const));
  if (host.form === "map") {
    // Loops of the update that are rows of the fold take the fold's names; the others are the first stage's.
    if (!f.rows.every((r) => own.has(names.get(r.v) as string))) return undefined;
    const to = rename(new Map([...rows].flatMap(([v, r]) => (v ? [[v, r.v] as const] : []))));
    const inner = host.axes.filter((a) => !rows.has(a.v));
    const first: Stage = { stage: "map", axes: inner, stores: to(host.stores) };
    if (!ownRow(first.stores, storesOf(f))) return undefined;
    return { form: "row", name: host.name, nodes: [...host.nodes, ...f.nodes], rows: f.rows, stages: [first, ...f.stages] };
  }
  // Another fold over the same rows is there already.
  if (host.rows.length !== f.rows.length || !host.rows.every((r) => rows.has(r.v))) return undefined;
  const to = rename(new Map(f.rows.map((r) => [r.v, names.get(r.v) as string])));
  const before = host.stages.flatMap((s) => (s.stage === "map" ? s.stores : []));
  if (!ownRow(before, to(storesOf(f)))) return undefined;
  const stages = f.stages.map((s): Stage => (s.stage === "fold" ? { ...s, elements: s.elements.map(to.value) } : { ...s, stores: to(s.stores) }));
  return { ...host, nodes: [...host.nodes, ...f.nodes], stages: [...host.stages, ...stages] };
}

/** Does the update read what the fold writes, where it does, at its own row alone? */
function ownRow(stores: readonly Store[], written: readonly Store[]): boolean {
  const results = new Map(written.map((s) => [s.buffer.id, s]));
  return loadsOf(stores.flatMap((s) => [...s.index, s.value])).every((l) => {
    const s = results.get(l.buffer.id);
    return !s || s.index.every((e, i) => e === l.index[i]);
  });
}

/** By the fold's variables those of the update, where the fold reads every element at the index where the update writes
 *  one, and each of the update's loops is one of the fold's. */
function pairs(host: MapNest | RowNest, f: RowNest): ReadonlyMap<string, string> | undefined {
  const loops = new Map<string, Axis>();
  for (const a of host.form === "map" ? host.axes : [...host.rows, ...host.stages.flatMap((s) => (s.stage === "map" ? s.axes : []))])
    loops.set(a.v, a);
  const mine = new Map<string, Axis>();
  for (const a of [...f.rows, ...f.stages.flatMap((s) => (s.stage === "fold" ? s.over : []))]) mine.set(a.v, a);
  const written = new Map<number, Store>(storesOf(host).map((s) => [s.buffer.id, s]));
  const out = new Map<string, string>();
  for (const l of loadsOf(expressionsOf(f))) {
    const store = written.get(l.buffer.id);
    if (!store || l.inside) return undefined;
    for (const [i, place] of store.index.entries()) {
      const e = l.index[i] as Expr;
      if (place.kind !== "var" || e.kind !== "var") return undefined;
      const [a, b] = [loops.get(place.name), mine.get(e.name)];
      if (!a || !b || extentVar(a.extent) !== extentVar(b.extent) || (out.get(e.name) ?? place.name) !== place.name) return undefined;
      out.set(e.name, place.name);
    }
  }
  const once = new Set(out.values()).size === out.size;
  const all = host.form === "map" ? host.axes.length === out.size : true;
  return once && all && f.rows.every((r) => out.has(r.v)) ? out : undefined;
}

function rename(names: ReadonlyMap<string, string>): ((stores: readonly Store[]) => readonly Store[]) & { readonly value: (e: Expr) => Expr } {
  const done = new Map<Expr, Expr>();
  const value = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const made = renamed(e, names, value);
    done.set(e, made);
    return made;
  };
  const stores = (list: readonly Store[]): readonly Store[] =>
    list.map((s) => ({ buffer: s.buffer, index: s.index.map(value), value: value(s.value) }));
  return Object.assign(stores, { value });
}
