// view: index arithmetic, never a copy; and what is written in it: rename, split, merge, slice, pad, concat, stack, taps.
// Outside x a view reads 0. These have index bodies as scalar terms, since the axes' names are arguments here, and an
// arrow's names are fixed in its text.
import { call, probeIndices, probeSizes, strict } from "./arrows.js";
import * as build from "./build.js";
import { showShape } from "./build.js";
import { ArgumentError, ArrowError, AxisError, quote, SizeError } from "./errors.js";
import type { Arrow, DType, Extent, Node, Shape } from "./node.js";
import * as scalar from "./scalar.js";
import { agree, describe, fixed, fresh, handle, names, need, nodeOf, omit, shapeOf } from "./tensor.js";
import type { Axes, Indices, NoMore, None, Real, Str, Sum, Swap, Tensor } from "./types.js";

type Index = scalar.Scalar;
const { arg, index, constant: number } = scalar;
const less = (a: Index, b: Index) => scalar.call("lt", a, b);
const equal = (a: Index, b: Index) => scalar.call("eq", a, b);
const select = (c: Index, a: Index, b: Index) => scalar.call("select", c, a, b);
const plus = (a: Index, by: number) => (by === 0 ? a : scalar.call("add", a, number(by)));
const times = (a: Index, by: number) => (by === 1 ? a : scalar.call("mul", a, number(by)));

/** result[o] = x[at(o)]: `at` gives the index along each axis of x that it names. */
export const viewBy = (x: Node, made: Shape, at: Readonly<Record<string, Index>>): Node =>
  build.view(x, made, { kind: "scalar", at }, Object.keys(at));

/** `view(x, { query: T, a: 6 }, ({ query, a }) => ({ query: query - a }))`: the result has x's axes that the
 *  arrow does not name, and the new axes. Reading outside x gives 0. The arrow's second parameter has every size, and
 *  the constants given last. */
export function view<A extends Axes, D extends DType, const S extends Axes, R extends Axes, C extends { readonly [name: string]: number } = None>(
  x: Tensor<A, D>,
  axes: S,
  index: (at: Indices<S>, known: Indices<A> & Indices<S> & C) => R & NoMore<R, A>,
  constants?: C,
): Tensor<Swap<A, keyof R, S>, D> {
  const n = nodeOf(x, "view: its first argument");
  const made = shapeOf("view", axes);
  const given: Readonly<Record<string, number>> = constants ?? {};
  for (const [c, v] of Object.entries(given)) {
    if (c in made || c in n.axes) throw new ArgumentError(`view: constant "${c}" has the name of an axis`, "call it otherwise");
    if (typeof v !== "number") throw new ArgumentError(`view: constant "${c}" is ${describe(v)}; a number is wanted`);
  }
  const known = { ...probeSizes(made), ...probeSizes(n.axes), ...given };
  const out = call("view", index, [strict("view", "the index of", probeIndices(made)), strict("view", "the size of", known)]);
  if (typeof out !== "object" || out === null)
    throw new ArrowError(`view: the arrow gives ${describe(out)}; a record of x's indices is wanted`, "({ query, a }) => ({ query: query - a })");
  const reads = Object.keys(out);
  if (reads.length === 0) throw new ArrowError("view: the arrow names no axis of x", "an axis that is only added broadcasts by itself");
  for (const [axis, at] of Object.entries(out)) {
    need("view", n, [axis]);
    if (typeof at !== "number") throw new ArrowError(`view: the index of "${axis}" is ${describe(at)}; a number is wanted`);
  }
  fresh("view", omit(n.axes, reads), Object.keys(made));
  return handle(build.view(n, made, { kind: "arrow", fn: index as Arrow, constants: given }, reads)); // called above
}

type Fresh<A, M> = {
  readonly [K in keyof M]: K extends keyof A
    ? M[K] extends Exclude<keyof A, keyof M>
      ? { readonly "axis exists already": M[K] }
      : unknown
    : { readonly "no such axis": K };
};
type Renamed<A, M> = Rename1<A, M, To<A, M>> & {};
type Rename1<A, M, NN> = { [N in NN & string]: A[{ [K in keyof A]: N extends (K extends keyof M ? M[K] : K) ? K : never }[keyof A]] } & {};
type To<A, M> = { [K in keyof A]: K extends keyof M ? Str<M[K]> : Str<K> }[keyof A];

