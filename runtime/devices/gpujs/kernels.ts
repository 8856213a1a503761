// The kernels of one program, each compiled by gpu.js when it first runs.
//
// Note: webgl2. All kernels of a host share one context (browsers give a page about sixteen), so that results stay on the GPU
// from kernel to kernel. A result is a texture of its own (`immutable`), freed by whoever holds it. Arrays of the host become
// textures of the same layout by a kernel that copies.

import { shapeOf, shiftOf } from "../../../compiler/targets/gpujs/glsl/texture.js";
import { limits } from "../../../compiler/targets/gpujs/limits.js";
import type { GpujsKernel } from "../../../compiler/targets/gpujs/program.js";
import type { Gpu, GpuKernel, Texture } from "./load.js";
import { withSharedMemories } from "./memories.js";
import { type Resident, Values } from "./values.js";

/** gpu.js takes no empty arrays; nothing reads this one. */
const nothing = new Float32Array(1);
/** 32-bit floats everywhere, whatever gpu.js thinks of the GPU's speed. */
const onGpu = { pipeline: true, immutable: true, precision: "single", tactic: "precision" } as const;

export interface Kernels {
  run(index: number, args: readonly (Values | number)[]): Values;
  dispose(): void;
}

/** webasm and cpu: from arrays of the host to an array of the host. */
export class HostKernels implements Kernels {
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
    if (compiled) return values(compiled(...given));
    const k = this.list[index] as GpujsKernel;
    const kernel = this.gpu.createKernel(k.source, {
      output: [k.cells],
      argumentTypes: k.params.map((p) => (p === null ? "Integer" : "Array")),
      returnType: "Number",
      loopMaxIterations: limits.loopMaxIterations,
    });
    for (const f of k.functions) kernel.addFunction(f.source, { argumentTypes: f.argumentTypes, returnType: f.returnType });
    const first = withSharedMemories(() => kernel(...given));
    // gpu.js degrades to its cpu mode without a word where webasm cannot take a kernel: that would be a defect of ours.
    const reason = kernel.kernel.fallbackReason;
    if (reason) throw new Error(`gpu.js could not compile kernel ${k.name}: ${reason}`);
    this.#compiled[index] = kernel;
    return values(first);
  }
  dispose(): void {
    for (const k of this.#compiled) k?.destroy();
    this.#compiled.fill(undefined);
  }
}
function values(result: Float32Array | Texture): Values {
  if (!(result instanceof Float32Array)) throw new Error("gpu.js gave a texture where an array was asked for");
  return new Values(result);
}

/** Makes textures of arrays, for all programs of a host. */
export class Textures {
  readonly #copies = new Map<number, GpuKernel>();
  constructor(readonly gpu: Gpu) {}
  of = (array: Float32Array): Resident => {
    const given = array.length === 0 ? nothing : array;
    const copy = this.#copies.get(given.length) ?? this.#copy(given.length);
    return texture(copy(given), given.length);
  };
  #copy(length: number): GpuKernel {
    const argumentTypes = { array: "Array", x: "Integer", y: "Integer" };
    const kernel = this.gpu.createKernel("function kernel(a) {\n  return packed(a, this.thread.x, this.thread.y);\n}", {
      ...onGpu,
      output: shapeOf(length),
      argumentTypes: ["Array"],
      returnType: "Number",
      loopMaxIterations: 1,
    });
    // gpu.js packs four numbers of an array into a texel.
    const source = `float packed(sampler2D a, ivec2 size, ivec3 axes, int x, int y) {
  int cell = (y << ${shiftOf(length)}) + x;
  int texel = cell >> 2;
  return texelFetch(a, ivec2(texel % size.x, texel / size.x), 0)[cell & 3];
}`;
    kernel.addNativeFunction("packed", source, { argumentTypes, returnType: "Number" });
    this.#copies.set(length, kernel);
    return kernel;
  }
}

/** A texture as values of an array: its last row may be longer. */
function texture(result: Float32Array | Texture, length: number): Resident {
  if (result instanceof Float32Array) throw new Error("gpu.js gave an array where a texture was asked for");
  return {
    of: result,
    toArray: () => {
      const rows = result.toArray();
      if (rows instanceof Float32Array) return rows;
      const all = new Float32Array(length);
      let at = 0;
      for (const row of rows) {
        all.set(row.subarray(0, length - at), at);
        at += row.length;
      }
      return all;
    },
    delete: () => result.delete(),
  };
}

/** webgl2: from textures to a texture. */
export class TextureKernels implements Kernels {
  readonly #compiled: (GpuKernel | undefined)[];
  constructor(
    readonly list: readonly GpujsKernel[],
    readonly textures: Textures,
  ) {
    this.#compiled = list.map(() => undefined);
  }
  run(index: number, args: readonly (Values | number)[]): Values {
    const given = args.map((a) => (typeof a === "number" ? a : a.resident(this.textures.of).of));
    const compiled = this.#compiled[index] ?? this.#compile(index);
    return new Values(texture(compiled(...given), this.list[index]?.cells ?? 0));
  }
  #compile(index: number): GpuKernel {
    const k = this.list[index] as GpujsKernel;
    if (!k.native) throw new Error(`compiler bug: kernel ${k.name} was made for another mode than webgl2`);
    const types = k.params.map((p) => (p === null ? "Integer" : "ArrayTexture(1)"));
    const kernel = this.textures.gpu.createKernel(k.source, {
      ...onGpu,
      output: shapeOf(k.cells),
      argumentTypes: types,
      returnType: "Number",
      loopMaxIterations: limits.loopMaxIterations,
    });
    const argumentTypes = Object.fromEntries([...types, "Integer", "Integer"].map((t, i) => [`x${i}`, t]));
    kernel.addNativeFunction(k.native.name, k.native.source, { argumentTypes, returnType: "Number" });
    this.#compiled[index] = kernel;
    return kernel;
  }
  dispose(): void {
    for (const k of this.#compiled) {
      if (!k) continue;
      // The context draws every kernel with the vertices of the one that was built last: they must outlive it.
      k.kernel.buffer = null;
      k.destroy();
    }
    this.#compiled.fill(undefined);
  }
}
