// Which values exist tile by tile alone. A contraction with an axis of its own on each side (queries × keys) is larger
// than what it is made of; where nothing but folds over one of those sides reads it, through point-wise expressions, it
// needs no memory: the kernels of those folds compute it again. What keeps such a value whole (a scan, a selection, a
// shifted view, an output) is told by name, for explain.
import { kindOf } from "../../dsl/derivative/monoid.js";
import type { Extent, FoldNode, Leaf, Node } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { type Factor, factorsOf, isZero } from "../graph/factors.js";
import { maxOf } from "./expr.js";
import type { Regions } from "./regions.js";

/** The private axes of a value's two sides. */
export interface Sides {
  readonly left: ReadonlySet<string>;
  readonly right: ReadonlySet<string>;
}
export interface Reason {
  readonly node: Node;
  readonly reason: string;
}
export interface Quadratics {
  /** Contractions and point-wise values of them; none has memory. */
  readonly sides: ReadonlyMap<Node, Sides>;
  /** Products of such values that have no two sides in common; their folds see the factors. */
  readonly joined: ReadonlySet<Node>;
  /** Point-wise values as large as those, which only they read. */
  readonly beside: ReadonlySet<Node>;
  /** Folds of them, in order. */
  readonly folds: readonly FoldNode[];
  /** Those of them that must be stored whole (a bias's gradient). */
  readonly kept: ReadonlySet<Node>;
  /** What keeps a contraction in memory. */
  readonly reasons: readonly Reason[];
}

/** Longer contractions are cheaper to store than to repeat. */
const LONGEST = 512;
export const isPointwise = (n: Node): boolean => n.op === "map" || n.op === "label" || n.op === "stop" || n.op === "cast";
const keys = (n: Node): readonly string[] => Object.keys(n.axes);
const meets = (a: Iterable<string>, b: ReadonlySet<string>): boolean => [...a].some((x) => b.has(x));
const within = (a: Iterable<string>, b: ReadonlySet<string>): boolean => [...a].every((x) => b.has(x));

/** `refused`: folds that are known not to do, and why. */
export function quadratics(
  r: Regions,
  users: ReadonlyMap<Node, readonly Node[]>,
  pinned: (n: Node) => boolean,
  refused: ReadonlyMap<Node, string>,
): Quadratics {
  const weights = new Weights(r);
  const candidates = new Map<Node, Sides>();
  for (const n of r.order) {
    const sides = n.op === "fold" ? contraction(n, weights) : undefined;
    if (sides) candidates.set(n, sides);
  }
  const reasons: Reason[] = [];
  const bad = new Set<Node>();
  for (;;) {
    const found = attempt(r, users, pinned, candidates, bad, refused);
    if (found.stopped.length === 0) return { ...found.quadratics, reasons };
    for (const { contractions, ...reason } of found.stopped) {
      if (reason.reason !== "no fold reads it" && reason.reason !== "contracts it again") reasons.push(reason);
      for (const c of contractions) bad.add(c);
    }
  }
}

