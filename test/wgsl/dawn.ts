// Dawn without a GPU: its null back end parses, validates and checks the uniformity of shaders (Tint), and makes pipelines
// of them within the limits that a device was asked for.
import { create, globals } from "webgpu";
import type { WgslPipeline, WgslProgram } from "../../compiler/targets/wgsl/index.js";

export interface Validator {
  /** What Dawn says of each pipeline: nothing where it is valid. */
  problems(program: WgslProgram): Promise<readonly string[]>;
  pipeline(p: Pick<WgslPipeline, "source" | "access" | "ints">): Promise<readonly string[]>;
  [Symbol.dispose](): void;
}
/** The default limits of WebGPU; `features` beside. */
export async function validator(features: readonly GPUFeatureName[] = []): Promise<Validator> {
  Object.assign(globalThis, globals);
  // The process cannot exit while this object is reachable.
  let gpu: GPU | null = create(["backend=null"]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("the null back end has no adapter");
  const device = await adapter.requestDevice({ requiredFeatures: [...features] });
  const known = new Map<string, readonly string[]>();
  const pipeline: Validator["pipeline"] = async ({ source, access, ints }) => {
    const seen = known.get(source);
    if (seen) return seen;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: source });
    const info = await module.getCompilationInfo();
    const entries = access.map(
      (a, binding): GPUBindGroupLayoutEntry => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: a === "read" ? "read-only-storage" : "storage" },
      }),
    );
    if (ints > 0) entries.push({ binding: access.length, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform" } });
    const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
    device.createComputePipeline({ layout, compute: { module, entryPoint: "main" } });
    const error = await device.popErrorScope();
    const errors = info.messages.filter((m) => m.type === "error").map((m) => `${m.lineNum}: ${m.message}`);
    const out = error && errors.length === 0 ? [error.message] : errors;
    known.set(source, out);
    return out;
  };
  return {
    pipeline,
    problems: async (program) => {
      const out: string[] = [];
      for (const p of program.pipelines) for (const e of await pipeline(p)) out.push(`${p.name}: ${e}`);
      return out;
    },
    [Symbol.dispose]: () => {
      device.destroy();
      gpu = null;
    },
  };
}
