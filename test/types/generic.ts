// Plain TypeScript functions over tensors: which kinds of generics check inside their bodies.
import { type Axes, dot, formula, map, mean, mul, softmax, type Tensor } from "../../dsl/index.js";

// one tensor in, the same axes out: fine
export const cube = <A extends Axes>(x: Tensor<A>): Tensor<A> => map(x, (x) => x ** 3);
// generic sizes, concrete names: fine
export function att<B extends number, H extends number, Q extends number, K extends number, D extends number, V extends number>(
  q: Tensor<{ batch: B; head: H; query: Q; dim: D }>,
  k: Tensor<{ batch: B; head: H; key: K; dim: D }>,
  v: Tensor<{ batch: B; head: H; key: K; value: V }>,
): Tensor<{ batch: B; head: H; query: Q; value: V }> {
  const s = map({ s: dot(q, k, "dim"), c: 3 }, ({ s, c }, { query: i, key: j }) => (j <= i ? s / c : -Infinity));
  return dot(softmax(s, "key"), v, "key");
}
// the rest of the axes generic: the checker gives up; use a formula
export function rest<R extends Axes>(q: Tensor<R & { query: number; dim: number }>, k: Tensor<R & { key: number; dim: number }>) {
  // @ts-expect-error
  return softmax(dot(q, k, "dim"), "key");
}
// one axis taken out and broadcast back: the checker gives up on the result's type
export const unit = <A extends Axes, N extends keyof A & string>(x: Tensor<A>, n: N) => {
  const m = mean(
    map(x, (x) => x * x),
    n,
  );
  // @ts-expect-error
  const y: Tensor<A> = map({ x, m }, ({ x, m }) => x / Math.sqrt(m + 1e-6));
  return y;
};
// as a formula: fine, and works for any other axes
export const unitModel = formula({ x: "model" }, ({ x }) => map({ x, m: mean(mul(x, x), "model") }, ({ x, m }) => x / Math.sqrt(m + 1e-6)));
