// Expands every `rate` node: the factor f(W) of quack.md, derived from the logit expression.
//
//   bound(W, p, h) = |c_p| · product of the norms of the other weights on path p, for index h
//   f(W) = 1 / max over (p, h) of bound          (combine "sum": the paths' bounds are added before the maximum over h)
//
// Axes of W that survive in the logits separate rates; all other axes of a bound are maximised over. A weight that stands
// several times on a path counts each time. Layers stacked on an axis are handled at once: a loop's slices lead to the
// stacked leaves, whose axis survives.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { label, constant as node } from "../../dsl/build.js";
import { add, broadcast, lift, ordered, zero } from "../../dsl/derivative/terms.js";
import type { Leaf, Loop, Node, RateNode } from "../../dsl/node.js";
import { withoutRecording } from "../../dsl/places.js";
import { arg, call, constant, index } from "../../dsl/scalar.js";
import { GraphError } from "./error.js";
import { maxOver, normOf } from "./norms.js";
import { type Path, pathsOf } from "./paths.js";
import { order, owners, placeholders, type Rebuilt, rebuild } from "./walk.js";

/** Afterwards labels name values and no longer hold the inputs of their models. */
export function expandRates(roots: readonly Node[]): Either<GraphError, Rebuilt> {
  const owner = new Map(owners(order(roots)));
  try {
    const known = new Map<Node, readonly Path[]>();
    return right(
      rebuild(roots, (n, was) => {
        // The derivation reads the graph as it was: its labels still hold their models' inputs.
        if (was.op === "rate") return withoutRecording(() => factorOf(was, owner, known));
        return n.op === "label" && n.inputs.length > 0 ? label(n.args[0], n.name, n.path, []) : n;
      }),
    );
  } catch (e) {
    if (e instanceof GraphError) return left(e);
    throw e;
  }
}

function factorOf(n: RateNode, owner: Map<Leaf, Loop>, known: Map<Node, readonly Path[]>): Node {
  const [weight, ...logits] = n.args;
  const bounds: Node[] = [];
  for (const of of logits) {
    let paths = known.get(of);
    if (!paths) {
      paths = labelled(of, owner);
      known.set(of, paths);
    }
    for (const p of paths) {
      const bound = onPath(n, weight, p, of);
      if (bound) bounds.push(bound);
    }
  }
  const [first, ...more] = bounds;
  if (!first)
    throw new GraphError(
      "rates",
      `deriveRates: no path leads from the weight to the logits`,
      "take the rates of weights that the labelled logits are computed from",
      n,
    );
  const both = n.combine === "max" ? (a: Node, b: Node) => lift({ a, b }, call("max", arg("a"), arg("b"))) : add;
  const all = more.reduce<Node>(both, first);
  const greatest = maxOver(
    all,
    Object.keys(all.axes).filter((a) => !(a in n.axes)),
  );
  return ordered(broadcast(lift({ b: greatest }, call("div", constant(1), arg("b"))), n.axes), n.axes);
}
/** The paths of the value that was labelled, seen out of the loops that emit it. */
function labelled(of: Node, owner: Map<Leaf, Loop>): readonly Path[] {
  let n = of;
  for (; n.op === "emit"; n = n.of) for (const p of placeholders(n.loop)) owner.set(p, n.loop);
  return pathsOf(n.op === "label" ? n.args[0] : n, new Set(n.op === "label" ? n.inputs : []), owner);
}

/** The bound that path p gives the weight, for the indices it separates; null where the weight is not on it. */
function onPath(n: RateNode, weight: Node, p: Path, logits: Node): Node | null {
  let sum: Node | null = null;
  for (const own of p.factors) {
    if (own.weight !== weight) continue;
    let bound: Node = node(Math.abs(p.scale));
    for (const f of p.factors) {
      if (f === own || f.weight === null) continue;
      bound = lift({ bound, norm: normOf(f, n.norm, logits) }, call("mul", arg("bound"), arg("norm")));
    }
    // An axis of the weight that this occurrence sums over does not separate rates, though the logits have one of that name.
    const lost = Object.keys(bound.axes).filter((a) => a in n.axes && own.contracted.has(a));
    bound = maxOver(bound, lost);
    for (const [axis, layer] of own.picked)
      if (axis in n.axes)
        bound = lift({ bound }, call("select", call("eq", index(axis), constant(layer)), arg("bound"), zero), { [axis]: n.axes[axis] as number });
    sum = sum ? add(sum, bound) : bound;
  }
  return sum;
}
