// The kernels of one program, each compiled by gpu.js when it first runs.

import { limits } from "../../../compiler/targets/gpujs/limits.js";
import type { GpujsKernel } from "../../../compiler/targets/gpujs/program.js";
import type { Gpu, GpuKernel } from "./load.js";
import { Values } from "./values.js";

/** gpu.js takes no empty arrays; nothing reads this one. */
const nothing = new Float32Array(1);

export class CompiledKernels {
  readonly #compiled: (GpuKernel | undefined)[];
  constructor(
    readonly list: readonly GpujsKernel[],
    readonly gpu: Gpu,
  ) {
    this.#compiled = list.map(() => undefined);
  }
  run(index: number, args: readonly (Values | number)[]): Values {
    const given = args.map((a) => (typeof a === "number" ? a : a.array.length === 0 ? nothing : a.array));
    const compiled = this.#compiled[index];
    if (compiled) return new Values(compiled(...given));
    const k = this.list[index] as GpujsKernel;
    const kernel = this.gpu.createKernel(k.source, {
      output: [k.cells],
      argumentTypes: k.params.map((p) => (p === null ? "Integer" : "Array")),
      returnType: "Number",
      loopMaxIterations: limits.loopMaxIterations,
    });
    for (const f of k.functions) kernel.addFunction(f.source, { argumentTypes: f.argumentTypes, returnType: f.returnType });
    const first = kernel(...given);
    // gpu.js degrades to its cpu mode without a word where webasm cannot take a kernel: that would be a defect of ours.
    const reason = kernel.kernel.fallbackReason;
    if (reason) throw new Error(`gpu.js could not compile kernel ${k.name}: ${reason}`);
    this.#compiled[index] = kernel;
    return new Values(first);
  }
  dispose(): void {
    for (const k of this.#compiled) k?.destroy();
    this.#compiled.fill(undefined);
  }
}
