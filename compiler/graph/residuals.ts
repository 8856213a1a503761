// Which values of a loop's forward pass are kept for its backward pass, and which are computed again there.
//
// Point-wise values, views, casts and random numbers are computed again from what is kept: they cost a few operations
// where they are used. Everything else (folds, scans, gathers, selections) is kept, unless it is larger than all that it
// is computed from and cheap to have again: its contraction is short, or it is very much larger. Scores are larger than
// queries and keys, so an attention's T×T values are computed again; a feed-forward layer's are kept. What is made of scores
// and has both their sides (prefix sums of them, heads mixed) goes with them: kept, it would be as large. Results of inner
// loops are always kept: a loop is never run twice. What is rounded to half the width is kept rounded, where what it is made of
// would be kept, and none of that is larger.

import { argsOf, type Node, UpTo } from "../../dsl/node.js";
import { factorsOf } from "./factors.js";
import { isLoopNode } from "./walk.js";

export const elementsOf = (n: Node): number => Object.values(n.axes).reduce<number>((p, e) => p * (e instanceof UpTo ? e.max : e), 1);
/** A rounding to a storage format of half the width. */
const isHalving = (n: Node): boolean => n.op === "cast" && (n.dtype === "bf16" || n.dtype === "f16") && n.args[0].dtype === "f32";
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
/** A contraction between the data of one batch, queries with keys: both operands vary along the batch, and each along an
 *  axis of its own. A projection's weight does not vary with the data. */
function betweenData(n: Node): boolean {
  if (n.op !== "fold" || n.args.length !== 1) return false;
  const rows = Object.keys(n.axes);
  const factors = factorsOf(n.args[0] as Node).filter((f) => n.over.some((a) => f.axes.has(a)));
  const own = factors.filter((f) => rows.some((a) => f.axes.has(a) && factors.some((g) => !g.axes.has(a))));
  return own.length >= 2 && rows.some((a) => factors.every((f) => f.axes.has(a)));
}
/** Of such contractions longer ones are repeated too: their values grow with the square of the data. */
const LONGEST = 512;
/** Terms of a contraction that cost no more than storing and loading its result. */
const SHORT = 64;
const MUCH_LARGER = 6;
const extentOf = (n: Extract<Node, { op: "fold" }>, axis: string): number => {
  const e = n.args.find((a) => axis in a.axes)?.axes[axis] ?? 1;
  return e instanceof UpTo ? e.max : e;
};

const known = new WeakMap<Node, readonly string[]>();
/** The axes of the two sides of scores that a value has both of, where it is scores, or prefix sums or short sums of such values. */
function sidesOf(root: Node): readonly string[] {
  const stack = [root];
  for (let n = stack.at(-1); n; n = stack.at(-1)) {
    const parts = n.op === "scan" || (n.op === "fold" && !betweenData(n)) ? [...sourcesOf(n)] : [];
    const waiting = parts.filter((s) => !known.has(s));
    if (known.has(n) || waiting.length === 0) {
      if (!known.has(n)) known.set(n, own(n, parts));
      stack.pop();
    } else stack.push(...waiting);
  }
  return known.get(root) as readonly string[];
}
function own(n: Node, parts: readonly Node[]): readonly string[] {
  if (n.op !== "fold" && n.op !== "scan") return [];
  const has = (axes: readonly string[]) => axes.length > 0 && axes.every((a) => a in n.axes);
  const length = n.op === "fold" ? n.over.reduce((p, axis) => p * extentOf(n, axis), 1) : 1;
  if (length > LONGEST) return [];
  if (n.op === "fold" && betweenData(n)) {
    const from = [...sourcesOf(n)].reduce((m, s) => Math.max(m, elementsOf(s)), 0);
    const factors = factorsOf(n.args[0] as Node).filter((f) => n.over.some((a) => f.axes.has(a)));
    return elementsOf(n) > from ? Object.keys(n.axes).filter((a) => factors.some((f) => f.axes.has(a)) && !factors.every((f) => f.axes.has(a))) : [];
  }
  return parts.map((s) => known.get(s) as readonly string[]).find(has) ?? [];
}

/** A halved value stands for the one fold that it is made of. */
function isKeptHalved(n: Node): boolean {
  const sources = [...sourcesOf(n)];
  const whole = sources.filter((s) => elementsOf(s) >= elementsOf(n));
  const [only] = whole;
  return whole.length === 1 && only?.op === "fold" && elementsOf(only) === elementsOf(n) && isKept(only);
}
export function isKept(n: Node): boolean {
  if (isHalving(n)) return isKeptHalved(n);
  if (isPointwise(n)) return false;
  if (isLoopNode(n) || n.op === "leaf") return true;
  if (sidesOf(n).length > 0) return false;
  let from = 0;
  for (const s of sourcesOf(n)) from += elementsOf(s);
  const much = elementsOf(n);
  if (much <= from) return true;
  const length = n.op === "fold" ? n.over.reduce((p, axis) => p * extentOf(n, axis), 1) : 1;
  if (length <= LONGEST && betweenData(n)) return false;
  return length > SHORT && much < MUCH_LARGER * from;
}
