// Folds that kernels of tiles make again for their own sides rather than wait for another kernel: a norm of each query, a
// row's sum of products, and the point-wise values between them and the tiles.
import { argsOf, type Node } from "../../dsl/node.js";
import { isPointwise } from "../graph/quadratic.js";
import { maxOf } from "./expr.js";
import type { Quadratics } from "./quadratics.js";
import type { Regions } from "./regions.js";
import type { Tiling } from "./tile-kernel.js";
import { extentOf } from "./tiles.js";

/** Elements that a fold of one side may have and still be made again by each kernel that reads it. */
const SHORT = 512;

/** Folds that a kernel makes again for its own sides rather than waiting for another kernel. */
export function smallFolds(r: Regions, q: Quadratics): ReadonlySet<Node> {
  const out = new Set<Node>();
  const folds = new Set<Node>(q.folds);
  const both = (n: Node) =>
    [...q.sides.values()].some((s) => (s.parts ?? [s.left, s.right]).filter((p) => [...p].some((a) => a in n.axes)).length > 1);
  if (q.folds.length === 0) return out;
  // What is the same for all rows of a batch is neither side's: it is stored, for both.
  const either = new Set([...q.sides.values()].flatMap((s) => [...s.left, ...s.right]));
  for (const n of r.order) {
    if (n.op !== "fold" || n.args.length !== 1 || folds.has(n) || q.sides.has(n) || both(n) || !Object.keys(n.axes).some((a) => either.has(a)))
      continue;
    const length = n.over.reduce((p, o) => p * maxOf(extentOf(n, o)), 1);
    // A contraction has more results than a fold has rows: that one is stored.
    const rows = Object.keys(n.axes).length;
    const read = Math.max(...argsOf(n).flatMap((a) => pointwiseSources(a).map((s) => Object.keys(s.axes).length)), 0);
    if (length <= 8 || (length <= SHORT && rows < read)) out.add(n);
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
