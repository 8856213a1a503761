// Which values are quadratic. A contraction whose two operands each have an axis of their own (queries × keys) and whose
// value is larger than either of them, q·k and dO·v in attention, is worth more computed tile by tile than stored;
// what is computed from it point by point is as large. The rewrites before and after the gradient ask this, and leave
// every other fold as it is: its bits are its author's.
//
//   Σ_K a·b    a over batch, M, K and b over batch, N, K, with |N| > |K| and |M| > |K|, |K| short, neither a weight
//
// The operands are read off the element: its factors, seen through maps that multiply, divide, negate and guard.
import { kindOf } from "../../dsl/derivative/monoid.js";
import { argsOf, type Extent, type FoldNode, type Node, UpTo, type ViewNode } from "../../dsl/node.js";
import { type Factor, factorsOf, twoGroups } from "./factors.js";
import { isLoopNode } from "./walk.js";

/** The private axes of a value's two sides. */
export interface Sides {
  readonly left: ReadonlySet<string>;
  readonly right: ReadonlySet<string>;
  /** Where more than two operands have axes of their own (queries × keys × second keys): each one's. */
  readonly parts?: readonly ReadonlySet<string>[];
}
export const eachSide = (s: Sides): readonly ReadonlySet<string>[] => s.parts ?? [s.left, s.right];
export const meets = (a: Iterable<string>, b: ReadonlySet<string>): boolean => [...a].some((x) => b.has(x));
export const within = (a: Iterable<string>, b: ReadonlySet<string>): boolean => [...a].every((x) => b.has(x));
/** A side as rows, and what is folded over for each: the other side, or all others. */
export interface Turn {
  readonly rows: ReadonlySet<string>;
  readonly over: ReadonlySet<string>;
}
export function turns(s: Sides): readonly Turn[] {
  const parts = eachSide(s);
  return parts.map((rows) => ({ rows, over: new Set(parts.filter((p) => p !== rows).flatMap((p) => [...p])) }));
}
/** The turn that a fold makes: over all of one, with its rows whole. */
export function turnOf(over: readonly string[], s: Sides): Turn | undefined {
  const folded = new Set(over);
  return turns(s).find((t) => within(t.over, folded) && !meets(t.rows, folded));
}

/** Longer contractions are cheaper to store than to repeat. */
export const LONGEST = 512;
const extentOf = (e: Extent): number => (e instanceof UpTo ? e.max : e);
/** Has the value of each index at that index. */
export const isPointwise = (n: Node): boolean => n.op === "map" || n.op === "label" || n.op === "stop" || n.op === "cast";

/** Every quadratic value among `nodes` (parts before wholes, loops' bodies included) with its two sides; several pairs
 *  where it joins contractions that have no two sides in common (P·V where V itself is one, of latents with factors). */
export function quadratics(nodes: readonly Node[]): ReadonlyMap<Node, readonly Sides[]> {
  const weights = weightsIn(nodes);
  const out = new Map<Node, readonly Sides[]>();
  for (const n of nodes) {
    const own = n.op === "fold" ? contraction(n, weights) : undefined;
    const below = isPointwise(n) || n.op === "view" ? argsOf(n).flatMap((a) => out.get(a) ?? []) : [];
    const sides = own ? [own] : n.op === "view" && !below.every((s) => isStill(n, s)) ? [] : joined(below);
    if (sides.length > 0) out.set(n, sides);
  }
  return out;
}
/** A view that leaves both sides where they are. */
export function isStill(n: ViewNode, s: Sides): boolean {
  const moved = [...n.reads, ...Object.keys(n.fresh)];
  return !moved.some((a) => s.left.has(a) || s.right.has(a));
}
/** What pairs have in common, where they have. */
function joined(all: readonly Sides[]): readonly Sides[] {
  const out: Sides[] = [];
  for (const s of all) {
    const i = out.findIndex((t) => shared(t, s));
    if (i < 0) out.push(s);
    else out[i] = shared(out[i] as Sides, s) as Sides;
  }
  return out;
}
/** The same two sides, whichever is called left. */
export function shared(a: Sides, b: Sides): Sides | undefined {
  const cut = (x: ReadonlySet<string>, y: ReadonlySet<string>) => new Set([...x].filter((k) => y.has(k)));
  if (a === b) return a;
  if (a.parts || b.parts) {
    const [p, q] = [eachSide(a), eachSide(b)];
    const parts = p.flatMap((x) => q.map((y) => cut(x, y)).filter((c) => c.size > 0));
    const [left, right] = parts;
    if (p.length !== q.length || parts.length !== p.length || !left || !right) return undefined;
    return { left, right: new Set(parts.slice(1).flatMap((c) => [...c])), parts };
  }
  for (const [l, r] of [
    [b.left, b.right],
    [b.right, b.left],
  ] as const) {
    const [left, right] = [cut(a.left, l), cut(a.right, r)];
    if (left.size > 0 && right.size > 0) return { left, right };
  }
  return undefined;
}

