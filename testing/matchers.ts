// vitest's matchers for expressions. Importing this registers them.
import { expect } from "vitest";
import type { LogitModel } from "../index.js";
import { agreement, type GradientOptions, rightGradient, type TargetOptions } from "./agreement.js";
import { type BoundedOptions, boundedLogitChange, type Shape } from "./bounded.js";
import { counterexample, short } from "./counterexample.js";
import type { Variant } from "./expressions.js";

interface MallardMatchers<R> {
  /** No step of the optimizer moves a logit of this model (or of what this function of sizes gives) by more than the
   *  certificate, nor by more than the budget of the norms at the start (τη), whatever the weights have grown to.
   *  Throws what is wrong with the model or the optimizer: a logit without a bound, a step without one. */
  toHaveBoundedLogitChange: <S extends Shape>(options: BoundedOptions<S>) => R;
  /** The derivative, of every output with respect to every input of floats, is what finite differences in f64 say. */
  toHaveRightGradient: <S extends Shape>(options?: GradientOptions<S>) => Promise<R>;
  /** Compiled devices give what the f64 oracle gives, outputs and gradients, within the bar of the targets. */
  toAgreeOnTargets: <S extends Shape>(options?: TargetOptions<S>) => Promise<R>;
}
declare module "vitest" {
  // biome-ignore lint/suspicious/noExplicitAny: vitest's own declaration, which this extends
  interface Matchers<T = any> extends MallardMatchers<void> {}
}

expect.extend({
  toHaveBoundedLogitChange(variant: LogitModel | ((s: Shape) => LogitModel), options: BoundedOptions) {
    const verdict = boundedLogitChange(variant, options);
    if ("failure" in verdict) return { pass: false, message: () => counterexample(verdict.failure) };
    const { runs, tightest } = verdict.held;
    const parts = Object.entries(tightest).map(([bound, part]) => `${short(100 * part)} % of the ${bound}`);
    return { pass: true, message: () => `no step of ${runs} moves the logits further than allowed: at most ${parts.join(", ")}` };
  },
  async toHaveRightGradient(variant: Variant<Shape>, options?: GradientOptions) {
    const fault = await rightGradient(variant, options);
    return { pass: fault === null, message: () => fault?.message ?? "the gradients agree with finite differences" };
  },
  async toAgreeOnTargets(variant: Variant<Shape>, options?: TargetOptions) {
    const fault = await agreement(variant, options);
    return { pass: fault === null, message: () => fault?.message ?? "the devices agree with the f64 oracle" };
  },
});
