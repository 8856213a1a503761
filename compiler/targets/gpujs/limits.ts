// What gpu.js can hold, as data. Every number is a property of the package (version 2.24), of WebGL 2 or of f32, not a
// choice of ours: docs/gpujs.md says how each was found.

/** webasm: f32 in WebAssembly; cpu: JavaScript; webgl2: fragment shaders, in browsers. */
export type GpujsMode = "webasm" | "cpu" | "webgl2";
export const gpujsModes: readonly GpujsMode[] = ["webasm", "cpu", "webgl2"];

export const limits = {
  /** Integers are exact in f32 below this; buffers (all f32 in gpu.js), cell numbers and dividends stay under it. */
  exactInt: 2 ** 24,
  /** Integer expressions are i32 in `webasm` and `webgl2` and f64 in `cpu`; all are exact up to here. */
  maxInt: 2 ** 31 - 1,
  /** Terms of one chain of a fold; partial results are combined in order (design.md, Bits). */
  foldChunk: 256,
  /** gpu.js counts the turns of loops whose bound is not a literal and stops at this number: we never want it to. */
  loopMaxIterations: 2 ** 31 - 1,
  /** Arrays that a kernel reads in `webgl2`: WebGL guarantees 16 textures, and gpu.js needs the last for itself. */
  textures: 15,
} as const;

/** Of `webasm` and `cpu`. */
export const numerics = {
  infinities: true,
  nan: true,
  denormals: true,
  /** Correctly rounded + − × ÷ √ and fma; the others are V8's f64 functions rounded once; hypot alone has 1.6. */
  ulp: 0.51,
} as const;
