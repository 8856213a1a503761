// What the tests of the bounds share: a rule whose steps are as long as its bound says, in the gradient's direction.
import { each, map, norm, rule } from "../../index.js";

/** w − lr·g/‖g‖: D = 1, reached by every step, for a matrix and no less for the one head that a gradient is of. */
export const unitRule = rule(
  "out in",
  {},
  ({ w, g, lr }) => ({ w: map({ w, g, lr, n: norm(g, "out", "in") }, ({ w, g, lr, n }) => (n > 0 ? w - (lr * g) / n : w)) }),
  { bound: () => ({ spectral: 1, frobenius: 1 }) },
);
export const unit = each({ "*": unitRule });
