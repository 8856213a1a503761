// Which values exist tile by tile alone. A contraction with an axis of its own on each side (queries × keys) is larger
// than what it is made of; where nothing but folds over one of those sides reads it, through point-wise expressions, it
// needs no memory: the kernels of those folds compute it again. What keeps such a value whole (a scan, a selection, a
// shifted view, an output) is told by name, for explain.
import { kindOf } from "../../dsl/derivative/monoid.js";
import type { FoldNode, Node } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { type Factor, factorsOf, isZero } from "../graph/factors.js";
import { contraction, eachSide, isPointwise, isStill, meets, type Sides, shared, turnOf, weightsIn } from "../graph/quadratic.js";
import { elementsOf } from "../graph/residuals.js";
import type { Regions } from "./regions.js";

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

/** No fault: what an operand is made of is stored as any other value. */
const OPERAND = "contracts it again";
const keys = (n: Node): readonly string[] => Object.keys(n.axes);
const _within = (a: Iterable<string>, b: ReadonlySet<string>): boolean => [...a].every((x) => b.has(x));

/** `refused`: folds that are known not to do, and why. */
export function quadratics(
  r: Regions,
  users: ReadonlyMap<Node, readonly Node[]>,
  pinned: (n: Node) => boolean,
  refused: ReadonlyMap<Node, string>,
): Quadratics {
  const weights = weightsIn(r.order);
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
      if (reason.reason !== "no fold reads it" && reason.reason !== OPERAND) reasons.push(reason);
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
    if (!isPointwise(n) && !(n.op === "view" && sides.has(n.args[0]) && isStill(n, sides.get(n.args[0]) as Sides))) continue;
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
      // A contraction whose sum it does not vary along: one of its factors, outside.
      if (u.op === "fold" && sides.has(u) && quadFactors(u, sides).every((f) => !meets(u.over, f.axes))) continue;
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
  // Where a fold reads values with different sides, the smaller is an operand like any other: it is stored.
  if (stopped.length === 0)
    for (const f of folds) {
      if (sidesOf(f, sides)) continue;
      const all = reads(f, sides).flatMap((x) => [...(made.get(x) as ReadonlySet<Node>)]);
      const least = all.reduce((a, b) => (elementsOf(b) < elementsOf(a) ? b : a));
      stopped.push({ node: f, contractions: new Set([least]), reason: OPERAND });
    }
  if (stopped.length === 0)
    for (const [y] of sides) {
      // What an operand is made of belongs to the operand.
      if (y.op !== "fold" || !candidates.has(y)) continue;
      for (const x of operands(y, sides)) stopped.push({ node: y, contractions: new Set([x]), reason: OPERAND });
    }
  return {
    quadratics: {
      sides,
      joined,
      beside: besides(r, users, pinned, sides, joined),
      folds: r.order.filter((n): n is FoldNode => folds.has(n as FoldNode)),
      kept,
    },
    stopped,
  };
}
const own = (n: Node, sides: ReadonlyMap<Node, Sides>): ReadonlySet<string> => {
  const s = sides.get(n);
  return new Set(s ? [...s.left, ...s.right] : []);
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
  // What does not vary along the sum is no operand: it leaves it.
  const todo = y.args.flatMap((a) => factorsOf(a).filter((f) => meets(y.over, f.axes))).flatMap((f) => f.nodes);
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
  const turn = turnOf(f.over, s);
  if (!turn) return `folds over ${f.over.join(", ")}, which is neither side of it alone`;
  const batch = new Set(quadAxes(f, sides));
  const extra = f.over.filter((o) => !turn.over.has(o));
  if (extra.length > 0) {
    // Rows that differ along an axis of the fold would have to be read again for each of its indices.
    if (extra.some((o) => !batch.has(o)) || rowsDiffer(f, sides, turn.rows, new Set(extra)))
      return `folds over ${extra.join(", ")} as well, along which its rows differ`;
  }
  const n = keys(f).filter((a) => !batch.has(a));
  if (n.length === 0) return undefined;
  if (kindOf(f.monoid) !== "sum" || f.args.length !== 1) return `is no sum, and has axes of its own: ${n.join(", ")}`;
  if (oneHot(f, n)) return undefined;
  const mixed = factorsOf(f.args[0] as Node).find((x) => meets(n, x.axes) && meets(turn.rows, x.axes) && meets(f.over, x.axes));
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
  joined: ReadonlySet<Node>,
): ReadonlySet<Node> {
  const out = new Set<Node>();
  for (const n of [...r.order].reverse()) {
    if (sides.has(n) || pinned(n) || !(isPointwise(n) || n.op === "view" || n.op === "random" || n.op === "at")) continue;
    const by = users.get(n) ?? [];
    const large = by.some((u) => {
      const s = sides.get(u);
      return (s && eachSide(s).filter((p) => meets(p, new Set(keys(n)))).length > 1) || (out.has(u) && u.op !== "view" && u.op !== "at");
    });
    if (large && by.every((u) => sides.has(u) || joined.has(u) || out.has(u))) out.add(n);
  }
  return out;
}