type Stop = Reason & { readonly contractions: ReadonlySet<Node> };
function attempt(
  r: Regions,
  users: ReadonlyMap<Node, readonly Node[]>,
  pinned: (n: Node) => boolean,
  candidates: ReadonlyMap<Node, Sides>,
  bad: ReadonlySet<Node>,
  refused: ReadonlyMap<Node, string>,
): { readonly quadratics: Omit<Quadratics, "reasons">; readonly stopped: readonly Stop[] } {
  const sides = new Map<Node, Sides>();
  /** The contractions that a value is made of. */
  const made = new Map<Node, ReadonlySet<Node>>();
  const stopped: Stop[] = [];
  /** Products of values with different sides: their folds see the factors. */
  const joined = new Set<Node>();
  for (const n of r.order) {
    const own = candidates.get(n);
    if (own && !bad.has(n)) {
      sides.set(n, own);
      made.set(n, new Set([n]));
      continue;
    }
    if (!isPointwise(n) && !(n.op === "view" && sides.has(n.args[0]) && still(n, sides.get(n.args[0]) as Sides))) continue;
    const parts = argsOf(n).filter((a) => sides.has(a));
    if (parts.length === 0) continue;
    const all = new Set(parts.flatMap((p) => [...(made.get(p) as ReadonlySet<Node>)]));
    const common = parts.map((p) => sides.get(p) as Sides).reduce<Sides | undefined>((a, b) => a && shared(a, b), sides.get(parts[0] as Node));
    if (common) {
      sides.set(n, common);
      made.set(n, all);
    } else if (apart(n, sides)) joined.add(n);
    else stopped.push({ node: n, contractions: all, reason: "joins contractions that have no two sides in common" });
  }
  const folds = new Set<FoldNode>();
  const kept = new Set<Node>();
  for (const [n] of sides) {
    const stop = (node: Node, reason: string) => stopped.push({ node, reason, contractions: made.get(n) as ReadonlySet<Node> });
    if (pinned(n)) {
      if (n.op === "fold") stop(n, "is wanted whole, as a result");
      else kept.add(n);
    }
    for (const u of (users.get(n) ?? []).flatMap((x) => (joined.has(x) ? (users.get(x) ?? []) : [x]))) {
      if (sides.has(u) && !candidates.has(u)) continue;
      if (u.op !== "fold") {
        stop(u, u.op === "view" || u.op === "at" ? "reads it at other places than its own" : `needs it whole: ${u.op}`);
        continue;
      }
      const reason = refused.get(u) ?? fits(u, n, sides);
      // Summed over its batch alone it is as large as before: stored once, and folded from memory.
      const alone = reads(u, sides).every((x) => shared(sides.get(n) as Sides, sides.get(x) as Sides));
      if (reason && alone && n.op === "map" && u.over.every((o) => o in n.axes && !own(n, sides).has(o))) kept.add(n);
      else if (reason) stop(u, reason);
      else folds.add(u);
    }
  }
  const read = new Set([...folds].flatMap((f) => reads(f, sides).flatMap((x) => [...(made.get(x) as ReadonlySet<Node>)])));
  for (const n of sides.keys())
    if (candidates.has(n) && !bad.has(n) && !read.has(n)) stopped.push({ node: n, contractions: new Set([n]), reason: "no fold reads it" });
  if (stopped.length === 0)
    for (const [y] of sides) {
      // What an operand is made of belongs to the operand.
      if (y.op !== "fold" || !candidates.has(y)) continue;
      for (const x of operands(y, sides)) stopped.push({ node: y, contractions: new Set([x]), reason: "contracts it again" });
    }
  return {
    quadratics: {
      sides,
      joined,
      beside: besides(r, users, pinned, sides),
      folds: r.order.filter((n): n is FoldNode => folds.has(n as FoldNode)),
      kept,
    },
    stopped,
  };
}
function shared(a: Sides, b: Sides): Sides | undefined {
  const cut = (x: ReadonlySet<string>, y: ReadonlySet<string>) => new Set([...x].filter((k) => y.has(k)));
  for (const [l, q] of [
    [b.left, b.right],
    [b.right, b.left],
  ] as const) {
    const [left, right] = [cut(a.left, l), cut(a.right, q)];
    if (left.size > 0 && right.size > 0) return { left, right };
  }
  return undefined;
}

const own = (n: Node, sides: ReadonlyMap<Node, Sides>): ReadonlySet<string> => {
  const s = sides.get(n);
  return new Set(s ? [...s.left, ...s.right] : []);
};
/** A view that leaves both sides where they are. */
const still = (n: Extract<Node, { op: "view" }>, s: Sides): boolean => {
  const moved = new Set([...n.reads, ...Object.keys(n.fresh)]);
  return !meets(s.left, moved) && !meets(s.right, moved);
};
/** Does each factor of a product read values with sides in common alone? */
const apart = (n: Node, sides: ReadonlyMap<Node, Sides>): boolean =>
  factorsOf(n).every((f) => {
    const parts = f.nodes.flatMap((x) => sides.get(x) ?? []);
    return parts.reduce<Sides | undefined>((a, b) => a && shared(a, b), parts[0]) !== undefined || parts.length === 0;
  });
/** Contractions that a contraction's operands are computed from, point by point. */
function operands(y: FoldNode, sides: ReadonlyMap<Node, Sides>): readonly Node[] {
  const out: Node[] = [];
  const seen = new Set<Node>();
  const todo = [...y.args];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (x.op === "fold" && sides.has(x)) out.push(x);
    else if (isPointwise(x) || x.op === "view") todo.push(...argsOf(x));
  }
  return out;
}

