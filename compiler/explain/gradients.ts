// Warns of gradients that are zero everywhere although the loss depends on what they are taken with respect to: every way
// from one to the other passes a step that has no derivative but 0 (floor, round, a comparison, the index of a maximum, a
// cast to integers). A way that ends at stopGradient is the author's own wish, and is not spoken of.
//
// The reverse pass needs to go along an edge if its derivative is not the constant 0. From the loss back, two sets: what it
// depends on, and what it depends on along such edges. A leaf in the first alone has gradient 0, and the edges that lead
// from the second out of it are the steps to name.

import { isFloat } from "../../dsl/derivative/terms.js";
import { argsOf, type GradNode, type Node } from "../../dsl/node.js";
import type { Primitive } from "../../dsl/primitives.js";
import { constant, terms } from "../../dsl/scalar.js";
import { cotangents } from "../../dsl/scalar-derivative.js";
import { owners } from "../graph/walk.js";
import { called, type Diagnosis, diagnosis } from "./words.js";

export function zeroGradients(nodes: readonly Node[]): readonly Diagnosis[] {
  const byLoss = new Map<Node, GradNode[]>();
  for (const n of nodes) if (n.op === "grad") byLoss.set(n.args[0], [...(byLoss.get(n.args[0]) ?? []), n]);
  const owner = owners(nodes);
  /** What a node's value comes from: its operands, and for a loop's placeholders and results what they stand for. */
  const sources = (n: Node): readonly Node[] => {
    const l = n.op === "leaf" ? owner.get(n) : undefined;
    if (l)
      return [
        ...l.carry.flatMap((c, k) => (c === n ? [l.init[k] as Node, l.next[k] as Node] : [])),
        ...l.slices.flatMap((s, k) => (s === n ? [l.xs[k] as Node] : [])),
      ];
    if (n.op === "carry") return [(n.loop.count > 0 ? n.loop.next : n.loop.init)[n.index] as Node];
    return n.op === "emit" ? [n.of] : argsOf(n);
  };
  const out: Diagnosis[] = [];
  for (const [loss, grads] of byLoss) {
    const active = reach(loss, (n) => sources(n).filter((a) => passes(n, a)));
    const silent = grads.filter((g) => !active.has(g.args[1]));
    if (silent.length === 0) continue;
    const cuts = [...active].flatMap((n) => sources(n).flatMap((a) => (active.has(a) ? [] : [{ step: n, of: a }])));
    const named = new Map<Node, Node[]>();
    for (const g of silent) {
      const mine = cuts.filter(({ of }) => reach(of, sources).has(g.args[1]));
      if (mine.length === 0 || mine.every(({ step }) => step.op === "stop")) continue; // it does not depend, or is not to
      const cut = blamed(mine.find(({ step }) => step.op !== "stop") as (typeof mine)[0]);
      named.set(cut, [...(named.get(cut) ?? []), g.args[1]]);
    }
    for (const [step, wrt] of named) out.push(silence(step, wrt));
  }
  return out;
}
function reach(from: Node, next: (n: Node) => readonly Node[]): ReadonlySet<Node> {
  const out = new Set<Node>();
  const todo = [from];
  for (let n = todo.pop(); n; n = todo.pop()) {
    if (out.has(n)) continue;
    out.add(n);
    todo.push(...next(n));
  }
  return out;
}

/** Is the derivative of n by its operand `a` more than the constant 0? */
function passes(n: Node, a: Node): boolean {
  if (!isFloat(a) || !isFloat(n)) return false;
  const operands = argsOf(n);
  switch (n.op) {
    case "map": {
      if (n.body.kind !== "scalar") return true;
      const names = n.names.filter((_, i) => n.args[i] === a);
      return Object.keys(cotangents(n.body.body, constant(1), names)).length > 0;
    }
    case "fold":
    case "scan": {
      const { combine, empty } = n.monoid;
      if (combine.kind !== "scalar") return true;
      const components = Object.keys(empty);
      // A component may pass on what another one moved.
      const reached = new Set([n.field]);
      for (const c of reached)
        for (const name of Object.keys(
          cotangents(
            combine.at[c] ?? constant(0),
            constant(1),
            components.flatMap((d) => [`x.${d}`, `y.${d}`]),
          ),
        ))
          reached.add(name.slice(2));
      return operands.some((x, i) => x === a && reached.has(components[i] as string));
    }
    case "at":
      return a === operands[0];
    case "top":
      return n.field === "value";
    case "stop":
      return false;
    default:
      return true;
  }
}

const steps: ReadonlySet<Primitive> = new Set<Primitive>([
  "floor",
  "ceil",
  "round",
  "trunc",
  "sign",
  "lt",
  "le",
  "gt",
  "ge",
  "eq",
  "ne",
  "toI32",
  "toBool",
]);
const words: Readonly<Partial<Record<Primitive, string>>> = { lt: "<", le: "<=", gt: ">", ge: ">=", eq: "===", ne: "!==" }; // the rest are called as they are
/** The step itself; where it reads integers or truth values, what made these. */
function blamed({ step, of }: { readonly step: Node; readonly of: Node }): Node {
  if (isFloat(of)) return step;
  let x = of;
  while ((x.op === "cast" || x.op === "label") && (!isFloat(x.args[0]) || tells(x.args[0]))) x = x.args[0];
  return x;
}
/** Its name says more than that of a cast: an index that a fold found. */
const tells = (n: Node): boolean => (n.op === "fold" || n.op === "scan") && n.args.length > 1;
/** What in the step has no derivative. */
function reasonOf(n: Node): string {
  if (n.op === "map" && n.body.kind === "scalar") {
    const used = [...new Set(terms([n.body.body]).flatMap((t) => (t.kind === "call" && steps.has(t.prim) ? [words[t.prim] ?? t.prim] : [])))];
    if (used.length > 0) return `${used.join(", ")} in ${called(n)}`;
  }
  if (n.op === "cast") return `the cast to ${n.dtype} of ${called(n.args[0])}`;
  if (n.op === "at") return `the index of ${called(n)}`;
  if (n.op === "top") return `${n.field} of ${called(n)}`;
  if ((n.op === "fold" || n.op === "scan") && tells(n)) return `component "${n.field}" of ${called(n)}`;
  return called(n);
}
function silence(step: Node, wrt: readonly Node[]): Diagnosis {
  const [first, ...more] = wrt as readonly [Node, ...Node[]];
  return diagnosis(
    "warning",
    step,
    `the gradient with respect to ${called(first)}${more.length > 0 ? ` and ${more.length} more` : ""} is zero everywhere: ${reasonOf(step)} has derivative 0, and no other way leads from it to the loss`,
    "use a smooth form, or let the gradient pass by as if the step were not there: add(x, stopGradient(sub(stepped, x)))",
  );
}
