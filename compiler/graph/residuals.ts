// Which values of a loop's forward pass are kept for its backward pass, and which are computed again there.
//
// Point-wise values, views, casts and random numbers are computed again from what is kept: they cost a few operations
// where they are used. Everything else (folds, scans, gathers, selections) is kept, unless it is larger than all that it
// is computed from: scores are larger than queries and keys, so an attention's T×T values are computed again. Results of
// inner loops are always kept: a loop is never run twice.
import { argsOf, type Node, UpTo } from "../../dsl/node.js";
import { isLoopNode } from "./walk.js";

export const elementsOf = (n: Node): number => Object.values(n.axes).reduce<number>((p, e) => p * (e instanceof UpTo ? e.max : e), 1);
export const isPointwise = (n: Node): boolean =>
  n.op === "map" || n.op === "view" || n.op === "cast" || n.op === "label" || n.op === "stop" || n.op === "constant" || n.op === "random";

const sources = new WeakMap<Node, ReadonlySet<Node>>();
/** The values that n would be computed from, seen through point-wise ones. */
function sourcesOf(n: Node): ReadonlySet<Node> {
  const known = sources.get(n);
  if (known) return known;
  const out = new Set<Node>();
  const seen = new Set<Node>();
  const stack = [...argsOf(n)];
  for (let m = stack.pop(); m; m = stack.pop()) {
    if (seen.has(m)) continue;
    seen.add(m);
    if (isPointwise(m)) stack.push(...argsOf(m));
    else out.add(m);
  }
  sources.set(n, out);
  return out;
}
export function isKept(n: Node): boolean {
  if (isPointwise(n)) return false;
  if (isLoopNode(n) || n.op === "leaf") return true;
  let from = 0;
  for (const s of sourcesOf(n)) from += elementsOf(s);
  return elementsOf(n) <= from;
}