/** Names that stay where they are are left out; the rest is one view, so that layout order follows x's axes. */
export function renamed(x: Node, to: Readonly<Record<string, string>>): Node {
  const moved = Object.entries(to).filter(([from, into]) => from !== into);
  if (moved.length === 0) return x;
  const inOrder = names(x.axes).flatMap((a) => moved.filter(([from]) => from === a));
  return viewBy(
    x,
    Object.fromEntries(inOrder.map(([from, into]) => [into, x.axes[from] as Extent])),
    Object.fromEntries(inOrder.map(([from, into]) => [from, index(into)])),
  );
}
export function rename<A extends Axes, D extends DType, const M extends { readonly [from: string]: string }>(
  x: Tensor<A, D>,
  to: M & Fresh<A, M>,
): Tensor<Renamed<A, M>, D> {
  const n = nodeOf(x, "rename: its first argument");
  const by: Readonly<Record<string, string>> = to;
  need("rename", n, Object.keys(by));
  shapeOf("rename", Object.fromEntries(Object.values(by).map((a) => [a, 0])));
  fresh("rename", omit(n.axes, Object.keys(by)), Object.values(by));
  const twice = Object.values(by).find((a, i, all) => all.indexOf(a) !== i);
  if (twice !== undefined) throw new AxisError(`rename: two axes become "${twice}"`, "the diagonal is a view: ({ i }) => ({ query: i, key: i })");
  return handle(renamed(n, by));
}

/** The index of a merged axis from those of its parts, the first the slowest. */
export const joinedIndex = (parts: readonly (readonly [string, number])[]): Index =>
  parts.reduce<Index | undefined>((sum, [a, e]) => (sum ? scalar.call("add", times(sum, e), index(a)) : index(a)), undefined) ?? number(0);
/** The indices of the parts of a merged axis, by part. */
export function partIndices(parts: readonly (readonly [string, number])[], whole: Index): Readonly<Record<string, Index>> {
  const at: Record<string, Index> = {};
  let stride = 1;
  for (let i = parts.length - 1; i >= 0; i--) {
    const [a, e] = parts[i] as readonly [string, number];
    const shifted = stride === 1 ? whole : scalar.call("floor", scalar.call("div", whole, number(stride)));
    at[a] = i === 0 ? shifted : scalar.call("mod", shifted, number(e));
    stride *= e;
  }
  return at;
}
export function split<A extends Axes, D extends DType, N extends keyof A & string, const S extends Axes>(
  x: Tensor<A, D>,
  axis: N,
  into: S,
): Tensor<Swap<A, N, S>, D> {
  const n = nodeOf(x, "split: its first argument");
  need("split", n, [axis]);
  const made = shapeOf("split", into);
  fresh("split", omit(n.axes, [axis]), Object.keys(made));
  const whole = fixed("split", axis, n.axes[axis]);
  const parts = Object.entries(made).map(([a, e]) => fixed("split", a, e));
  const product = parts.reduce((p, e) => p * e, 1);
  if (product !== whole)
    throw new SizeError(`split: axis "${axis}" has ${whole} elements, ${showShape(made)} has ${product}`, "the new sizes multiply to the old one");
  return handle(viewBy(n, made, { [axis]: joinedIndex(Object.keys(made).map((a, i) => [a, parts[i] as number])) }));
}

/** Several axes as one, the first the slowest. */
export function merge<A extends Axes, D extends DType, N extends keyof A & string, M extends string>(
  x: Tensor<A, D>,
  axes: readonly [N, N, ...N[]],
  into: M,
): Tensor<Swap<A, N, { readonly [K in M]: number }>, D> {
  const n = nodeOf(x, "merge: its first argument");
  need("merge", n, axes);
  const twice = axes.find((a, i) => axes.indexOf(a) !== i);
  if (twice !== undefined) throw new AxisError(`merge: axis "${twice}" is named twice`);
  shapeOf("merge", { [into]: 0 });
  fresh("merge", omit(n.axes, axes), [into]);
  const parts = axes.map((a) => [a, fixed("merge", a, n.axes[a])] as const);
  const size = parts.reduce((p, [, e]) => p * e, 1);
  // Of an empty axis there is no index to compute: nothing is read.
  const at = size === 0 ? Object.fromEntries(axes.map((a) => [a, number(0)])) : partIndices(parts, index(into));
  return handle(viewBy(n, { [into]: size }, at));
}

