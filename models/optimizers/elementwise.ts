// Rules that work element by element: gradient descent, AdamW, Lion. Decay is decoupled in all of them (Loshchilov 2019): the
// weight shrinks by lr·decay·w beside the step, and a step's bound does not count it.
import { pointwise, type Rule, RuleError, type StepBound } from "../../dsl/index.js";
import { positive, share } from "./checks.js";

/** A step whose every entry is at most `most`: both norms are at most that times √(entries). */
const entries =
  (most: number): StepBound =>
  ({ rows, cols }) => {
    const d = most * Math.sqrt(rows * cols);
    return { spectral: d, frobenius: d };
  };

export interface SgdOptions {
  /** Heavy-ball momentum; 0 keeps no state. 0.9 unless said. */
  readonly momentum?: number;
  /** The gradient is taken where the momentum leads (Sutskever 2013, in PyTorch's form). */
  readonly nesterov?: boolean;
  readonly decay?: number;
}
/** Stochastic gradient descent: m ← μm + g, w ← w − lr·m. Its step has no bound: it grows with the gradient (`clipStep`). */
export const sgd = ({ momentum = 0.9, nesterov = false, decay = 0 }: SgdOptions = {}): Rule => {
  share("sgd", "momentum", momentum);
  positive("sgd", "decay", decay, false);
  if (nesterov && momentum === 0)
    throw new RuleError("sgd: nesterov without momentum", "it looks ahead along the momentum: give it one, such as 0.9");
  if (momentum === 0) return pointwise({}, { decay }, ({ w, g, lr, decay }) => ({ w: w - lr * (g + decay * w) }));
  if (nesterov)
    return pointwise({ m: 0 }, { momentum, decay }, ({ w, g, m, lr, momentum, decay }) => {
      const m1 = momentum * m + g;
      return { w: w - lr * (g + momentum * m1 + decay * w), m: m1 };
    });
  return pointwise({ m: 0 }, { momentum, decay }, ({ w, g, m, lr, momentum, decay }) => {
    const m1 = momentum * m + g;
    return { w: w - lr * (m1 + decay * w), m: m1 };
  });
};

export interface AdamWOptions {
  readonly b1?: number;
  readonly b2?: number;
  readonly eps?: number;
  readonly decay?: number;
}
/** Adam (Kingma 2014) with decoupled decay (Loshchilov 2019). D = C·√(entries) where β₁² < β₂, else none. */
export const adamw = ({ b1 = 0.9, b2 = 0.95, eps = 1e-10, decay = 0 }: AdamWOptions = {}): Rule => {
  share("adamw", "b1", b1);
  share("adamw", "b2", b2);
  positive("adamw", "eps", eps);
  positive("adamw", "decay", decay, false);
  return pointwise(
    { m: 0, v: 0 },
    { b1, b2, eps, decay },
    ({ w, g, m, v, lr, t, b1, b2, eps, decay }) => {
      const m1 = b1 * m + (1 - b1) * g,
        v1 = b2 * v + (1 - b2) * g * g;
      const u = m1 / (1 - b1 ** t) / (Math.sqrt(v1 / (1 - b2 ** t)) + eps);
      return { w: w - lr * (u + decay * w), m: m1, v: v1 };
    },
    { bound: entries(adamBound(b1, b2)) },
  );
};
/** Adam's greatest entry: by Cauchy–Schwarz |m| ≤ C·√v with C = (1−β₁)/√((1−β₂)(1−β₁²/β₂)). Correcting both averages for
 *  their start keeps that, since (1−r^t)(1−β₂^t) ≤ (1−β₁^t)² for r = β₁²/β₂. */
function adamBound(b1: number, b2: number): number {
  if (b1 === 0) return 1 / Math.sqrt(1 - b2);
  if (!(b1 * b1 < b2)) return Number.POSITIVE_INFINITY; // the sum of (β₁²/β₂)^i has no limit, nor has the step
  return (1 - b1) / Math.sqrt((1 - b2) * (1 - (b1 * b1) / b2));
}

export interface LionOptions {
  /** Of the average whose sign is the step. */
  readonly b1?: number;
  /** Of the average that is kept. */
  readonly b2?: number;
  readonly decay?: number;
}
/** The sign of an average of gradients (Chen 2023, algorithm 2). D = √(entries). */
export const lion = ({ b1 = 0.9, b2 = 0.99, decay = 0 }: LionOptions = {}): Rule => {
  share("lion", "b1", b1);
  share("lion", "b2", b2);
  positive("lion", "decay", decay, false);
  return pointwise(
    { m: 0 },
    { b1, b2, decay },
    ({ w, g, m, lr, b1, b2, decay }) => ({
      w: w - lr * (Math.sign(b1 * m + (1 - b1) * g) + decay * w),
      m: b2 * m + (1 - b2) * g,
    }),
    { bound: entries(1) },
  );
};
