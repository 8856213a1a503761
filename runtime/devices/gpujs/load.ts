// gpu.js, loaded when a device is made and not before: it is an optional peer, and 70 ms of start-up.
import * as E from "fp-ts/lib/Either.js";
import type { GpujsMode } from "../../../compiler/targets/gpujs/limits.js";
import { DeviceError } from "../../errors.js";

/** The part of gpu.js that we use. */
export interface Gpu {
  createKernel(source: string, settings: KernelSettings): GpuKernel;
  destroy(): Promise<void>;
  /** webgl2: there once a kernel was made. */
  readonly context?: GpuContext | null;
}
/** Of WebGL2RenderingContext. */
interface GpuContext {
  isContextLost(): boolean;
  getError(): number;
  readonly NO_ERROR: number;
  readonly OUT_OF_MEMORY: number;
}
interface KernelSettings {
  readonly output: readonly number[];
  readonly argumentTypes: readonly string[];
  readonly returnType: string;
  readonly loopMaxIterations: number;
  readonly pipeline?: boolean;
  readonly immutable?: boolean;
  readonly precision?: "single";
  readonly tactic?: "precision";
}
export interface Texture {
  /** Of two dimensions, rows. */
  toArray(): Float32Array | readonly Float32Array[];
  delete(): void;
}
export interface GpuKernel {
  /** With `pipeline`, in `webgl2`, a texture; else an array. */
  (...args: (Float32Array | Texture | number)[]): Float32Array | Texture;
  addFunction(source: string, settings: { readonly argumentTypes: readonly string[]; readonly returnType: string }): unknown;
  addNativeFunction(
    name: string,
    source: string,
    settings: { readonly argumentTypes: Readonly<Record<string, string>>; readonly returnType: string },
  ): unknown;
  destroy(): void;
  readonly kernel: { readonly fallbackReason?: string | null; buffer?: unknown };
}
export interface GpuClass {
  new (settings: { readonly mode: GpujsMode }): Gpu;
  readonly isWebGL2Supported: boolean;
  readonly isSinglePrecisionSupported: boolean;
}
export type LoadModule = () => Promise<unknown>;

// The package's own types declare a kernel's result as nine kinds of array; what it gives for one output dimension is a Float32Array.
const isGpuModule = (m: unknown): m is { readonly GPU: GpuClass } => typeof m === "object" && m !== null && "GPU" in m && typeof m.GPU === "function";

export async function loadGpujs(module: LoadModule = () => import("gpu.js")): Promise<E.Either<DeviceError, GpuClass>> {
  const missing = (reason: string) =>
    E.left(new DeviceError({ kind: "MissingPackage", device: "gpujs", name: "gpu.js", install: "install it: npm i gpu.js", reason }));
  try {
    const loaded = await module();
    if (isGpuModule(loaded)) return E.right(loaded.GPU);
    // A CommonJS package, seen from a bundler that gives only its default export.
    const inner = typeof loaded === "object" && loaded !== null && "default" in loaded ? loaded.default : undefined;
    return isGpuModule(inner) ? E.right(inner.GPU) : missing("it has no export GPU");
  } catch (e) {
    return missing(e instanceof Error ? (e.message.split("\n")[0] ?? "") : String(e));
  }
}