const whole = (what: string, name: string, v: unknown): number => {
  if (typeof v === "number" && Number.isInteger(v)) return v;
  throw new SizeError(`${what}: ${name} is ${typeof v === "number" ? v : describe(v)}; a whole number is wanted`);
};
/** x[axis] from `from` on, `size` elements; all of them inside x. */
export function slice<A extends Axes, D extends DType, N extends keyof A & string, const L extends number>(
  x: Tensor<A, D>,
  axis: N,
  range: { from: number; size: L },
): Tensor<Swap<A, N, { readonly [K in N]: L }>, D> {
  const n = nodeOf(x, "slice: its first argument");
  need("slice", n, [axis]);
  const from = whole("slice", "from", range.from);
  const has = fixed("slice", axis, n.axes[axis]);
  const takes = whole("slice", "size", range.size);
  if (from < 0 || takes < 0 || from + takes > has)
    throw new SizeError(`slice: ${from} … ${from + takes} is not inside axis "${axis}" of size ${has}`);
  return handle(viewBy(n, { [axis]: takes }, { [axis]: plus(index(axis), from) }));
}
/** x among zeros: `before` of them, then x, to `size` in all. */
export function pad<A extends Axes, D extends DType, N extends keyof A & string, const L extends number>(
  x: Tensor<A, D>,
  axis: N,
  range: { before: number; size: L },
): Tensor<Swap<A, N, { readonly [K in N]: L }>, D> {
  const n = nodeOf(x, "pad: its first argument");
  need("pad", n, [axis]);
  const before = whole("pad", "before", range.before);
  const has = fixed("pad", axis, n.axes[axis]);
  const size = whole("pad", "size", range.size);
  if (before < 0 || before + has > size) throw new SizeError(`pad: ${before} zeros and axis "${axis}" of ${has} are more than ${size}`);
  return handle(viewBy(n, { [axis]: size }, { [axis]: plus(index(axis), -before) }));
}
/** a, then b. The other axes align by name. */
export function concat<A extends Axes, B extends Axes, D extends DType, N extends keyof A & keyof B & string>(
  a: Tensor<A, D>,
  b: Tensor<B, D>,
  axis: N,
): Tensor<Swap<Sum<A, B>, N, { readonly [K in N]: number }>, D> {
  const x = nodeOf(a, "concat: its first argument");
  const y = nodeOf(b, "concat: its second argument");
  need("concat", x, [axis]);
  need("concat", y, [axis]);
  if (x.dtype !== y.dtype) throw new ArgumentError(`concat: one side is ${x.dtype}, the other ${y.dtype}`, "cast one of them");
  const first = fixed("concat", axis, x.axes[axis]);
  const total = first + fixed("concat", axis, y.axes[axis]);
  const left = viewBy(x, { [axis]: total }, { [axis]: index(axis) });
  const right = viewBy(y, { [axis]: total }, { [axis]: plus(index(axis), -first) });
  agree("concat", { left, right });
  return handle(build.map({ a: left, b: right }, { kind: "scalar", body: select(less(index(axis), number(first)), arg("a"), arg("b")) }, x.dtype));
}
/** Several nodes along a new first-named axis. */
export function stacked(axis: string, xs: readonly Node[], dtype: DType = "f32"): Node {
  const inputs = Object.fromEntries(xs.map((x, i) => [`x${i}`, x]));
  const last = arg(`x${xs.length - 1}`);
  const body = xs.slice(0, -1).reduceRight<Index>((rest, _, i) => select(equal(index(axis), number(i)), arg(`x${i}`), rest), last);
  return build.map(inputs, { kind: "scalar", body }, dtype, { [axis]: xs.length });
}
/** Several tensors of the same axes along a new axis: `stack("branch", a, b, c)`; `at(x, { branch: 0 })` undoes it. */
export function stack<const N extends string, A extends Axes, const T extends readonly Tensor<A, Real>[]>(
  axis: N,
  first: Tensor<A, Real>,
  ...rest: T
): Tensor<Swap<A, never, { readonly [K in N]: [0, ...T]["length"] }>> {
  const xs = [first, ...rest].map((x, i) => nodeOf(x, `stack: argument ${i + 1}`));
  shapeOf("stack", { [axis]: 0 });
  const one = xs[0] as Node;
  fresh("stack", one.axes, [axis]);
  for (const [i, x] of xs.entries()) {
    if (x.dtype === "bool") throw new ArgumentError(`stack: argument ${i + 1} is a mask; numbers are wanted`);
    const same = names(x.axes).length === names(one.axes).length && names(one.axes).every((a) => x.axes[a] === one.axes[a]);
    if (!same)
      throw new AxisError(
        `stack: argument ${i + 1} has axes ${showShape(x.axes)}, the first has ${showShape(one.axes)}`,
        "stacked tensors have the same axes",
      );
  }
  return handle(stacked(axis, xs));
}
/** x[axis − tap] for tap in 0 … n−1, 0 before the start: convolution is `dot` over the tap axis. With `centre`, tap
 *  ⌊(n−1)/2⌋ reads x itself; `dilate` widens the step between taps. */
export function taps<A extends Axes, D extends DType, N extends keyof A & string, const S extends Axes>(
  x: Tensor<A, D>,
  axis: N,
  tap: S,
  o: { centre?: boolean; dilate?: number } = {},
): Tensor<Sum<A, S>, D> {
  const n = nodeOf(x, "taps: its first argument");
  need("taps", n, [axis]);
  const made = shapeOf("taps", tap);
  const [t, ...more] = Object.keys(made);
  if (t === undefined || more.length > 0) throw new AxisError(`taps: one tap axis is wanted, ${quote(Object.keys(made))} are given`);
  fresh("taps", n.axes, [t]);
  const dilate = whole("taps", "dilate", o.dilate ?? 1);
  const centre = o.centre ? Math.floor((fixed("taps", t, made[t]) - 1) / 2) : 0;
  const at = plus(scalar.call("sub", index(axis), times(index(t), dilate)), centre * dilate);
  return handle(viewBy(n, { [axis]: n.axes[axis] as Extent, [t]: made[t] as Extent }, { [axis]: at }));
}
