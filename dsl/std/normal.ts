// Normalisations: softmax, RMS norm, layer norm.

import { ArgumentError } from "../errors.js";
import { meanOf, meanSquare, reduction, softmaxOf } from "../fold.js";
import { lift } from "../map.js";
import { handle, need, realOf } from "../tensor.js";
import type { Axes, Real, Tensor } from "../types.js";

const softmaxBy = reduction("softmax", softmaxOf);
/** Rows masked throughout (−∞) give 0, and 0 gradient. */
export function softmax<A extends Axes, N extends keyof A & string>(x: Tensor<A, Real>, ...over: [N, ...N[]]): Tensor<A, "f32"> {
  return handle(softmaxBy(x, ...over));
}

const byRoot = ({ x, m, eps }: { x: number; m: number; eps: number }) => x / Math.sqrt(m + eps);
const minus = ({ x, m }: { x: number; m: number }) => x - m;
const epsilon = (what: string, eps = 1e-6): number => {
  if (!(eps >= 0)) throw new ArgumentError(`${what}: eps is ${eps}; a number of at least 0 is wanted`);
  return eps;
};
/** x / √(mean x² + eps) (Zhang 2019), without gain. */
export function rms<A extends Axes, N extends keyof A & string>(x: Tensor<A, Real>, over: N, o: { eps?: number } = {}): Tensor<A, "f32"> {
  const n = realOf(x, "rms: its first argument");
  need("rms", n, [over]);
  return handle(lift({ x: n, m: meanSquare(n, [over]) }, byRoot, { eps: epsilon("rms", o.eps) }));
}
/** (x − mean) / √(variance + eps) (Ba 2016), without gain and bias. */
export function layerNorm<A extends Axes, N extends keyof A & string>(x: Tensor<A, Real>, over: N, o: { eps?: number } = {}): Tensor<A, "f32"> {
  const n = realOf(x, "layerNorm: its first argument");
  need("layerNorm", n, [over]);
  const c = lift({ x: n, m: meanOf(n, [over]) }, minus);
  return handle(lift({ x: c, m: meanSquare(c, [over]) }, byRoot, { eps: epsilon("layerNorm", o.eps) }));
}
