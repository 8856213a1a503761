// Where expressions begin: inputs, constants, sizes, tensors of indices, and keyed random numbers.
import * as build from "./build.js";
import { ArgumentError, DTypeError, quote, SizeError } from "./errors.js";
import { lifted, type Mapped } from "./map.js";
import type { DType, Node } from "./node.js";
import { dtypes, UpTo } from "./node.js";
import { describe, handle, intOf, need, nodeOf, pick, shapeOf } from "./tensor.js";
import type { Axes, Indices, Int, Keep, Plain, Scalar, Tensor } from "./types.js";

/** A tensor given per run, f32 unless said. Two inputs of one shape are two inputs. Arrays at the boundary have the
 *  order of `axes`. */
export function input<const A extends Axes>(axes: A): Tensor<Plain<A>, "f32">;
export function input<const A extends Axes, D extends DType>(axes: A, dtype: D): Tensor<Plain<A>, D>;
export function input(axes: Axes, dtype: DType = "f32"): unknown {
  if (!dtypes.includes(dtype))
    throw new DTypeError(`input: ${typeof dtype === "string" ? quote([dtype]) : describe(dtype)} is no element type`, `there are ${quote(dtypes)}`);
  return build.leaf("input", "", shapeOf("input", axes), dtype);
}
export function constant(value: number): Scalar {
  if (typeof value !== "number") throw new ArgumentError(`constant: ${describe(value)} is no number`);
  return handle(build.constant(value));
}

/** An extent known only when a program runs, at most `max`: buffers are sized `max`, loops take the extent. Axes agree
 *  when they hold the same upTo object. Its type is `number`, as of every size that the types do not know; at run time
 *  it is an object, which arithmetic while building refuses with its own message. */
export function upTo(max: number, name = "extent"): number {
  if (!Number.isInteger(max) || max < 0) throw new SizeError(`upTo: the greatest extent is ${max}; a whole number is wanted`);
  return handle(new UpTo(max, name));
}

/** The size of an axis: a number, or the upTo object that the axis was declared with. */
export function size<A extends Axes, N extends keyof A>(x: Tensor<A, DType>, axis: N): A[N] {
  const n = nodeOf(x, "size: its first argument");
  need("size", n, [axis]);
  return handle(n.axes[axis as string]);
}
/** Some axes of x with their sizes, as fresh axes for `view` and the like. */
export function sizes<A extends Axes, N extends keyof A>(x: Tensor<A, DType>, ...axes: N[]): Keep<A, N> {
  const n = nodeOf(x, "sizes: its first argument");
  need("sizes", n, axes);
  return handle(pick(n.axes, axes as string[]));
}
/** The tensor of a closed arrow over indices: `grid({ i: 4 }, ({ i }) => i * i)`. */
export function grid<const A extends Axes, R extends number | boolean>(axes: A, f: (at: Indices<A>, size: A) => R): Mapped<A, R> {
  return handle(lifted("grid", {}, {}, f, shapeOf("grid", axes)));
}

/** Names a stream of random numbers: two draws are equal only if their keys are. A key extends by name (a layer, a
 *  use) or by an integer scalar known at run time (step, micro-batch, rank). */
export interface Key {
  readonly key: string;
  (by: string | Int): Key;
  /** The run-time integers that extend the key, in order. */
  readonly extend: readonly Int[];
}
const keyOf = (key: string, extend: readonly Int[]): Key =>
  Object.assign(
    (by: string | Int) => {
      // The text records where in the key each integer stands, so that k("a")(t) and k(t)("a") differ.
      if (typeof by === "string") return keyOf(`${key}/${by}`, extend);
      const n = intOf(by, "key: an extension");
      if (Object.keys(n.axes).length > 0) throw new ArgumentError("key: an extension has axes; an integer scalar or a name is wanted");
      return keyOf(`${key}/#`, [...extend, by]);
    },
    { key, extend },
  );
/** A key to begin with: the seed of a run. */
export const keys = (seed: string | number): Key => keyOf(String(seed), []);

const draw = (kind: "uniform" | "normal", key: Key, axes: Axes): Node => {
  if (typeof key !== "function" || typeof key.key !== "string")
    throw new ArgumentError(`${kind}: its first argument is ${describe(key)}, no key`, `${kind}(keys("seed"), axes)`);
  return build.random(
    kind,
    key.key,
    key.extend.map((e) => intOf(e, `${kind}: the key`)),
    shapeOf(kind, axes),
  );
};
/** In [0, 1). */
export function uniform<const A extends Axes>(key: Key, axes: A): Tensor<A, "f32"> {
  return handle(draw("uniform", key, axes));
}
/** Mean 0, variance 1. */
export function normal<const A extends Axes>(key: Key, axes: A): Tensor<A, "f32"> {
  return handle(draw("normal", key, axes));
}
