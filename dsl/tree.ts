// Trees of tensors: records and arrays with tensors at the leaves, such as a model's weights. A leaf's path is the keys
// that lead to it, joined by dots. The layers of a repeated part are one subtree whose leaves are stacked along an axis of
// that part's name: `Layers` shows it as an array, and its path element is `*`.
import * as build from "./build.js";
import { ArgumentError, AxisError, MallardError, quote } from "./errors.js";
import type { Node } from "./node.js";
import { describe, handle, isNode } from "./tensor.js";
import type { Axes, Tensor, Tree } from "./types.js";

/** An array of trees, one a layer, each made when it is read: views of the stacked leaves. */
export class Layers extends Array<unknown> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
  constructor(
    /** The leaves' first axis. */
    readonly axis: string,
    readonly count: number,
    /** The tree of one layer, with stacked leaves. */
    readonly stacked: unknown,
  ) {
    super(count);
    for (const hidden of ["axis", "count", "stacked"]) Object.defineProperty(this, hidden, { enumerable: false });
    for (let i = 0; i < count; i++) Object.defineProperty(this, i, { enumerable: true, get: () => mapLeaves(stacked, (n) => layerOf(n, axis, i)) });
  }
}
export interface Sliced {
  readonly of: Node;
  readonly axis: string;
  readonly index: number;
}
const slices = new WeakMap<Node, Sliced>();
/** Of which stacked leaf a layer's leaf is a view. */
export const slicedFrom = (n: Node): Sliced | undefined => slices.get(n);
/** A leaf that does not have the axis is the same for all layers. */
function layerOf(n: Node, axis: string, index: number): Node {
  if (!Object.hasOwn(n.axes, axis)) return n;
  const one = build.at(n, [axis], [build.constant(index, "i32")]);
  slices.set(one, { of: n, axis, index });
  return one;
}

export interface TreeLeaf {
  readonly path: string;
  readonly node: Node;
}
const join = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);

/** The same tree with other leaves. */
export function mapLeaves(tree: unknown, f: (n: Node, path: string) => Node, path = ""): unknown {
  if (isNode(tree)) return f(tree, path);
  if (tree instanceof Layers) return new Layers(tree.axis, tree.count, mapLeaves(tree.stacked, f, join(path, "*")));
  if (Array.isArray(tree)) return tree.map((t: unknown, i) => mapLeaves(t, f, join(path, String(i))));
  if (typeof tree === "object" && tree !== null) return Object.fromEntries(Object.entries(tree).map(([k, t]) => [k, mapLeaves(t, f, join(path, k))]));
  throw new ArgumentError(`a tree of tensors has ${describe(tree)} at "${path}"`, "its leaves are tensors, in records and arrays");
}
/** The leaves in order. */
export function flatten(tree: unknown): readonly TreeLeaf[] {
  const out: TreeLeaf[] = [];
  mapLeaves(tree, (node, path) => {
    out.push({ path, node });
    return node;
  });
  return out;
}
/** The same tree with these leaves, in order. */
export function rebuild(tree: unknown, leaves: readonly Node[]): unknown {
  let next = 0;
  return mapLeaves(tree, () => leaves[next++] as Node); // as many as flatten gives
}
/** The leaves of a tree, in order, with their paths. */
export const leavesOf = (tree: Tree): readonly { readonly path: string; readonly tensor: Tensor<Axes, "f32"> }[] =>
  flatten(tree).map(({ path, node }) => ({ path, tensor: handle(node) }));
/** Two trees have leaves at the same paths. */
export function samePaths(what: string, a: readonly TreeLeaf[], b: readonly TreeLeaf[]): void {
  const [left, right] = [a, b].map((t) => new Set(t.map((l) => l.path))) as [Set<string>, Set<string>];
  const lacks = [...left].filter((p) => !right.has(p));
  const extra = [...right].filter((p) => !left.has(p));
  if (lacks.length + extra.length > 0)
    throw new ArgumentError(
      `${what}: the trees differ: ${lacks.length > 0 ? `the second lacks ${quote(lacks)}` : `the second has ${quote(extra)} beside`}`,
    );
}
const result = (what: string, path: string, x: unknown): Node => {
  if (isNode(x)) return x;
  throw new ArgumentError(`${what}: at "${path}" the function gives ${describe(x)}, no tensor`);
};

/** The same tree with each leaf replaced. Layers are mapped as one stacked subtree. */
export function mapTree<P extends Tree>(tree: P, f: (x: Tensor<Axes, "f32">, path: string) => Tensor<Axes, "f32">): P {
  return handle(mapLeaves(tree, (n, path) => result("mapTree", path, f(handle(n), path))));
}
/** Leaf by leaf over two trees of the same paths. */
export function zipTree<P extends Tree>(a: P, b: P, f: (a: Tensor<Axes, "f32">, b: Tensor<Axes, "f32">, path: string) => Tensor<Axes, "f32">): P {
  const right = flatten(b);
  samePaths("zipTree", flatten(a), right);
  const at = new Map(right.map((l) => [l.path, l.node]));
  return handle(mapLeaves(a, (n, path) => result("zipTree", path, f(handle(n), handle(at.get(path)), path))));
}

type Whole<A> = NoAxis<keyof A, A>;
type NoAxis<N, A> = [N] extends [never] ? Tensor<A> : `the loss still has axis "${N & string}"`;
/** The gradient of a scalar with respect to every leaf, as expressions: gradients of gradients are the same call. A leaf
 *  that the loss does not depend on has gradient 0. For a leaf of one of several layers it is that layer's part. */
export function grad<A extends Axes, P extends Tree>(loss: Whole<A>, at: P): P {
  const l: unknown = loss;
  if (!isNode(l)) throw new ArgumentError(`grad: the loss is ${describe(l)}, no tensor`);
  if (l.dtype === "bool" || l.dtype === "i32") throw new ArgumentError(`grad: the loss is ${l.dtype}; a real number is wanted`);
  const axes = Object.keys(l.axes);
  if (axes.length > 0) throw new AxisError(`grad: the loss still has axis ${quote(axes)}`, "mean or sum over it first");
  return handle(
    mapLeaves(at, (n, path) => {
      if (n.dtype === "bool" || n.dtype === "i32") throw new MallardError(`grad: "${path}" is ${n.dtype}: there is no gradient with respect to it`);
      return gradient(l, n);
    }),
  );
}
function gradient(loss: Node, leaf: Node): Node {
  const path: Sliced[] = [];
  let of = leaf;
  for (let s = slices.get(of); s; s = slices.get(of)) {
    path.push(s);
    of = s.of;
  }
  return path.reduceRight<Node>((g, s) => layerOf(g, s.axis, s.index), build.grad(loss, of));
}
