// What is made of a product's result element by element is computed where the block of sums is still in cache: a map that
// reads the result of an earlier contraction at the index where it is written, and is as large, becomes further stores of
// the contraction. The values themselves are at hand, so a result that nothing else reads needs no memory (unread.ts).

import { LONGEST } from "../graph/quadratic.js";
import { type Expr, elements, extentVar, maxOf } from "./expr.js";
import { joinEarlier, MOST_STORES, renamed } from "./fuse.js";
import { expressionsOf, loadsOf, meets, touched } from "./memory.js";
import type { Axis, Nest, Store } from "./nest.js";

/** Arrays as large as the result that an epilogue may walk beside it: blocks are narrow, and many narrow walks at once are slower
 *  than one kernel's long ones. */
const MOST_PASSES = 2;

type Contraction = Extract<Nest, { form: "contract" }>;
type MapNest = Extract<Nest, { form: "map" }>;

/** Kernels of one region, in order. Where scores are stored, row blocks will take the region apart (blocks.ts), for which each
 *  value's kernel has to be its own. */
export function finishProducts(nests: readonly Nest[]): readonly Nest[] {
  if (nests.some(isScores)) return nests;
  return joinEarlier(nests, isProduct, isMap, (product, map) => {
    const [his, io] = [touched(product), touched(map)];
    return meets(his.writes, io.writes) || meets(his.reads, io.writes) ? undefined : merge(product, map);
  });
}
const isProduct = (n: Nest): n is Contraction => n.form === "contract";
const isMap = (n: Nest): n is MapNest => n.form === "map";

/** Is the result as large as queries × keys (graph/quadratic.ts)? */
function isScores(nest: Nest): boolean {
  if (nest.form !== "contract") return false;
  const { m, n, k, a, b } = nest;
  const count = (axes: readonly Axis[]) => axes.reduce((x, axis) => x * maxOf(axis.extent), 1);
  const isData = (e: Expr) => loadsOf([e]).some((l) => l.buffer.role !== "state" && l.buffer.role !== "table");
  return count(k) <= LONGEST && count(m) > count(k) && count(n) > count(k) && isData(a) && isData(b);
}

function passes(from: MapNest, own: readonly Axis[]): number {
  const size = own.reduce((n, a) => n * maxOf(a.extent), 1);
  const { reads, writes } = touched(from);
  return [...reads, ...writes].filter((b) => elements(b) >= size).length - 1;
}
function merge(to: Contraction, from: MapNest): Contraction | undefined {
  if (to.stores.length + from.stores.length > MOST_STORES) return undefined;
  const own: readonly Axis[] = [...to.batch, ...to.m, ...to.n];
  if (own.length !== from.axes.length) return undefined;
  const written = new Map(to.stores.map((s) => [s.buffer.id, s]));
  const names = new Map<string, string>();
  const read = loadsOf(expressionsOf(from)).filter((l) => written.has(l.buffer.id));
  for (const l of read) {
    const store = written.get(l.buffer.id) as Store;
    if (l.inside || store.buffer.dtype !== "f32" || store.value.type !== "real") return undefined;
    for (const [i, place] of store.index.entries()) {
      const axis = place.kind === "var" ? own.find((a) => a.v === place.name) : undefined;
      const e = l.index[i] as Expr;
      const here = e.kind === "var" ? from.axes.find((a) => a.v === e.name) : undefined;
      if (!axis || !here) continue; // compared below
      if (extentVar(axis.extent) !== extentVar(here.extent) || (names.get(here.v) ?? axis.v) !== axis.v) return undefined;
      names.set(here.v, axis.v);
    }
  }
  if (names.size !== own.length || new Set(names.values()).size !== own.length) return undefined;
  const moved = new Map<Expr, Expr>();
  const plain = (e: Expr): Expr => {
    const known = moved.get(e) ?? renamed(e, names, plain);
    moved.set(e, known);
    return known;
  };
  if (passes(from, own) > MOST_PASSES) return undefined;
  if (read.some((l) => (written.get(l.buffer.id) as Store).index.some((e, i) => e !== plain(l.index[i] as Expr)))) return undefined;
  const done = new Map<Expr, Expr>();
  const go = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const value = (e.kind === "load" && written.get(e.buffer.id)?.value) || renamed(e, names, go);
    done.set(e, value);
    return value;
  };
  const stores = from.stores.map((s): Store => ({ buffer: s.buffer, index: s.index.map(go), value: go(s.value) }));
  return { ...to, nodes: [...to.nodes, ...from.nodes], stores: [...to.stores, ...stores] };
}
