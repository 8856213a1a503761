// Two kernels of tiles that are each other's mirror image become one: the gradient of queries folds over keys, that of keys over
// queries, and both make the same scores and weights again. One walks the tiles for both: its own folds, and the
// other's results as columns (five products of attention's backward pass rather than seven). Columns are gathered by
// one thread a batch, so this waits for batches enough to go round.
import { type Expr, extentVar, local, maxOf, partsOf, real, variable } from "./expr.js";
import { renamed } from "./fuse.js";
import { conflicts, type Touched, touched } from "./memory.js";
import type { Axis, Dot, Nest, Side, Store, TileColumn, TileFold } from "./nest.js";

type TilesNest = Nest & { form: "tiles" };

/** Batches from which on they alone keep threads busy. Run-time extents may be one. */
const BATCHES = 8;

export function fuseMirrored(nests: readonly Nest[]): readonly Nest[] {
  const out: { nest: Nest; io: Touched }[] = [];
  for (const nest of nests) {
    const io = touched(nest);
    const i = nest.form === "tiles" ? hostOf(out, nest, io) : undefined;
    if (i === undefined) out.push({ nest, io });
    else {
      const both = merged((out[i] as { nest: Nest }).nest as TilesNest, nest as TilesNest) as Nest; // as hostOf has found
      out[i] = { nest: both, io: touched(both) };
    }
  }
  return out.map((x) => x.nest);
}
/** An earlier kernel that can take this one in: nothing in between touches what it reads or writes. */
function hostOf(out: readonly { nest: Nest; io: Touched }[], nest: TilesNest, io: Touched): number | undefined {
  for (let i = out.length - 1; i >= 0; i--) {
    const { nest: other, io: his } = out[i] as { nest: Nest; io: Touched };
    if (conflicts(his, io)) return undefined;
    if (other.form === "tiles" && merged(other, nest)) return i;
  }
  return undefined;
}

/** The kernel of both; the one with more sums of its own is the host, since columns are read and written tile by tile. */
export function merged(x: TilesNest, y: TilesNest): TilesNest | undefined {
  const batches = x.batch.reduce((n, a) => n * (typeof a.extent === "number" ? a.extent : 1), 1);
  if (batches < BATCHES) return undefined;
  const work = (t: TilesNest) => t.folds.reduce((n, f) => n + f.n.reduce((s, a) => s * maxOf(a.extent), 1), 0);
  const [host, guest] = work(x) >= work(y) ? [x, y] : [y, x];
  return mirrored(host, guest) ?? mirrored(guest, host);
}

function mirrored(host: TilesNest, guest: TilesNest): TilesNest | undefined {
  if (guest.columns.length > 0 || guest.quads.length > 0 || guest.folds.length === 0) return undefined;
  const to = new Map<string, Expr>();
  const pairs = [
    [guest.batch, host.batch],
    [guest.rows, host.over],
    [guest.over, host.rows],
  ] as const;
  for (const [mine, his] of pairs) if (!matched(mine, his, to)) return undefined;
  const here = (e: Expr) => replaced(e, to);
  if (here(guest.mask) !== host.mask) return undefined;
  const sides = [...host.sides];
  for (const s of guest.sides) {
    const own: Side = { ...s, of: s.of === "rows" ? "over" : "rows", element: here(s.element) };
    const known = sides.find((h) => sameSide(h, own));
    if (!known) sides.push(own);
    to.set(s.name, local((known ?? own).name, (s.monoid.combine[0] as Expr).type));
  }
  const dots = [...host.dots];
  let shared = 0;
  for (const d of guest.dots) {
    const own: Dot = { name: d.name, k: d.k, a: here(d.b), b: here(d.a) };
    const known = dots.find((h) => sameDot(h, own));
    if (known) shared++;
    else dots.push(own);
    to.set(d.name, local((known ?? own).name, "real"));
  }
  if (shared === 0) return undefined;
  const columns: TileColumn[] = [];
  const taken = new Set<TileFold>();
  for (const { stores } of guest.stores)
    for (const store of stores) {
      const folds = guest.folds.filter((f) => f.bind.some((b) => readsLocal(store.value, b)));
      const [f] = folds;
      if (!f || folds.length !== 1 || taken.has(f) || !plainSum(f)) return undefined;
      taken.add(f);
      to.set(f.bind[0] as string, local("sum", "real"));
      const mine: Store = { buffer: store.buffer, index: store.index.map(here), value: here(store.value) };
      columns.push({ n: f.n, element: here(f.elements[0] as Expr), a: f.b ? here(f.b) : real(1), store: mine });
    }
  if (taken.size !== guest.folds.length) return undefined;
  return { ...host, nodes: [...host.nodes, ...guest.nodes], sides, dots, columns: [...host.columns, ...columns] };
}
function matched(mine: readonly Axis[], his: readonly Axis[], to: Map<string, Expr>): boolean {
  if (mine.length !== his.length) return false;
  for (const [i, a] of mine.entries()) {
    const other = his[i] as Axis;
    if (extentVar(a.extent) !== extentVar(other.extent)) return false;
    to.set(a.v, variable(other.v));
  }
  return true;
}
const plainSum = (f: TileFold): boolean => f.monoid.kind === "sum" && f.bind.length === 1 && f.rescale === null && f.at === null;
function sameSide(a: Side, b: Side): boolean {
  const to = new Map<string, Expr>();
  if (a.of !== b.of || a.monoid.kind !== b.monoid.kind || a.monoid.kind === "general" || !matched(b.fold, a.fold, to)) return false;
  return replaced(b.element, to) === a.element;
}
function sameDot(a: Dot, b: Dot): boolean {
  const to = new Map<string, Expr>();
  return matched(b.k, a.k, to) && replaced(b.a, to) === a.a && replaced(b.b, to) === a.b;
}
const none: ReadonlyMap<string, string> = new Map();
function replaced(root: Expr, to: ReadonlyMap<string, Expr>): Expr {
  const done = new Map<Expr, Expr>();
  const go = (e: Expr): Expr => {
    const known = done.get(e) ?? (e.kind === "var" || e.kind === "local" ? to.get(e.name) : undefined) ?? renamed(e, none, go);
    done.set(e, known);
    return known;
  };
  return go(root);
}
const readsLocal = (e: Expr, name: string): boolean => (e.kind === "local" && e.name === name) || partsOf(e).some((p) => readsLocal(p, name));
