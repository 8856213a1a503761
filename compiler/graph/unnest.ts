// Folds over both sides of a quadratic value, as the gradients of captured tensors are (a slope's is Σ over batch,
// queries and keys), become a fold of folds: the inner one over one side alone, which a kernel of tiles does row by row,
// the outer one over what is left, which is small. The same where a fold runs over one side and over an axis along which
// the rows of its contractions differ (keys rotated once for all heads, but contracted with each head's own): the
// inner fold keeps that axis.
//
// The inner side is the one that most folds of the same values already run over, so that it joins their kernels.
import { fold } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { sumMonoid } from "../../dsl/derivative/terms.js";
import { argsOf, type Extent, type FoldNode, type Node, UpTo } from "../../dsl/node.js";
import { factorsOf } from "./factors.js";
import { eachSide, isPointwise, meets, quadratics, type Sides, type Turn, turnOf, turns, within } from "./quadratic.js";
import { order, type Rebuilt, rebuild } from "./walk.js";

export function unnest(given: readonly Node[]): Rebuilt {
  const sides = quadratics(order(given));
  if (sides.size === 0) return { roots: given, to: new Map() };
  const flat = flatten(given, sides);
  const same = flat.roots.every((r, i) => r === given[i]);
  const split = splitFolds(flat.roots, same ? sides : quadratics(order(flat.roots)));
  return { roots: split.roots, to: new Map([...flat.to].map(([n, m]) => [n, split.to.get(m) ?? m])) };
}

/** Σ_A f(Σ_B x) = Σ_AB f(x), f linear and x quadratic, where the inner sum still has two sides: one over x's batch would be
 *  stored as large as x, one over one of three sides as large as the other two together. */
function flatten(roots: readonly Node[], sides: ReadonlyMap<Node, readonly Sides[]>): Rebuilt {
  return rebuild(roots, (n) => {
    if (n.op !== "fold" || n.args.length !== 1 || kindOf(n.monoid) !== "sum") return n;
    const [x] = n.args as readonly [Node];
    const inner = factorsOf(x)
      .flatMap((f) => (f.nodes.length === 1 ? f.nodes : []))
      .find((f) => f !== x && staysQuadratic(f, sides) && n.over.some((a) => a in f.axes));
    if (inner?.op !== "fold" || inner.over.some((a) => n.over.includes(a) || a in n.axes)) return n;
    const element = rebuild(
      [x],
      (m) => m,
      (m) => (m === inner ? (inner.args[0] as Node) : undefined),
    ).roots[0] as Node;
    return fold({ x: element }, sumMonoid, [...inner.over, ...n.over]).x as Node;
  });
}
const staysQuadratic = (f: Node, sides: ReadonlyMap<Node, readonly Sides[]>): boolean =>
  f.op === "fold" &&
  f.args.length === 1 &&
  kindOf(f.monoid) === "sum" &&
  sides.has(f.args[0] as Node) &&
  (sides.get(f.args[0] as Node) as readonly Sides[]).every((s) => eachSide(s).filter((p) => within(p, new Set(Object.keys(f.axes)))).length > 1);

function splitFolds(roots: readonly Node[], sides: ReadonlyMap<Node, readonly Sides[]>): Rebuilt {
  const nodes = order(roots);
  const over = new Map<string, number>();
  const keyOf = (axes: ReadonlySet<string>) => [...axes].sort().join();
  for (const n of nodes) {
    if (n.op !== "fold") continue;
    for (const s of sidesRead(n, sides)) {
      const side = turnOf(n.over, s)?.over;
      if (side) over.set(keyOf(side), (over.get(keyOf(side)) ?? 0) + 1);
    }
  }
  const inner = new Map<Node, readonly string[]>();
  for (const n of nodes) {
    if (n.op !== "fold" || n.args.length !== 1 || kindOf(n.monoid) === "general") continue;
    const first = innerAxes(n, sides, (s) => over.get(keyOf(s)) ?? 0);
    if (first) inner.set(n, first);
  }
  if (inner.size === 0) return { roots, to: new Map() };
  return rebuild(roots, (n, was) => {
    const first = inner.get(was);
    if (!first || n.op !== "fold") return n;
    const [component] = Object.keys(n.monoid.empty) as [string];
    const within = fold({ [component]: n.args[0] as Node }, n.monoid, first)[component] as Node;
    return fold(
      { [component]: within },
      n.monoid,
      n.over.filter((a) => !first.includes(a)),
    )[component] as Node;
  });
}

/** Sides of the quadratic values that the factors of a fold's elements are. */
function sidesRead(f: FoldNode, sides: ReadonlyMap<Node, readonly Sides[]>): readonly Sides[] {
  return f.args.flatMap((a) => factorsOf(a)).flatMap((x) => x.nodes.flatMap((n) => sides.get(n) ?? []));
}

function innerAxes(
  f: FoldNode,
  sides: ReadonlyMap<Node, readonly Sides[]>,
  popularity: (s: ReadonlySet<string>) => number,
): readonly string[] | undefined {
  const over = new Set(f.over);
  for (const s of sidesRead(f, sides)) {
    const turn = turnOf(f.over, s);
    if (turn) {
      const extra = f.over.filter((a) => !turn.over.has(a));
      if (extra.length > 0 && rowsDiffer(f, sides, turn.rows, new Set(extra)) && !growsBy(f, turn.over)) return [...turn.over];
    } else {
      const whole = turns(s).filter((t) => within(t.over, over));
      const best = whole.reduce<Turn | undefined>((a, b) => (a && popularity(a.over) > popularity(b.over) ? a : b), undefined);
      if (best && meets(best.rows, over)) return [...best.over];
    }
  }
  return undefined;
}
/** Would a fold over these axes alone be larger than what it folds? The gradient of gathered keys, over slots before
 *  queries, has an index for every key at every query; over both it adds each slot where it belongs. */
function growsBy(f: FoldNode, over: ReadonlySet<string>): boolean {
  const [x] = f.args as readonly [Node];
  const product = (axes: Iterable<string>) => [...axes].reduce((p, a) => p * maxOf((f.axes[a] ?? x.axes[a]) as Extent), 1);
  // Sizes without what both have: the result's own axes against those that are folded.
  const read = new Set(sidesOf(f).flatMap((n) => Object.keys(n.axes)));
  return product(Object.keys(f.axes).filter((a) => !read.has(a))) > product([...over]);
}
/** What a fold's elements are made of, but for conditions and indices. */
const sidesOf = (f: FoldNode): readonly Node[] => f.args.flatMap((a) => factorsOf(a)).flatMap((p) => p.nodes);
const maxOf = (e: Extent): number => (e instanceof UpTo ? e.max : e);
/** Has any contraction below an operand of the rows that varies along these axes? */
function rowsDiffer(f: FoldNode, sides: ReadonlyMap<Node, readonly Sides[]>, rows: ReadonlySet<string>, along: ReadonlySet<string>): boolean {
  const seen = new Set<Node>();
  const todo: Node[] = [...f.args];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x) || !(isPointwise(x) || sides.has(x))) continue;
    seen.add(x);
    if (x.op === "fold") {
      for (const y of factorsOf(x.args[0] as Node)) if (meets(rows, y.axes) && meets(along, y.axes)) return true;
    } else todo.push(...argsOf(x));
  }
  return false;
}
