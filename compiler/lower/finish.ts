// Kernels of tiles once memory is decided: which point-wise values of its results each kernel finishes, what then needs no
// memory after all, and what it waits for.
import { argsOf, type FoldNode, type Node } from "../../dsl/node.js";
import { isPointwise } from "../graph/quadratic.js";
import { dependents, partsOf, waitsFor } from "./dependence.js";
import { finishes, pretended } from "./pretend.js";
import type { Regions } from "./regions.js";
import type { Draft, TileKernel, Tiling } from "./tile-kernel.js";
import { unviewed } from "./unview.js";

/** What a kernel finishes: stored point-wise values of its results over its own rows, whatever else they read being
 *  known before. Values that nothing else needs then lose their memory. */
export function finished(
  { drafts, quadratics: q, small }: Tiling,
  r: Regions,
  stored: Set<Node>,
  epilogue: Map<Node, Node>,
  users: ReadonlyMap<Node, readonly Node[]>,
  pinned: (n: Node) => boolean,
): { readonly kernels: readonly TileKernel[]; readonly of: ReadonlyMap<Node, TileKernel> } {
  const place = new Map<Node, Draft>();
  for (const d of drafts) for (const f of [...d.folds.flat(), ...d.quads]) place.set(f, d);
  const memory = pretended(r, q);
  const hosts = new Map<Draft, Node[]>(drafts.map((d) => [d, []]));
  for (const n of r.order) {
    if (!stored.has(n) || place.has(n) || q.sides.has(n) || q.joined.has(n) || !(isPointwise(n) || n.op === "view")) continue;
    const d = hostOf(n, place, r);
    if (!d || !finishes(n.op === "view" ? n.args[0] : n, d.folds, d.shape, memory)) continue;
    (hosts.get(d) as Node[]).push(n);
    place.set(n, d);
    // Another kernel would have finished it: that one stores its own result then.
    for (const [fold, host] of epilogue)
      if (host === n) {
        epilogue.delete(fold);
        stored.add(fold);
      }
  }
  // Users come first in the reverse order, so one pass settles what is read from memory.
  /** The kernels that compute from a value, and whether anything else does. */
  const readers = new Map<Node, ReadonlySet<Draft | "other">>();
  for (const n of [...r.order].reverse()) {
    const by = new Set<Draft | "other">(pinned(n) ? ["other"] : []);
    for (const u of users.get(n) ?? []) {
      const d = place.get(u);
      if (d) by.add(d);
      else {
        if (stored.has(u) && (!q.sides.has(u) || q.kept.has(u))) by.add("other");
        if (!stored.has(u) || small.has(u)) for (const x of readers.get(u) ?? []) by.add(x);
      }
    }
    readers.set(n, by);
    const own = place.get(n);
    const elsewhere = small.has(n) ? by.has("other") : [...by].some((x) => x !== own);
    // A kernel's folds and finished values are made again from its own results.
    if ((small.has(n) || own) && !elsewhere && !pinned(n)) {
      stored.delete(n);
      const hosted = own && (hosts.get(own) as Node[]);
      if (hosted?.includes(n)) hosted.splice(hosted.indexOf(n), 1);
    }
  }
  const kernels = drafts.map((d): TileKernel => {
    const own = new Set<Node>([...d.folds.flat(), ...d.quads, ...(hosts.get(d) as readonly Node[])]);
    const after = dependents(own, r);
    const before = new Set<Node>();
    const seen = new Set<Node>();
    const todo = [...own].flatMap((n) => partsOf(n, r));
    for (let x = todo.pop(); x; x = todo.pop()) {
      if (seen.has(x)) continue;
      seen.add(x);
      if (own.has(x) || after.has(x)) todo.push(...partsOf(x, r));
      else before.add(x);
    }
    return {
      home: d.home,
      shape: d.shape,
      folds: d.folds,
      mask: d.mask === "nothing" ? [] : [...d.mask.values()],
      hosts: hosts.get(d) as readonly Node[],
      quads: d.quads,
      after,
      before: [...before],
    };
  });
  const of = new Map<Node, TileKernel>();
  for (const [n, d] of place) of.set(n, kernels[drafts.indexOf(d)] as TileKernel);
  return { kernels, of };
}
function hostOf(n: Node, place: ReadonlyMap<Node, Draft>, r: Regions): Draft | undefined {
  // Through point-wise values to the results of one kernel; all else must not wait for that kernel.
  let d: Draft | undefined;
  const others: Node[] = [];
  const seen = new Set<Node>();
  const todo = [...argsOf(n)];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    const at = place.get(x);
    if (at && (d === undefined || at === d) && at.home === (r.home.get(n) ?? null) && (x.op === "fold" || isPointwise(x))) d = at;
    else if (isPointwise(x)) todo.push(...argsOf(x));
    else others.push(x);
  }
  if (!d || waitsFor(others, d, place, r)) return undefined;
  const rows = [...d.shape.batch, ...d.shape.rows];
  if (n.op === "view" && !unviewed(n)) return undefined;
  const own = n.op === "view" ? n.args[0] : n;
  if (!rows.every((a) => a in own.axes)) return undefined;
  const nAxes = new Set(d.folds.flatMap(([f]) => Object.keys((f as FoldNode).axes)));
  return Object.keys(own.axes).every((a) => nAxes.has(a)) ? d : undefined;
}
