// Simplification of the graph: local rewrites, until none applies. Idempotent, and every value keeps its bits, except
// that a fold over an axis of size 1 is its element (a combine with the identity may turn −0 into 0). Axes and their
// order, which are layout, never change. Merging of nested maps is the lowering's.
//
//   map      bodies simplified; constant arguments put in; unread arguments dropped; the identity is its argument; a
//            select with a constant condition loses the other branch
//   view     view of a view is one view; the identity is its argument
//   fold     over an axis of size 1 is an element
//   stop     its argument: gradients have been taken by the time this runs
//   cast     to bf16 or f16 and back
import { constant, map, view, without } from "../../dsl/build.js";
import { ordered } from "../../dsl/derivative/terms.js";
import type { FoldNode, MapNode, Node, Shape, ViewNode } from "../../dsl/node.js";
import { index as indexOf, constant as number, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify as simplifyScalar } from "../../dsl/scalar-simplify.js";
import { type Rebuilt, rebuild } from "./walk.js";

export function simplify(roots: readonly Node[]): Rebuilt {
  const settled = new Set<Node>();
  // A node's parts are settled when it is asked, so a rewrite is tried on its own result until nothing changes.
  return rebuild(roots, (n) => {
    let now = n;
    for (let tries = 0; !settled.has(now); tries++) {
      if (tries > 64) throw new Error(`simplify: no end for ${n.op} ${n.id}`);
      const next = step(now);
      if (next === now) settled.add(now);
      now = next;
    }
    return sameLayout(now, n) ? now : ordered(now, n.axes);
  });
}
const sameLayout = (a: Node, b: Node): boolean => {
  const [x, y] = [Object.keys(a.axes), Object.keys(b.axes)];
  return x.length === y.length && x.every((k, i) => k === y[i]);
};
const sameShape = (a: Shape, b: Shape): boolean => {
  const [x, y] = [Object.keys(a), Object.keys(b)];
  return x.length === y.length && x.every((k, i) => k === y[i] && a[k] === b[k]);
};

function step(n: Node): Node {
  switch (n.op) {
    case "map":
      return mapStep(n);
    case "view":
      return viewStep(n);
    case "fold":
      return foldStep(n);
    case "cast":
      return n.args[0].op === "cast" && n.args[0].dtype === "f32" && widens(n.args[0].args[0], n) ? n.args[0].args[0] : n;
    case "stop":
      return n.args[0];
    default:
      return n;
  }
}
/** bf16 → f32 → bf16 is the value itself; so is f16. */
const widens = (x: Node, n: Node): boolean => x.dtype === n.dtype && (n.dtype === "bf16" || n.dtype === "f16");

const fixedSizes =
  (...shapes: readonly Shape[]) =>
  (t: Scalar): Scalar | undefined => {
    if (t.kind !== "size") return undefined;
    for (const s of shapes) {
      const e = s[t.axis];
      if (e !== undefined) return typeof e === "number" ? number(e) : undefined;
    }
    return undefined;
  };

/** The value of a map without inputs whose body is a constant. */
function uniform(n: Node): number | boolean | undefined {
  if (n.op === "constant") return n.value;
  return n.op === "map" && n.body.kind === "scalar" && n.body.body.kind === "const" ? n.body.body.value : undefined;
}
function mapStep(n: MapNode): Node {
  if (n.body.kind !== "scalar") return n;
  const values = new Map<string, Scalar>();
  n.names.forEach((name, i) => {
    const v = uniform(n.args[i] as Node);
    if (v !== undefined) values.set(name, number(v));
  });
  const atMost1 = (axis: string) => n.axes[axis] === 1;
  const sizes = fixedSizes(n.axes);
  const body = simplifyScalar(
    substitute(n.body.body, (t) => (t.kind === "arg" ? values.get(t.name) : t.kind === "index" && atMost1(t.axis) ? number(0) : sizes(t))),
  );
  const read = new Set(terms([body]).flatMap((t) => (t.kind === "arg" ? [t.name] : [])));
  if (body === n.body.body && read.size === n.names.length) {
    // x itself, over exactly its axes and of its type.
    if (body.kind === "arg") {
      const x = n.args[n.names.indexOf(body.name)] as Node;
      if (sameShape(x.axes, n.axes) && (x.dtype === n.dtype || x.op === "map")) return x.dtype === n.dtype ? x : n;
    }
    if (body.kind === "const" && Object.keys(n.axes).length === 0) return constant(body.value, n.dtype);
    return n;
  }
  const inputs = Object.fromEntries(n.names.flatMap((name, i) => (read.has(name) ? [[name, n.args[i] as Node] as const] : [])));
  return inOrder(map(inputs, { kind: "scalar", body }, n.dtype, n.axes), n.axes);
}
/** A map whose first input lacks an axis has it later: put the order right. */
const inOrder = (x: Node, axes: Shape): Node => (sameShape(x.axes, axes) ? x : ordered(x, axes));

