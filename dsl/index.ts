// The language. Everything that an author writes with is exported here, and nothing else.
export { add, cast, div, mul, scale, stopGradient, sub } from "./arith.js";
export { at, top } from "./at.js";
export { type BoundOptions, type Budget, inputNorms, type Logits, logitBudget, logitCertificate } from "./bound.js";
export { ArgumentError, ArrowError, AxisError, DTypeError, MallardError, RuleError, SizeError } from "./errors.js";
export {
  argMax,
  type Carrier,
  cumprod,
  cumsum,
  dot,
  fold,
  logSumExp,
  type Monoid,
  max,
  mean,
  min,
  monoid,
  norm,
  type Prefix,
  prod,
  scan,
  sum,
} from "./fold.js";
export { bools, type Formula, formula, type Inputs, ints, type Result, type Spec, type Typed } from "./formula.js";
export { bounded, boundOf, find, label } from "./label.js";
export { constant, grid, input, type Key, keys, normal, size, sizes, uniform, upTo } from "./leaves.js";
export { type Captured, map } from "./map.js";
export {
  gain,
  type Init,
  type Model,
  model,
  type Param,
  type Params,
  type Parts,
  type Run,
  type Storage,
  weight,
  withStorage,
  withTraining,
} from "./model.js";
export { deriveRates, type RateOptions } from "./rates.js";
export { repeat } from "./repeat.js";
export { adjusted, apart, pace, pointwise, type Rule, rule, type Schedule, type StepBound, type StepSize, type StepSlice } from "./rule.js";
export { each, type Optimizer, type Rates, type Update } from "./rules.js";
export { dropout, gelu, sigmoid, silu } from "./std/activations.js";
export { attend, attention } from "./std/attention.js";
export { crossEntropy } from "./std/cross-entropy.js";
export { layerNorm, rms, softmax } from "./std/normal.js";
export { rope } from "./std/rope.js";
export { unmasked } from "./std/unmasked.js";
export { stepsOf } from "./steps.js";
export { grad, Layers, leavesOf, mapTree, zipTree } from "./tree.js";
export type { AnyTensor, Axes, DType, Indices, Int, Real, Scalar, Tensor, Tree } from "./types.js";
export { concat, merge, pad, rename, slice, split, stack, taps, view } from "./view.js";
