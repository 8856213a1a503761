// Update rules as formulas, schedules, and transformations of optimizers.
import {
  type Axes,
  add,
  constant,
  deriveRates,
  dot,
  find,
  formula,
  leavesOf,
  map,
  mapTree,
  mul,
  norm,
  type Optimizer,
  pointwise,
  type Rates,
  rename,
  repeat,
  rule,
  type Scalar,
  scale,
  size,
  sum,
  type Tensor,
  type Tree,
} from "../dsl/index.js";

/** Stochastic gradient descent with heavy-ball momentum. */
export const sgd = ({ momentum = 0.9 } = {}) =>
  pointwise({ m: 0 }, { momentum }, ({ w, g, m, lr, momentum }) => {
    const m1 = momentum * m + g;
    return { w: w - lr * m1, m: m1 };
  });

/** Adam with decoupled decay (Loshchilov 2019). */
export const adamw = ({ b1 = 0.9, b2 = 0.95, eps = 1e-10, decay = 0 } = {}) =>
  pointwise({ m: 0, v: 0 }, { b1, b2, eps, decay }, ({ w, g, m, v, lr, t, b1, b2, eps, decay }) => {
    const m1 = b1 * m + (1 - b1) * g,
      v1 = b2 * v + (1 - b2) * g * g;
    const u = m1 / (1 - b1 ** t) / (Math.sqrt(v1 / (1 - b2 ** t)) + eps);
    return { w: w - lr * (u + decay * w), m: m1, v: v1 };
  });

/** X ← aX + (bA + cA²)X with A = XXᵀ (Jordan 2024). */
const newtonSchulz = formula({ X: "row col" }, ({ X }) => {
  const A = dot(X, rename(X, { row: "row2" }), "col");
  const AA = dot(rename(A, { row2: "k" }), rename(A, { row: "k" }), "k");
  const AX = dot(A, rename(X, { row: "row2" }), "row2"),
    AAX = dot(AA, rename(X, { row: "row2" }), "row2");
  return map({ X, AX, AAX }, ({ X, AX, AAX }) => 3.4445 * X - 4.775 * AX + 2.0315 * AAX);
});

/** Momentum, orthogonalised (Jordan 2024): scale √max(1, out/in). `moonlight`: scale 0.2·√max(out, in) (Liu 2025). */
export const muon = ({ momentum = 0.95, steps = 5, moonlight = false, decay = 0 } = {}) =>
  rule("out in", { m: "out in" }, ({ w, g, m, lr }) => {
    const m1 = map({ m, g, b: momentum }, ({ m, g, b }) => b * m + (1 - b) * g);
    const u = map({ m1, g, b: momentum }, ({ m1, g, b }) => (1 - b) * g + b * m1);
    const tall = size(u, "out") > size(u, "in");
    const unit = map({ u, n: norm(u, "out", "in") }, ({ u, n }) => u / (n + 1e-7));
    const start = tall ? rename(unit, { out: "col", in: "row" }) : rename(unit, { out: "row", in: "col" });
    const { X } = repeat(steps, { axis: "newton", state: { X: start } }, ({ X }) => ({ X: newtonSchulz({ X }) }));
    const o = tall ? rename(X, { col: "out", row: "in" }) : rename(X, { row: "out", col: "in" });
    const s = moonlight ? 0.2 * Math.sqrt(Math.max(size(w, "out"), size(w, "in"))) : Math.sqrt(Math.max(1, size(w, "out") / size(w, "in")));
    return { w: map({ w, o, lr, s, decay }, ({ w, o, lr, s, decay }) => w - lr * (s * o + decay * w)), m: m1 };
  });

// ── schedules: the rate as a function of the step's number, from 1 ───────────────────────────────────
/** Linear to `peak` in `steps` steps, then constant. */
export const warmup =
  (peak: number, steps: number) =>
  (t: Scalar): Scalar =>
    map({ t, peak, steps }, ({ t, peak, steps }) => peak * Math.min(1, t / steps));
/** Linear to `peak`, then half a cosine down to `floor` at step `total`. */
export const cosine =
  (peak: number, steps: number, total: number, floor = 0) =>
  (t: Scalar): Scalar =>
    map({ t, peak, steps, total, floor }, ({ t, peak, steps, total, floor }) => {
      const done = Math.min(1, Math.max(0, (t - steps) / (total - steps)));
      return t < steps ? (peak * t) / steps : floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * done));
    });

// ── transformations ──────────────────────────────────────────────────────────────────────────────────
const axesOf = (x: Tensor<Axes, "f32">) => Object.keys(x.axes) as [string, ...string[]]; // a parameter has at least one axis
/** The Euclidean norm of all leaves together. */
export const globalNorm = (tree: Tree): Scalar => {
  const squares = leavesOf(tree).map(({ tensor }): Scalar => {
    const s = map(tensor, (g) => g * g);
    return sum(s, ...axesOf(s));
  });
  return map(
    squares.reduce((a, b) => add(a, b), constant(0)),
    (s) => (s === 0 ? 0 : Math.sqrt(s)),
  );
};
/** Gradients whose common norm passes `limit` are scaled down to it (Pascanu 2013). */
export const clipNorm = <S extends Tree>(inner: Optimizer<S>, { limit = 1 } = {}): Optimizer<S> => ({
  init: (x) => inner.init(x),
  update: (x) => {
    const factor = map({ n: globalNorm(x.g), limit }, ({ n, limit }) => (n > limit ? limit / n : 1));
    return inner.update({ ...x, g: mapTree(x.g, (g) => mul(g, factor)) });
  },
});
/** The paper's ablation: every weight below the logits at τ times its rate, whatever the norms are. */
export const fixed = <S extends Tree>(inner: Optimizer<S>, { tau = 0.1 } = {}): Optimizer<S> => ({
  init: (x) => inner.init(x),
  update: (x) => {
    const slowed: Rates = mapTree(deriveRates(find(x.loss, "logits")), (_, path) => (x.rates?.[path] ? scale(x.rates[path], tau) : constant(tau)));
    return inner.update({ ...x, rates: { ...x.rates, ...slowed } });
  },
});