/** Why a fold cannot take its elements tile by tile, for the sides of one value that it reads. */
function fits(f: FoldNode, value: Node, all: ReadonlyMap<Node, Sides>): string | undefined {
  const mine = all.get(value) as Sides;
  const sides = new Map([...all].filter(([n, x]) => n === value || shared(mine, x)));
  const s = sidesOf(f, sides);
  if (!s) return "joins contractions that have no two sides in common";
  const over = new Set(f.over);
  const side = within(s.right, over) && !meets(s.left, over) ? s.right : within(s.left, over) && !meets(s.right, over) ? s.left : undefined;
  if (!side) return `folds over ${f.over.join(", ")}, which is neither side of it alone`;
  const batch = new Set(quadAxes(f, sides));
  const extra = f.over.filter((o) => !side.has(o));
  if (extra.length > 0) {
    // Rows that differ along an axis of the fold would have to be read again for each of its indices.
    const rows = side === s.right ? s.left : s.right;
    if (extra.some((o) => !batch.has(o)) || rowsDiffer(f, sides, rows, new Set(extra)))
      return `folds over ${extra.join(", ")} as well, along which its rows differ`;
  }
  const n = keys(f).filter((a) => !batch.has(a));
  if (n.length === 0) return undefined;
  if (kindOf(f.monoid) !== "sum" || f.args.length !== 1) return `is no sum, and has axes of its own: ${n.join(", ")}`;
  if (oneHot(f, n)) return undefined;
  const rows = new Set([...s.left, ...s.right].filter((a) => !over.has(a)));
  const mixed = factorsOf(f.args[0] as Node).find((x) => meets(n, x.axes) && meets(rows, x.axes) && meets(f.over, x.axes));
  return mixed ? "has a factor that is different for each pair and for each of the result's own axes" : undefined;
}
/** The sides that the folded values have in common. */
export function sidesOf(f: FoldNode, sides: ReadonlyMap<Node, Sides>): Sides | undefined {
  const parts = reads(f, sides).map((x) => sides.get(x) as Sides);
  return parts.reduce<Sides | undefined>((a, b) => a && shared(a, b), parts[0]);
}
/** Those factors of a fold's elements that are quadratic: no product of such a value with others counts as one itself. */
const quadFactors = (f: FoldNode, sides: ReadonlyMap<Node, Sides>): readonly Factor[] =>
  f.args.flatMap((a) => factorsOf(a, (y) => y.op === "fold")).filter((x) => x.nodes.some((n) => sides.has(n)));
/** The quadratic values that a fold's elements are made of. */
const reads = (f: FoldNode, sides: ReadonlyMap<Node, Sides>): readonly Node[] => [
  ...new Set(quadFactors(f, sides).flatMap((x) => x.nodes.filter((n) => sides.has(n)))),
];
/** Axes of the folded quadratic values, in order. */
export const quadAxes = (f: FoldNode, sides: ReadonlyMap<Node, Sides>): readonly string[] => [
  ...new Set(quadFactors(f, sides).flatMap((x) => [...x.axes])),
];

/** Does any contraction below have a row operand that varies along these axes? */
function rowsDiffer(f: FoldNode, sides: ReadonlyMap<Node, Sides>, rows: ReadonlySet<string>, along: ReadonlySet<string>): boolean {
  const seen = new Set<Node>();
  const todo: Node[] = [...reads(f, sides)];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x) || !sides.has(x)) continue;
    seen.add(x);
    if (x.op === "fold") {
      for (const y of factorsOf(x.args[0] as Node)) if (meets(rows, y.axes) && meets(along, y.axes)) return true;
    } else todo.push(...argsOf(x));
  }
  return false;
}
/** Σ select(… index = n …, x, 0): an indexed addition. */
function oneHot(f: FoldNode, n: readonly string[]): boolean {
  const [x] = f.args as readonly [Node];
  if (n.length !== 1 || x.op !== "map" || x.body.kind !== "scalar") return false;
  const { body } = x.body;
  if (body.kind !== "call" || body.prim !== "select" || !isZero(body.args[2] as never)) return false;
  const todo = [body.args[0]];
  for (let c = todo.pop(); c; c = todo.pop()) {
    if (c.kind === "call" && c.prim === "and") todo.push(...c.args);
    else if (c.kind === "call" && c.prim === "eq" && c.args.some((a) => a.kind === "index" && a.axis === n[0])) return true;
  }
  return false;
}

