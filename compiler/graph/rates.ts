// Expands every `rate` node: the factor f(W) of docs/quack.md, derived from the logit expression.
//
//   bound(W, p, h) = |c_p| · product of the norms of the other parameters on path p, for index h
//   f(W) = 1 / max over (p, h) of bound          (combine "sum": the bounds of the paths to one logit are added first)
//
// Axes of W that survive in the logits, under whatever names (separate.ts), separate rates; all other axes of a bound are
// maximised over. A weight that stands several times on a path counts each time. Layers stacked on an axis are handled at
// once: a loop's slices lead to the stacked leaves, whose axis survives.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { label, constant as node } from "../../dsl/build.js";
import { add, lift } from "../../dsl/derivative/terms.js";
import { isMatrix, type Leaf, type Loop, type Node, type RateNode } from "../../dsl/node.js";
import { withoutRecording } from "../../dsl/places.js";
import { provideDerivation } from "../../dsl/rates.js";
import { arg, call, constant } from "../../dsl/scalar.js";
import { GraphError } from "./error.js";
import { normOf } from "./norms.js";
import { type Factor, type Path, pathsOf } from "./paths.js";
import { read } from "./read.js";
import { keyOf, placed, type Separation, separation } from "./separate.js";
import { order, owners, placeholders, type Rebuilt, rebuild } from "./walk.js";

/** Afterwards labels name values and no longer hold the inputs of their models. */
export function expandRates(roots: readonly Node[]): Either<GraphError, Rebuilt> {
  const context: Context = { owner: new Map(owners(order(roots))), paths: new Map(), norms: new Map() };
  try {
    return right(
      rebuild(roots, (n, was) => {
        // The derivation reads the graph as it was: its labels still hold their models' inputs.
        if (was.op === "rate") return withoutRecording(() => factorOf(was, context));
        return n.op === "label" && n.inputs.length > 0 ? label(n.args[0], n.name, n.path, []) : n;
      }),
    );
  } catch (e) {
    if (e instanceof GraphError) return left(e);
    throw e;
  }
}
interface Context {
  readonly owner: Map<Leaf, Loop>;
  readonly paths: Map<string, readonly Path[]>;
  readonly norms: Map<string, Node>;
}

/** A weight on a path: the factor that it is there, and those that bound its effect. */
export interface Occurrence {
  readonly own: Factor;
  readonly others: readonly Factor[];
  readonly path: Path;
}
/** By path, where the weight is on it. Inputs are held fixed, and no part of the bound. */
export const occurrences = (weight: Node, paths: readonly Path[]): readonly (readonly Occurrence[])[] =>
  paths.flatMap((path) => {
    const here = path.factors.flatMap((own) =>
      own.weight === weight ? [{ own, path, others: path.factors.filter((f) => f !== own && f.kind !== "input") }] : [],
    );
    return here.length > 0 ? [here] : [];
  });
/** The paths of the value that was labelled, seen out of the loops that emit it. Throws GraphError. */
export function pathsOfLogits(of: Node, owner: Map<Leaf, Loop>, o: { readonly heuristic?: boolean } = {}): readonly Path[] {
  let n = of;
  for (; n.op === "emit"; n = n.of) for (const p of placeholders(n.loop)) owner.set(p, n.loop);
  return pathsOf(n.op === "label" ? n.args[0] : n, new Set(n.op === "label" ? n.inputs : []), owner, o);
}

