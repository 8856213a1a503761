// Expands every `grad` node. Gradients of one loss are one reverse pass; gradients inside a loss come first, so that a
// gradient of a gradient is a pass over what the first one became.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { at, constant } from "../../dsl/build.js";
import { isFloat, ordered, zeros } from "../../dsl/derivative/terms.js";
import type { GradNode, Node } from "../../dsl/node.js";
import { withoutRecording } from "../../dsl/places.js";
import { describeNode, GraphError } from "./error.js";
import { activeIn, pull } from "./pull.js";
import { below, order, partsInRegion, type Rebuilt, rebuild, type Scopes, scopes } from "./walk.js";

export function expandGrads(roots: readonly Node[]): Either<GraphError, Rebuilt> {
  let out: Rebuilt = { roots, to: new Map() };
  for (;;) {
    const all = order(out.roots);
    const deep = new Set<Node>();
    const innermost: GradNode[] = [];
    for (const n of all) {
      const contains = below(n).some((p) => deep.has(p) || p.op === "grad");
      if (contains) deep.add(n);
      else if (n.op === "grad") innermost.push(n);
    }
    if (innermost.length === 0) return right(out);
    const scope = scopes(all);
    const byLoss = new Map<Node, GradNode[]>();
    for (const g of innermost) byLoss.set(g.args[0], [...(byLoss.get(g.args[0]) ?? []), g]);
    const expanded = new Map<Node, Node>();
    for (const [loss, grads] of byLoss) {
      const error = refused(loss, grads, scope);
      if (error) return left(error);
      withoutRecording(() => {
        for (const [g, value] of gradients(loss, grads, scope)) expanded.set(g, value);
      });
    }
    const next = rebuild(out.roots, (n, was) => expanded.get(was) ?? n);
    out = { roots: next.roots, to: compose(out.to, next.to) };
  }
}
const compose = (a: ReadonlyMap<Node, Node>, b: ReadonlyMap<Node, Node>): ReadonlyMap<Node, Node> =>
  a.size === 0 ? b : new Map([...[...a].map(([from, to]) => [from, b.get(to) ?? to] as const)]);

function refused(loss: Node, grads: readonly GradNode[], scope: Scopes): GraphError | undefined {
  const [first] = grads as readonly [GradNode, ...GradNode[]];
  const axes = Object.keys(loss.axes);
  if (axes.length > 0)
    return new GraphError("grad", `grad: the loss ${describeNode(loss)} still has axes ${axes.join(", ")}`, "mean or sum over them first", first);
  if (!isFloat(loss)) return new GraphError("grad", `grad: the loss ${describeNode(loss)} is ${loss.dtype}`, "a real number is wanted", first);
  for (const g of grads) {
    const inner = [...(scope.get(g.args[1]) ?? [])].find((l) => !scope.get(loss)?.has(l));
    if (inner)
      return new GraphError(
        "grad",
        `grad: ${describeNode(g.args[1])} is a value inside a repeat over "${inner.axis}", the loss is outside`,
        "differentiate with respect to the stacked input, or take the gradient inside the body",
        g,
      );
  }
  return undefined;
}

/** A layer of a stacked leaf: its gradient is that layer of the leaf's gradient. */
const isSlice = (n: Node): boolean =>
  n.op === "at" && n.args.slice(1).every((i) => i.op === "constant") && (n.args[0].op === "leaf" || isSlice(n.args[0]));

function gradients(loss: Node, grads: readonly GradNode[], scope: Scopes): readonly (readonly [GradNode, Node])[] {
  const region = order([loss], (n) => partsInRegion(n, scope));
  const wholeOf = (n: Node): Node => {
    let of = n;
    while (isSlice(of)) of = (of as Extract<Node, { op: "at" }>).args[0];
    return of;
  };
  const wanted = new Set(grads.map((g) => wholeOf(g.args[1])));
  const active = activeIn(region, wanted, scope);
  const cts = new Map<Node, Node>([[loss, constant(1)]]);
  if (active.has(loss)) pull(region, active, cts, scope);
  const gradientOf = (n: Node): Node => {
    const whole = wholeOf(n);
    const ct = active.has(loss) || whole === loss ? cts.get(whole) : undefined;
    const path: Extract<Node, { op: "at" }>[] = [];
    for (let of = n; of !== whole; of = (of as Extract<Node, { op: "at" }>).args[0]) path.unshift(of as Extract<Node, { op: "at" }>);
    return path.reduce<Node>((g, s) => at(g, s.along, s.args.slice(1)), ct ? ordered(ct, whole.axes) : zeros(whole.axes));
  };
  return grads.map((g) => [g, ordered(gradientOf(g.args[1]), g.axes)] as const);
}
