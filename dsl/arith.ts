// Point-wise arithmetic, aligned by name and broadcast by absence; casts and the stop of a gradient.
import * as build from "./build.js";
import { ArgumentError } from "./errors.js";
import { lift } from "./map.js";
import type { Arrow, DType, Node } from "./node.js";
import { agree, describe, handle, nodeOf, realOf } from "./tensor.js";
import type { Axes, Join, Real, Sum, Tensor } from "./types.js";

type Two = { readonly a: number; readonly b: number };
// One arrow object a meaning: equal sums are one node.
const plus = ({ a, b }: Two) => a + b;
const minus = ({ a, b }: Two) => a - b;
const times = ({ a, b }: Two) => a * b;
const over = ({ a, b }: Two) => a / b;
const by = ({ a, factor }: { readonly a: number; readonly factor: number }) => a * factor;

export const product = (a: Node, b: Node): Node => lift({ a, b }, times);
export const addition = (a: Node, b: Node): Node => lift({ a, b }, plus);
export const scaled = (a: Node, factor: number): Node => lift({ a }, by, { factor });

function binary<T>(what: string, x: unknown, y: unknown, arrow: Arrow): T {
  const a = realOf(x, `${what}: the left side`);
  const b = realOf(y, `${what}: the right side`);
  agree(what, { left: a, right: b });
  return handle(lift({ a, b }, arrow));
}
export function add<A extends Axes, B extends Axes>(a: Tensor<A, Real>, b: Join<A, B, Tensor<B, Real>>): Tensor<Sum<A, B>, "f32"> {
  return binary("add", a, b, plus);
}
export function sub<A extends Axes, B extends Axes>(a: Tensor<A, Real>, b: Join<A, B, Tensor<B, Real>>): Tensor<Sum<A, B>, "f32"> {
  return binary("sub", a, b, minus);
}
export function mul<A extends Axes, B extends Axes>(a: Tensor<A, Real>, b: Join<A, B, Tensor<B, Real>>): Tensor<Sum<A, B>, "f32"> {
  return binary("mul", a, b, times);
}
export function div<A extends Axes, B extends Axes>(a: Tensor<A, Real>, b: Join<A, B, Tensor<B, Real>>): Tensor<Sum<A, B>, "f32"> {
  return binary("div", a, b, over);
}
export function scale<A extends Axes>(a: Tensor<A, Real>, by: number): Tensor<A, "f32"> {
  if (typeof by !== "number") throw new ArgumentError(`scale: the factor is ${describe(by)}; a number is wanted`, "by a tensor: mul(a, b)");
  return handle(scaled(realOf(a, "scale: its first argument"), by));
}
const known: readonly string[] = ["f32", "f64", "bf16", "f16", "i32", "bool"] satisfies DType[];
/** Storage as another element type; to i32 it truncates. */
export function cast<A extends Axes, D extends DType>(a: Tensor<A, DType>, dtype: D): Tensor<A, D> {
  if (!known.includes(dtype)) throw new ArgumentError(`cast: no element type "${dtype}"`, `they are ${known.join(", ")}`);
  return handle(build.cast(nodeOf(a, "cast: its argument"), dtype));
}
/** The same value, constant to every gradient. */
export function stopGradient<A extends Axes, D extends DType>(a: Tensor<A, D>): Tensor<A, D> {
  return handle(build.stop(nodeOf(a, "stopGradient: its argument")));
}