function factorOf(n: RateNode, c: Context): Node {
  const [weight, ...logits] = n.args;
  const bounds: Node[] = [];
  const seen: Factor[] = [];
  for (const of of logits) {
    const key = `${of.id} ${n.heuristic}`;
    const paths = c.paths.get(key) ?? pathsOfLogits(of, c.owner, n);
    c.paths.set(key, paths);
    const on = occurrences(weight, paths);
    seen.push(...on.flat().map((o) => o.own));
    const groups = n.combine === "max" ? on : on.length > 0 ? [on.flat()] : [];
    for (const group of groups) bounds.push(together(group, n, c));
  }
  const [first, ...more] = bounds;
  if (!first)
    throw new GraphError(
      "rates",
      "deriveRates: no path leads from the weight to the logits",
      "take the rates of weights that the labelled logits are computed from",
      n,
    );
  refuseGaps(n, seen);
  const greatest = more.reduce<Node>((a, b) => lift({ a, b }, call("max", arg("a"), arg("b"))), first);
  return lift({ b: greatest }, call("div", constant(1), arg("b")), n.axes);
}
/** Slices of a weight that only some of its indices bring to the logits: the others have no bound, and no rate follows. */
function refuseGaps(n: RateNode, seen: readonly Factor[]): void {
  for (const [axis, extent] of Object.entries(n.axes)) {
    const picked = new Set(seen.map((f) => f.picked.get(axis)));
    if (picked.has(undefined)) continue;
    const gaps = Array.from({ length: Number(extent) }, (_, i) => i).filter((i) => !picked.has(i));
    if (gaps.length > 0)
      throw new GraphError(
        "rates",
        `deriveRates: of the weight "${(n.args[0] as Leaf).name}" the logits read ${[...picked].map((i) => `${axis} ${i}`).join(" and ")}, and not ${gaps.join(", ")}: what is on no path to them has no factor`,
        "declare what the logits do not read as a weight of its own: it keeps its rate",
        n.args[1] ?? n,
      );
  }
}
/** Σ of the occurrences' bounds, for the indices of the weight that separate rates. */
function together(group: readonly Occurrence[], n: RateNode, c: Context): Node {
  const alike = new Map<string, { readonly how: Separation; readonly sum: Node }>();
  for (const { own, others, path } of group) {
    let bound: Node = node(Math.abs(path.scale));
    for (const f of others) {
      const norm = normOf(f, n.norm, { floor: n.floor, made: c.norms });
      bound = lift({ bound, norm }, call("mul", arg("bound"), arg("norm")));
    }
    const how = separation(own);
    const known = alike.get(keyOf(how));
    alike.set(keyOf(how), { how, sum: known ? add(known.sum, bound) : bound });
  }
  return [...alike.values()].map(({ how, sum }) => placed(sum, how, n.axes)).reduce(add);
}

type Separated = ReadonlyMap<Leaf, readonly string[]> | null;
const known = { false: new WeakMap<Node, { readonly of: Separated }>(), true: new WeakMap<Node, { readonly of: Separated }>() };
provideDerivation((logits, { heuristic }) => {
  const before = known[`${heuristic}`];
  const fresh = [...new Set(logits.filter((l) => !before.has(l)))];
  const found = fresh.length > 0 ? withoutRecording(() => separated(fresh, heuristic)) : [];
  for (const [i, of] of found.entries()) before.set(fresh[i] as Node, { of });
  return logits.map((l) => before.get(l)?.of ?? null);
});
/** For each of the logits the weights that have rates, each with its axes that separate them: those that stand with another
 *  parameter. */
function separated(logits: readonly Node[], heuristic: boolean): readonly Separated[] {
  const whole = read(logits);
  if (isLeft(whole)) return logits.map(() => null);
  const owner = new Map(owners(order(whole.right.roots)));
  return whole.right.roots.map((root) => {
    try {
      return partnered(pathsOfLogits(root, owner, { heuristic }));
    } catch (e) {
      if (e instanceof GraphError) return null; // said when the rates are compiled
      throw e;
    }
  });
}
function partnered(paths: readonly Path[]): Separated {
  const out = new Map<Leaf, Set<string>>();
  for (const { factors } of paths)
    for (const own of factors) {
      if (!own.weight || !isMatrix(own.weight) || !factors.some((f) => f !== own && f.weight !== null)) continue;
      const axes = out.get(own.weight) ?? new Set();
      out.set(own.weight, axes);
      for (const a of separation(own).axes) axes.add(a);
    }
  return new Map([...out].map(([w, axes]) => [w, [...axes]]));
}
