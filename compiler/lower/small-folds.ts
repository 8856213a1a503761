// Folds that kernels of tiles make again for their own sides rather than wait for another kernel: a norm of each query, a
// row's sum of products, and the point-wise values between them and the tiles.
import { kindOf } from "../../dsl/derivative/monoid.js";
import { argsOf, type Node } from "../../dsl/node.js";
import { eachSide, isPointwise } from "../graph/quadratic.js";
import { maxOf } from "./expr.js";
import type { Quadratics } from "./quadratics.js";
import type { Regions } from "./regions.js";
import type { Tiling } from "./tile-kernel.js";
import { extentOf, UNROLLED } from "./tiles.js";

/** Elements that a fold of one side may have and still be made again by each kernel that reads it. */
const SHORT = 512;

/** Folds that a kernel makes again for its own sides rather than waiting for another kernel. */
export function smallFolds(r: Regions, q: Quadratics): ReadonlySet<Node> {
  const out = new Set<Node>();
  const folds = new Set<Node>(q.folds);
  const both = (n: Node) => [...q.sides.values()].some((s) => eachSide(s).filter((p) => [...p].some((a) => a in n.axes)).length > 1);
  if (q.folds.length === 0) return out;
  // What is the same for all rows of a batch is neither side's: it is stored, for both.
  const either = new Set([...q.sides.values()].flatMap((s) => [...s.left, ...s.right]));
  const indices = new Set([...q.sides.keys()].flatMap((n) => (n.op === "fold" ? Object.keys(n.axes) : [])));
  for (const n of r.order) {
    if (n.op !== "fold" || n.args.length !== 1 || folds.has(n) || q.sides.has(n) || both(n) || !Object.keys(n.axes).some((a) => either.has(a)))
      continue;
    const extents = n.over.map((o) => extentOf(n, o));
    const length = extents.reduce<number>((p, e) => p * maxOf(e), 1);
    // Written out, it may stand anywhere; else it is a value of one side, at each index of that side and of the batch.
    const unrolled = length <= UNROLLED && kindOf(n.monoid) === "sum" && extents.every((e) => typeof e === "number");
    const axes = Object.keys(n.axes);
    const read = Math.max(...argsOf(n).flatMap((a) => pointwiseSources(a).map((s) => Object.keys(s.axes).length)), 0);
    if (unrolled || (length <= SHORT && axes.length < read && axes.every((a) => indices.has(a)))) out.add(n);
  }
  return out;
}
function pointwiseSources(n: Node): readonly Node[] {
  const out = new Set<Node>();
  const seen = new Set<Node>();
  const todo = [n];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (isPointwise(x)) todo.push(...argsOf(x));
    else out.add(x);
  }
  return [...out];
}

/** Point-wise values of small folds that kernels of tiles alone read: made again with them. */
export function nearTiles(r: Regions, users: ReadonlyMap<Node, readonly Node[]>, pinned: (n: Node) => boolean, t: Tiling): ReadonlySet<Node> {
  const over = new Set<Node>();
  for (const n of r.order) if (isPointwise(n) && argsOf(n).some((a) => t.small.has(a) || over.has(a))) over.add(n);
  const { sides, joined, folds } = t.quadratics;
  const inside = new Set<Node>([...sides.keys(), ...joined, ...t.small, ...folds]);
  const out = new Set<Node>();
  for (const n of [...r.order].reverse()) {
    const by = users.get(n) ?? [];
    if (pinned(n) || !isPointwise(n) || by.length === 0 || !by.every((u) => inside.has(u) || out.has(u))) continue;
    if (over.has(n)) out.add(n);
  }
  return out;
}