function viewStep(n: ViewNode): Node {
  if (n.index.kind !== "scalar") return n;
  const [x] = n.args;
  const sizes = fixedSizes(x.axes, n.axes);
  const one = (axis: string) => n.axes[axis] === 1;
  const at: Record<string, Scalar> = {};
  for (const [a, s] of Object.entries(n.index.at))
    at[a] = simplifyScalar(substitute(s, (t) => (t.kind === "index" && one(t.axis) ? number(0) : sizes(t))));
  const changed = Object.entries(n.index.at).some(([a, s]) => at[a] !== s);
  if (changed) return view(x, n.fresh, { kind: "scalar", at }, n.reads);
  // Every axis read at its own index, in place.
  const still = Object.entries(at).every(
    ([a, s]) => n.axes[a] === x.axes[a] && (s === indexOf(a) || (x.axes[a] === 1 && s.kind === "const" && s.value === 0)),
  );
  if (still && sameShape(n.axes, x.axes)) return x;
  if (x.op === "view" && x.index.kind === "scalar") return composed(n, x, at) ?? n;
  return n;
}
/** x[inner(o)][outer(o')]: one view, if every index of the inner result that the outer gives lies inside it (where it
 *  does not, the outer view reads 0 and the composition might not). */
function composed(n: ViewNode, inner: ViewNode, outer: Readonly<Record<string, Scalar>>): Node | undefined {
  if (inner.index.kind !== "scalar") return undefined;
  for (const [a, s] of Object.entries(outer)) if (!inside(s, n.axes, inner.axes[a])) return undefined;
  const [x] = inner.args;
  const at: Record<string, Scalar> = {};
  for (const [a, s] of Object.entries(inner.index.at)) {
    if (terms([s]).some((t) => t.kind === "size")) return undefined;
    at[a] = simplifyScalar(substitute(s, (t) => (t.kind === "index" ? outer[t.axis] : undefined)));
  }
  // What the outer reads and the inner passed through is read directly.
  for (const [a, s] of Object.entries(outer)) if (a in x.axes && !(a in inner.fresh)) at[a] = s;
  const reads = Object.keys(x.axes).filter((a) => a in at);
  const kept = without(x.axes, reads);
  const fresh = Object.fromEntries(Object.entries(n.axes).filter(([a]) => !(a in kept)));
  if (Object.keys(kept).some((a) => n.axes[a] !== kept[a])) return undefined;
  const made = view(x, fresh, { kind: "scalar", at }, reads);
  return sameShape(made.axes, n.axes) ? made : undefined;
}
/** The index stays in 0 … extent − 1: an axis of that extent, or a constant. */
function inside(s: Scalar, axes: Shape, extent: Shape[string] | undefined): boolean {
  if (s.kind === "index") return axes[s.axis] === extent;
  return s.kind === "const" && typeof extent === "number" && Number(s.value) >= 0 && Number(s.value) < extent && Number.isInteger(s.value);
}

function foldStep(n: FoldNode): Node {
  const single = n.over.filter((o) => n.args.every((a) => a.axes[o] === 1));
  const [axis] = single;
  if (axis === undefined) return n;
  const own = n.args[Object.keys(n.monoid.empty).indexOf(n.field)] as Node;
  if (n.over.length > 1 || n.dtype !== own.dtype) return n;
  return view(own, {}, { kind: "scalar", at: { [axis]: number(0) } }, [axis]);
}