/** The two groups of factors of a sum, each with result axes of its own. */
export function contraction(f: FoldNode, weights: ReadonlySet<Node>): Sides | undefined {
  if (f.args.length !== 1 || kindOf(f.monoid) !== "sum") return undefined;
  const [x] = f.args as readonly [Node];
  const rows = Object.keys(f.axes);
  const inner = factorsOf(x).filter((p) => f.over.some((a) => p.axes.has(a)));
  const rowsOf = (p: Factor) => rows.filter((a) => p.axes.has(a));
  const groups = twoGroups(inner, rowsOf);
  if (!groups) return undefined;
  const span = (g: readonly Factor[]) => new Set(g.flatMap(rowsOf));
  const [a, b] = [span(groups[0]), span(groups[1])];
  const left = new Set([...a].filter((r) => !b.has(r)));
  const right = new Set([...b].filter((r) => !a.has(r)));
  if (left.size === 0 || right.size === 0) return undefined;
  const product = (axes: Iterable<string>) => [...axes].reduce((p, axis) => p * extentOf((f.axes[axis] ?? x.axes[axis]) as Extent), 1);
  const length = product(f.over);
  if (length > LONGEST || product(left) <= length || product(right) <= length) return undefined;
  if (groups.some((g) => g.every((p) => p.nodes.every((n) => weights.has(n))))) return undefined;
  // Factors of one group that have nothing of their own in common are operands apart.
  const parts = [...partsOf(groups[0], left), ...partsOf(groups[1], right)];
  return parts.length > 2 ? { left, right, parts } : { left, right };
}
function partsOf(group: readonly Factor[], own: ReadonlySet<string>): readonly ReadonlySet<string>[] {
  const out: Set<string>[] = [];
  for (const f of group) {
    const axes = [...f.axes].filter((a) => own.has(a));
    if (axes.length === 0) continue;
    const met = out.filter((p) => axes.some((a) => p.has(a)));
    for (const p of met) out.splice(out.indexOf(p), 1);
    out.push(new Set([...axes, ...met.flatMap((p) => [...p])]));
  }
  return out;
}

/** Values made of weights and constants alone. A product with one is a projection: it grows with the data along one side
 *  only. What a loop carries is no weight, whatever it began as. */
export function weightsIn(nodes: readonly Node[]): ReadonlySet<Node> {
  const sliced = new Map<Node, Node>();
  for (const n of nodes) if (isLoopNode(n)) for (const [k, s] of n.loop.slices.entries()) sliced.set(s, n.loop.xs[k] as Node);
  const out = new Set<Node>();
  // A slice may come before what it is a slice of has been seen: that is then asked for first.
  const settled = new Set<Node>();
  const stack: Node[] = [];
  for (const root of nodes) {
    stack.push(root);
    for (let n = stack.at(-1); n; n = stack.at(-1)) {
      const of = n.op === "leaf" ? sliced.get(n) : undefined;
      const parts = of ? [of] : argsOf(n);
      const waiting = settled.has(n) ? [] : parts.filter((p) => !settled.has(p));
      if (waiting.length > 0) {
        stack.push(...waiting);
        continue;
      }
      stack.pop();
      if (settled.has(n)) continue;
      settled.add(n);
      const own = n.op === "leaf" ? of !== undefined || n.role === "param" || n.role === "state" : !isLoopNode(n);
      if (own && parts.every((p) => out.has(p))) out.add(n);
    }
  }
  return out;
}
