// Point-wise kernels over the same axes that read the same memory become one kernel: an update of weight, first and
// second moment reads the gradient once. A kernel moves up to an earlier one only past kernels that do not touch what it
// reads or writes. All values of a nest are computed before any of its stores, index by index.
import { apply, type Expr, elements, extentVar, load, maxOf, random, variable } from "./expr.js";
import { conflicts, expressionsOf, loadsOf, meets, type Touched, touched } from "./memory.js";
import type { Axis, Nest, Store } from "./nest.js";

type MapNest = Extract<Nest, { form: "map" }>;

/** Stores of one kernel of maps, or of one product. */
export const MOST_STORES = 6;

/** Kernels of one region, in an order in which each reads what earlier ones wrote. One that reads what another has just
 *  written, index by index, takes the value itself. `any`: what they read need not be the same. */
export function fuseMaps(nests: readonly Nest[], any = false): readonly Nest[] {
  const fused = fuse(nests, (out, nest, io) => {
    for (let i = out.length - 1; i >= 0; i--) {
      const { nest: other, io: his } = out[i] as Entry;
      const after = meets(his.writes, io.reads);
      if (mergeable(other, nest) && (after ? takesValues(other, nest) : any || shares(other, nest))) {
        return meets(his.writes, io.writes) || meets(his.reads, io.writes) ? undefined : i;
      }
      if (after || meets(his.writes, io.writes) || meets(his.reads, io.writes)) return undefined;
    }
    return undefined;
  });
  return any ? joinLater(fused) : fused;
}
/** A kernel that nobody has waited for by then joins a later one over the same axes. */
function joinLater(nests: readonly Nest[]): readonly Nest[] {
  const out: Entry[] = [];
  for (const nest of [...nests].reverse()) {
    const io = touched(nest);
    const joins = (later: Entry): boolean => nest.form === "map" && mergeable(later.nest, nest);
    const stop = out.findIndex((later) => joins(later) || conflicts(io, later.io));
    const later = out[stop];
    if (later && joins(later) && !conflicts(io, later.io)) {
      const merged = merge(nest as MapNest, later.nest as MapNest, false); // as joins has found
      out[stop] = { nest: merged, io: touched(merged) };
    } else out.unshift({ nest, io });
  }
  return out.map((x) => x.nest);
}

/** Updates all read old state, so any two may share a kernel in which each value is read where it is written. */
export function fuseUpdates(nests: readonly Nest[], any = false): readonly Nest[] {
  return fuse(
    nests,
    (out, nest, io) => {
      const i = out.findIndex(
        ({ nest: other, io: his }) =>
          mergeable(other, nest) && (any || shares(other, nest)) && !meets(his.writes, io.writes) && aligned(merge(other, nest, false)),
      );
      return i < 0 ? undefined : i;
    },
    false,
  );
}

/** Do both read a buffer as large as their loops? Sharing a few scalars saves nothing. */
function shares(a: MapNest, b: MapNest): boolean {
  const size = a.axes.reduce((n, x) => n * maxOf(x.extent), 1);
  const large = (n: MapNest) =>
    new Set(
      loadsOf(expressionsOf(n))
        .filter((l) => elements(l.buffer) >= size)
        .map((l) => l.buffer),
    );
  return meets(large(a), large(b));
}
/** Does `b` read what `a` writes only at the index where it is written, in f32 (what is stored is what was computed)? */
function takesValues(a: MapNest, b: MapNest): boolean {
  const written = new Map(a.stores.map((s) => [s.buffer.id, s]));
  const moved = merge(a, b, false).stores.slice(a.stores.length);
  return loadsOf(moved.flatMap((s) => [...s.index, s.value])).every((l) => {
    const s = written.get(l.buffer.id);
    return !s || (s.buffer.dtype === "f32" && s.value.type === "real" && !l.inside && l.index.every((e, i) => e === s.index[i]));
  });
}

