// The greatest singular value of a matrix, as an expression: from the Gram matrix G of its smaller side, squared again and
// again. With A₀ = G/tr G, A ← A²/tr A² tends to the projector on the first eigenspace; G's trace with it is the greatest
// eigenvalue from below, and the traces on the way give it from above, as the Schatten norm (tr G^p)^{1/p}, p = 2^k.
import { dot, map, mul, norm, rename, repeat, stopGradient, sum, type Tensor } from "../dsl/index.js";

type Names = readonly string[];
const some = (axes: Names) => axes as readonly [string, ...string[]];
/** Names for `axes` that nothing in x has. */
const fresh = (x: Tensor, axes: Names): Record<string, string> => {
  const taken = new Set(Object.keys(x.axes));
  return Object.fromEntries(
    axes.map((a) => {
      let name = `${a}2`;
      while (taken.has(name)) name += "2";
      taken.add(name);
      return [a, name];
    }),
  );
};
interface Estimate {
  /** Never above the greatest singular value, and short of it by a share of at most (1 + ln rank)/2^(squarings+1). */
  readonly below: Tensor;
  /** Never below it, roundings apart, and beyond it by a share of at most ln(rank)/2^(squarings+1). */
  readonly above: Tensor;
}
const squarings = 12;
/** For each matrix rows × columns of x; what x has beside lifts. */
function estimate(x: Tensor, rows: Names, columns: Names): Estimate {
  if (rows.length === 0 || columns.length === 0) {
    const [first, ...rest] = some([...rows, ...columns]);
    const length: Tensor = norm(x, first, ...rest);
    return { below: length, above: length };
  }
  const count = (axes: Names) => axes.reduce((p, a) => p * (x.axes[a] ?? 1), 1);
  const [small, large] = count(rows) <= count(columns) ? [some(rows), some(columns)] : [some(columns), some(rows)];
  const primed = fresh(x, small);
  const twice = fresh({ ...x, axes: { ...x.axes, ...Object.fromEntries(Object.values(primed).map((a) => [a, 1])) } }, small);
  const both = some([...small, ...Object.values(primed)]);
  const across = Object.fromEntries(Object.entries(primed).map(([a, p]) => [p, twice[a] ?? a]));
  const G: Tensor = dot(x, rename(x, primed), ...large);
  const whole: Tensor = sum(mul(x, x), ...some([...rows, ...columns]));
  const over = (a: Tensor, t: Tensor): Tensor => map({ a, t }, ({ a, t }) => (t === 0 ? 0 : a / t));
  const last = repeat(squarings, { axis: "squaring", state: { A: over(G, whole), p: map(whole, () => 1) } }, ({ A, p }, _, counter) => {
    const square: Tensor = dot(rename(A, across), rename(A, twice), ...some(Object.values(twice)));
    const trace: Tensor = sum(mul(A, A), ...both);
    return { A: over(square, trace), p: map({ p, trace, counter }, ({ p, trace, counter }) => p * trace ** (0.5 ** (counter + 1))) };
  });
  return {
    below: map(sum(mul(G, stopGradient(last.A)), ...both), (s) => (s === 0 ? 0 : Math.sqrt(s))),
    above: map({ whole, p: last.p }, ({ whole, p }) => Math.sqrt(whole * p)),
  };
}

/** The greatest singular value of each matrix to × from, from below, to 1e-3 at rank 512. Its gradient is u·vᵀ of
 *  the first singular vectors, and 0 where x is 0. */
export const spectralNorm = (x: Tensor, to: Names, from: Names): Tensor => estimate(x, to, from).below;
/** The same from above but for roundings, to 1e-3 at rank 4096. Not meant to be differentiated. */
export const spectralBound = (x: Tensor, to: Names, from: Names): Tensor => estimate(x, to, from).above;
