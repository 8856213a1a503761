// What derivative rules are written with: a few point-wise terms over nodes, and the sum.
import { fold, map, unite, view } from "../build.js";
import type { Body, Extent, MonoidBody, Node, Shape } from "../node.js";
import { arg, call, constant, index, type Scalar, terms } from "../scalar.js";

export const isFloat = (n: Node): boolean => n.dtype !== "i32" && n.dtype !== "bool";
export const scalar = (body: Scalar): Body => ({ kind: "scalar", body });
export const zero = constant(0);

/** The names of the arguments that a scalar reads. */
export const argsIn = (roots: readonly Scalar[]): readonly string[] => terms(roots).flatMap((t) => (t.kind === "arg" ? [t.name] : []));

/** A map of the inputs that its body reads, over their axes and `extra`; a body that is one input over the same axes is that input. */
export function lift(inputs: Readonly<Record<string, Node>>, body: Scalar, extra: Shape = {}): Node {
  if (body.kind === "arg") {
    const x = inputs[body.name] as Node;
    if (Object.keys(extra).every((a) => a in x.axes)) return x;
  }
  const used = Object.fromEntries(argsIn([body]).map((name) => [name, inputs[name] as Node]));
  return map(used, scalar(body), "f32", extra);
}
export const add = (a: Node, b: Node): Node => map({ a, b }, scalar(call("add", arg("a"), arg("b"))), "f32");
export const zeros = (axes: Shape): Node => map({}, scalar(zero), "f32", axes);

export const sumMonoid: MonoidBody = { empty: { x: 0 }, combine: { kind: "scalar", at: { x: call("add", arg("x.x"), arg("y.x")) } } };
/** Σ over those of the axes that x has. */
export function sumOver(x: Node, axes: readonly string[]): Node {
  const over = axes.filter((a) => a in x.axes);
  return over.length === 0 ? x : (fold({ x }, sumMonoid, over).x as Node);
}
/** Σ over the axes that `like` lacks: undoes a broadcast. */
export const sumTo = (x: Node, like: Shape): Node =>
  sumOver(
    x,
    Object.keys(x.axes).filter((a) => !(a in like)),
  );
/** x with exactly these axes in this order: a broadcast result, or a gradient that must lie in memory as its weight does. */
export function ordered(x: Node, axes: Shape): Node {
  const names = Object.keys(axes);
  const have = Object.keys(x.axes);
  if (have.length === names.length && have.every((a, i) => a === names[i])) return x;
  return view(x, axes, { kind: "scalar", at: Object.fromEntries(names.map((a) => [a, index(a)])) }, have);
}
export function rename(x: Node, names: ReadonlyMap<string, string>): Node {
  const moved = Object.keys(x.axes).filter((a) => names.has(a));
  let out = x;
  // One axis at a time, so that each keeps its position.
  for (const a of moved) {
    const to = names.get(a) as string;
    out = view(out, { [to]: out.axes[a] as Extent }, { kind: "scalar", at: { [a]: index(to) } }, [a]);
  }
  return out;
}
/** A name like `axis` that none of the shapes has. */
export function freshAxis(axis: string, ...taken: readonly Shape[]): string {
  let name = `${axis}_`;
  while (taken.some((s) => name in s)) name += "_";
  return name;
}
/** x[axis + by], 0 beyond the end. */
export const shift = (x: Node, axis: string, by: number): Node =>
  view(x, { [axis]: x.axes[axis] as Extent }, { kind: "scalar", at: { [axis]: call("add", index(axis), constant(by)) } }, [axis]);
/** x broadcast along the axes it lacks. */
export const broadcast = (x: Node, axes: Shape): Node => lift({ x }, arg("x"), axes);
export const unionOf = (xs: readonly Node[]): Shape => unite(xs.map((x) => x.axes));