interface Entry {
  readonly nest: Nest;
  readonly io: Touched;
}
function fuse(
  nests: readonly Nest[],
  host: (out: readonly Entry[], nest: MapNest, io: Touched) => number | undefined,
  forward = true,
): readonly Nest[] {
  const out: Entry[] = [];
  for (const nest of nests) {
    const io = touched(nest);
    const i = nest.form === "map" ? host(out, nest, io) : undefined;
    if (i === undefined || nest.form !== "map") out.push({ nest, io });
    else {
      const merged = merge((out[i] as Entry).nest as MapNest, nest, forward);
      out[i] = { nest: merged, io: touched(merged) };
    }
  }
  return out.map((x) => x.nest);
}
const mergeable = (to: Nest, from: MapNest): to is MapNest =>
  to.form === "map" && sameAxes(to.axes, from.axes) && to.stores.length + from.stores.length <= MOST_STORES;
const sameAxes = (a: readonly Axis[], b: readonly Axis[]) =>
  a.length === b.length && a.every((x, i) => extentVar(x.extent) === extentVar((b[i] as Axis).extent));

/** Does every read of a buffer that the nest writes happen at the index where it is written? */
export function aligned(n: MapNest): boolean {
  const written = new Map(n.stores.map((s) => [s.buffer.id, s]));
  return loadsOf(n.stores.flatMap((s) => [...s.index, s.value])).every((l) => {
    const s = written.get(l.buffer.id);
    return !s || l.index.every((e, i) => e === s.index[i]);
  });
}

/** `forward`: what `to` stores is at hand for `from`; else `from` reads what was there before. */
function merge(to: MapNest, from: MapNest, forward: boolean): MapNest {
  const names = new Map(from.axes.map((a, i) => [a.v, (to.axes[i] as Axis).v]));
  const written = new Map(forward ? to.stores.map((s) => [s.buffer.id, s]) : []);
  const done = new Map<Expr, Expr>();
  const go = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const made = renamed(e, names, go);
    const value = made.kind === "load" ? (written.get(made.buffer.id)?.value ?? made) : made;
    done.set(e, value);
    return value;
  };
  const stores: Store[] = from.stores.map((s) => ({ buffer: s.buffer, index: s.index.map(go), value: go(s.value) }));
  return { ...to, nodes: [...to.nodes, ...from.nodes], stores: [...to.stores, ...stores] };
}
export function renamed(e: Expr, names: ReadonlyMap<string, string>, go: (p: Expr) => Expr): Expr {
  switch (e.kind) {
    case "num":
    case "local":
      return e;
    case "var":
      return variable(names.get(e.name) ?? e.name);
    case "load":
      return load(e.buffer, e.index.map(go), e.inside && go(e.inside));
    case "call":
      return apply(e.prim, e.type, ...e.args.map(go));
    case "random":
      return random(e.draw, e.key, e.extend.map(go), go(e.counter));
  }
}

/** Each kernel joins an earlier one whose results it reads, where `merge` makes one of the two and nothing between them stands in
 *  the way; `hosts`: those that take others in. */
export function joinEarlier<H extends Nest, J extends Nest>(
  nests: readonly Nest[],
  hosts: (n: Nest) => n is H,
  joins: (n: Nest) => n is J,
  merge: (host: H, joining: J) => Nest | undefined,
): readonly Nest[] {
  const out: Nest[] = [];
  const place = (nest: J): boolean => {
    const io = touched(nest);
    for (let i = out.length - 1; i >= 0; i--) {
      const other = out[i] as Nest;
      const his = touched(other);
      if (hosts(other) && meets(his.writes, io.reads)) {
        const merged = merge(other, nest);
        if (merged) out[i] = merged;
        return merged !== undefined;
      }
      if (conflicts(his, io)) return false;
    }
    return false;
  };
  for (const nest of nests) if (!joins(nest) || !place(nest)) out.push(nest);
  return out;
}
