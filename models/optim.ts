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
  RuleError,
  rename,
  repeat,
  rule,
  type Scalar,
  type StepBound,
  scale,
  size,
  sum,
  type Tensor,
  type Tree,
} from "../dsl/index.js";

/** A step whose every entry is at most `most`: both norms are at most that times √(entries). */
const entries =
  (most: () => number): StepBound =>
  ({ rows, cols }) => {
    const d = most() * Math.sqrt(rows * cols);
    return { spectral: d, frobenius: d };
  };
/** Adam's greatest entry: by Cauchy–Schwarz |m| ≤ C·√v with C = (1−β₁)/√((1−β₂)(1−β₁²/β₂)); correcting both for their
 *  start keeps that, since (1−r^t)(1−β₂^t) ≤ (1−β₁^t)² for r = β₁²/β₂. */
function adamBound(b1: number, b2: number): number {
  if (b1 === 0) return 1 / Math.sqrt(1 - b2);
  if (!(b1 * b1 < b2))
    throw new RuleError(
      `adamw: the step has no bound for β₁ = ${b1} and β₂ = ${b2}: β₁² is not below β₂`,
      "choose β₂ above β₁²: 0.95 or 0.999 for β₁ = 0.9",
    );
  return (1 - b1) / Math.sqrt((1 - b2) * (1 - (b1 * b1) / b2));
}

/** Stochastic gradient descent with heavy-ball momentum. */
export const sgd = ({ momentum = 0.9 } = {}) =>
  pointwise({ m: 0 }, { momentum }, ({ w, g, m, lr, momentum }) => {
    const m1 = momentum * m + g;
    return { w: w - lr * m1, m: m1 };
  });

/** Adam with decoupled decay (Loshchilov 2019). */
export const adamw = ({ b1 = 0.9, b2 = 0.95, eps = 1e-10, decay = 0 } = {}) =>
  pointwise(
    { m: 0, v: 0 },
    { b1, b2, eps, decay },
    ({ w, g, m, v, lr, t, b1, b2, eps, decay }) => {
      const m1 = b1 * m + (1 - b1) * g,
        v1 = b2 * v + (1 - b2) * g * g;
      const u = m1 / (1 - b1 ** t) / (Math.sqrt(v1 / (1 - b2 ** t)) + eps);
      return { w: w - lr * (u + decay * w), m: m1, v: v1 };
    },
    { bound: entries(() => adamBound(b1, b2)) },
  );

/** X ← aX + (bA + cA²)X with A = XXᵀ (Jordan 2024). */
const newtonSchulz = formula({ X: "row col" }, ({ X }) => {
  const A = dot(X, rename(X, { row: "row2" }), "col");
  const AA = dot(rename(A, { row2: "k" }), rename(A, { row: "k" }), "k");
  const AX = dot(A, rename(X, { row: "row2" }), "row2"),
    AAX = dot(AA, rename(X, { row: "row2" }), "row2");
  return map({ X, AX, AAX }, ({ X, AX, AAX }) => 3.4445 * X - 4.775 * AX + 2.0315 * AAX);
});

const scaleOf = (moonlight: boolean, out: number, into: number) =>
  moonlight ? 0.2 * Math.sqrt(Math.max(out, into)) : Math.sqrt(Math.max(1, out / into));

/** Momentum, orthogonalised (Jordan 2024): scale √max(1, out/in). `moonlight`: scale 0.2·√max(out, in) (Liu 2025). */
export const muon = ({ momentum = 0.95, steps = 5, moonlight = false, decay = 0, bf16 = false } = {}) =>
  rule(
    "out in",
    { m: "out in" },
    ({ w, g, m, lr }) => {
      const m1 = map({ m, g, b: momentum }, ({ m, g, b }) => b * m + (1 - b) * g);
      const u = map({ m1, g, b: momentum }, ({ m1, g, b }) => (1 - b) * g + b * m1);
      const tall = size(u, "out") > size(u, "in");
      const unit = map({ u, n: norm(u, "out", "in") }, ({ u, n }) => u / (n + 1e-7));
      const start = tall ? rename(unit, { out: "col", in: "row" }) : rename(unit, { out: "row", in: "col" });
      const { X } = repeat(steps, { axis: "newton", state: { X: start } }, ({ X }) => ({ X: newtonSchulz({ X }) }));
      const o = tall ? rename(X, { col: "out", row: "in" }) : rename(X, { row: "out", col: "in" });
      const s = scaleOf(moonlight, size(w, "out"), size(w, "in"));
      return { w: map({ w, o, lr, s, decay }, ({ w, o, lr, s, decay }) => w - lr * (s * o + decay * w)), m: m1 };
    },
    {
      bound: (x) => {
        const spectral = (bf16 ? 1.25 : 1.2024) * scaleOf(moonlight, x.out, x.in);
        return { spectral, frobenius: spectral * Math.sqrt(Math.min(x.rows, x.cols)) };
      },
    },
  );

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
/** What a transformation hands on of the inner optimizer's bound, where its own work does not touch the step's. */
export const sameBound = (inner: Pick<Optimizer, "stepBound">): Pick<Optimizer, "stepBound"> =>
  inner.stepBound ? { stepBound: (x) => inner.stepBound?.(x) ?? null } : {};
/** Gradients whose common norm passes `limit` are scaled down to it (Pascanu 2013). */
export const clipNorm = <S extends Tree>(inner: Optimizer<S>, { limit = 1 } = {}): Optimizer<S> => ({
  ...sameBound(inner),
  init: (x) => inner.init(x),
  update: (x) => {
    const factor = map({ n: globalNorm(x.g), limit }, ({ n, limit }) => (n > limit ? limit / n : 1));
    return inner.update({ ...x, g: mapTree(x.g, (g) => mul(g, factor)) });
  },
});
/** The paper's ablation: every weight below the logits at τ times its rate, whatever the norms are. */
export const fixed = <S extends Tree>(inner: Optimizer<S>, { tau = 0.1 } = {}): Optimizer<S> => ({
  ...sameBound(inner),
  init: (x) => inner.init(x),
  update: (x) => {
    const slowed: Rates = mapTree(deriveRates(find(x.loss, "logits")), (_, path) => (x.rates?.[path] ? scale(x.rates[path], tau) : constant(tau)));
    return inner.update({ ...x, rates: { ...x.rates, ...slowed } });
  },
});
