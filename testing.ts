// Property tests for what users write: arbitraries for fast-check, and matchers for vitest, which importing this registers.
import "./testing/matchers.js";

export { agreement, type GradientOptions, rightGradient, type TargetOptions } from "./testing/agreement.js";
export { alignedStep, alignedSteps, even, inputs, type Matrix, rankDeficient, shapes, weights } from "./testing/arbitraries.js";
export {
  type Bound,
  type BoundedOptions,
  boundedLogitChange,
  type Failure,
  type Held,
  type Shape,
  type Verdict,
  type Watch,
} from "./testing/bounded.js";
export { counterexample } from "./testing/counterexample.js";
export { type Recipe, scales } from "./testing/draws.js";
