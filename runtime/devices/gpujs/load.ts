// gpu.js, loaded when a device is made and not before: it is an optional peer, and 70 ms of start-up.
import * as E from "fp-ts/lib/Either.js";
import type { GpujsKernel, GpujsMode } from "../../../compiler/targets/gpujs/index.js";
import { limits } from "../../../compiler/targets/gpujs/index.js";
import { DeviceError } from "../../errors.js";

/** The part of gpu.js that we use. */
interface Gpu {
  createKernel(
    source: string,
    settings: {
      readonly output: readonly number[];
      readonly argumentTypes: readonly string[];
      readonly returnType: string;
      readonly loopMaxIterations: number;
    },
  ): GpuKernel;
  destroy(): Promise<void>;
}
interface GpuKernel {
  (...args: (Float32Array | number)[]): Float32Array;
  addFunction(source: string, settings: { readonly argumentTypes: readonly string[]; readonly returnType: string }): unknown;
  destroy(): void;
  readonly kernel: { readonly fallbackReason?: string | null };
}
export type GpuClass = new (settings: { readonly mode: GpujsMode }) => Gpu;
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

/** The kernels of one program, each compiled when it first runs. */
export class CompiledKernels {
  readonly #gpu: Gpu;
  readonly #compiled: (GpuKernel | undefined)[];
  constructor(
    readonly list: readonly GpujsKernel[],
    mode: GpujsMode,
    gpu: GpuClass,
  ) {
    this.#gpu = new gpu({ mode });
    this.#compiled = list.map(() => undefined);
  }
  run(index: number, args: readonly (Float32Array | number)[]): Float32Array {
    const compiled = this.#compiled[index];
    if (compiled) return compiled(...args);
    const k = this.list[index] as GpujsKernel;
    const kernel = this.#gpu.createKernel(k.source, {
      output: [k.cells],
      argumentTypes: k.params.map((p) => (p === null ? "Integer" : "Array")),
      returnType: "Number",
      loopMaxIterations: limits.loopMaxIterations,
    });
    for (const f of k.functions) kernel.addFunction(f.source, { argumentTypes: f.argumentTypes, returnType: f.returnType });
    const first = kernel(...args);
    // gpu.js degrades to its cpu mode without a word where webasm cannot take a kernel: that would be a defect of ours.
    const reason = kernel.kernel.fallbackReason;
    if (reason) throw new Error(`gpu.js could not compile kernel ${k.name}: ${reason}`);
    this.#compiled[index] = kernel;
    return first;
  }
  async dispose(): Promise<void> {
    for (const k of this.#compiled) k?.destroy();
    this.#compiled.fill(undefined);
    await this.#gpu.destroy();
  }
}