/** Point-wise values over both sides that are no contraction's, and that only quadratic values read. */
function besides(
  r: Regions,
  users: ReadonlyMap<Node, readonly Node[]>,
  pinned: (n: Node) => boolean,
  sides: ReadonlyMap<Node, Sides>,
): ReadonlySet<Node> {
  const out = new Set<Node>();
  for (const n of [...r.order].reverse()) {
    if (sides.has(n) || pinned(n) || !(isPointwise(n) || n.op === "view" || n.op === "random" || n.op === "at")) continue;
    const by = users.get(n) ?? [];
    const large = by.some((u) => {
      const s = sides.get(u);
      return (s && meets(s.left, new Set(keys(n))) && meets(s.right, new Set(keys(n)))) || (out.has(u) && u.op !== "view" && u.op !== "at");
    });
    if (large && by.every((u) => sides.has(u) || out.has(u))) out.add(n);
  }
  return out;
}

/** Two groups of factors, each with result axes of its own. */
function contraction(f: FoldNode, weights: Weights): Sides | undefined {
  if (f.args.length !== 1 || kindOf(f.monoid) !== "sum") return undefined;
  const over = new Set(f.over);
  const inner = factorsOf(f.args[0] as Node).filter((x) => meets(x.axes, over));
  const rows = keys(f);
  const rowsOf = (x: Factor) => rows.filter((a) => x.axes.has(a));
  const sorted = [...inner].sort((x, y) => rowsOf(y).length - rowsOf(x).length);
  const first = sorted[0];
  const second = first && sorted.find((x) => rowsOf(x).some((a) => !first.axes.has(a)));
  if (!first || !second) return undefined;
  const groups: [Factor[], Factor[]] = [[first], [second]];
  const span = (g: readonly Factor[]) => new Set(g.flatMap(rowsOf));
  for (const x of inner) {
    if (x === first || x === second) continue;
    const grow = (g: readonly Factor[]) => rowsOf(x).filter((a) => !span(g).has(a)).length;
    (grow(groups[0]) <= grow(groups[1]) ? groups[0] : groups[1]).push(x);
  }
  const [a, b] = [span(groups[0]), span(groups[1])];
  const left = new Set([...a].filter((x) => !b.has(x)));
  const right = new Set([...b].filter((x) => !a.has(x)));
  if (left.size === 0 || right.size === 0) return undefined;
  const extentOf = (axis: string): number => maxOf((f.axes[axis] ?? argsOf(f)[0]?.axes[axis] ?? 1) as Extent);
  const product = (axes: Iterable<string>) => [...axes].reduce((p, x) => p * extentOf(x), 1);
  const length = product(f.over);
  if (length > LONGEST || Math.min(product(left), product(right)) <= length) return undefined;
  return groups.some((g) => g.every((x) => x.nodes.every((n) => weights.has(n)))) ? undefined : { left, right };
}

/** Is a value made of weights alone? A product with one is a projection: it grows with the data along one side only. */
class Weights {
  readonly #known = new Map<Node, boolean>();
  constructor(readonly r: Regions) {
    for (const n of r.order) this.#known.set(n, this.#of(n));
  }
  has(n: Node): boolean {
    return this.#known.get(n) ?? this.#of(n);
  }
  #of(n: Node): boolean {
    if (n.op === "constant") return false;
    if (n.op !== "leaf") {
      const args = argsOf(n).filter((a) => a.op !== "constant");
      return args.length > 0 && n.op !== "carry" && n.op !== "emit" && args.every((a) => this.has(a));
    }
    if (n.role === "param" || n.role === "state") return true;
    const l = this.r.owner.get(n as Leaf);
    const k = l ? l.slices.indexOf(n) : -1;
    return l !== undefined && k >= 0 && this.has(l.xs[k] as Node);
  }
}
