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
const sigma = ({ x }: One) => 1 / (1 + Math.exp(-x));
/** x·σ(x) (Elfwing 2017). */
const swish = ({ x }: One) => x / (1 + Math.exp(-x));
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
