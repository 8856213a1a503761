// What gpu.js can hold, as data. Every number is a property of the package (its `webasm` and `cpu` modes, version 2.24) or of
// f32, not a choice of ours: docs/gpujs.md says how each was found.

export type GpujsMode = "webasm" | "cpu";

export const limits = {
  /** Integers are exact in f32 below this; buffers (all f32 in gpu.js), cell numbers and dividends stay under it. */
  exactInt: 2 ** 24,
  /** Integer expressions are i32 in `webasm` and f64 in `cpu`; both are exact up to here. */
  maxInt: 2 ** 31 - 1,
  /** Terms of one chain of a fold; partial results are combined in order (design.md, Bits). */
  foldChunk: 256,
  /** gpu.js counts the turns of loops whose bound is not a literal and stops at this number: we never want it to. */
  loopMaxIterations: 2 ** 31 - 1,
} as const;

export const numerics = {
  infinities: true,
  nan: true,
  denormals: true,
  /** Correctly rounded + − × ÷ √ and fma; the others are V8's f64 functions rounded once; hypot alone has 1.6. */
  ulp: 0.51,
} as const;
