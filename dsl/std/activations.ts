// Point-wise functions of networks, and dropout.
import * as build from "../build.js";
import { ArgumentError } from "../errors.js";
import type { Key } from "../leaves.js";
import { uniform } from "../leaves.js";
import { lift } from "../map.js";
import type { Arrow } from "../node.js";
import { handle, nodeOf, realOf } from "../tensor.js";
import type { Axes, Real, Tensor } from "../types.js";

type One = { readonly x: number };
// The exponential is at most 1: 1/(1 + exp(−x)) overflows for x ≤ −89 in f32, and its gradient is NaN there.
const sigma = ({ x }: One) => {
  const e = Math.exp(x < 0 ? x : -x);
  return (x < 0 ? e : 1) / (1 + e);
};
/** x·σ(x) (Elfwing 2017). */
const swish = ({ x }: One) => {
  const e = Math.exp(x < 0 ? x : -x);
  return (x * (x < 0 ? e : 1)) / (1 + e);
};
/** The tanh form (Hendrycks 2016); √(2/π). */
const gauss = ({ x }: One) => 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
const drop = ({ x, u, rate }: { x: number; u: number; rate: number }) => (u < rate ? 0 : x / (1 - rate));

const pointwise =
  (what: string, f: Arrow) =>
  <A extends Axes>(x: Tensor<A, Real>): Tensor<A, "f32"> =>
    handle(lift({ x: realOf(x, `${what}: its argument`) }, f));

export const silu = pointwise("silu", swish);
export const gelu = pointwise("gelu", gauss);
export const sigmoid = pointwise("sigmoid", sigma);

/** Each element is 0 with probability `rate`, the others grow so that the mean stays. Equal keys drop equal elements. */
export function dropout<A extends Axes>(x: Tensor<A, Real>, rate: number, key: Key): Tensor<A, "f32"> {
  const n = realOf(x, "dropout: its first argument");
  if (!(rate >= 0 && rate < 1)) throw new ArgumentError(`dropout: the rate is ${rate}; a number from 0 up to, not including, 1 is wanted`);
  if (rate === 0) return handle(build.cast(n, "f32"));
  return handle(lift({ x: n, u: nodeOf(uniform(key, x.axes), "dropout") }, drop, { rate }));
}
