// A schedule of an optimizer's own, beside the rate that it is given: `pace` does the same for one rule.
import { map, type Optimizer, RuleError, type Schedule, type Tree } from "../../dsl/index.js";

/** The optimizer at `factor(t)` times its rate. D grows by the schedule's peak. */
export const scheduled = <S extends Tree>(inner: Optimizer<S>, factor: Schedule): Optimizer<S> => {
  const { peak } = factor;
  if (!Number.isFinite(peak)) throw new RuleError(`scheduled: the schedule's peak is ${peak}`, "schedules of models/schedules.ts know theirs");
  return {
    ...(inner.stepBound && {
      stepBound: (x) => {
        const d = inner.stepBound?.(x) ?? null;
        return d && { spectral: d.spectral * peak, frobenius: d.frobenius * peak };
      },
    }),
    init: (x) => inner.init(x),
    update: (x) => inner.update({ ...x, lr: map({ lr: x.lr, f: factor(x.t) }, ({ lr, f }) => lr * f) }),
  };
};
