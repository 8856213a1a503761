// The host that runs gpu.js in this thread. Arrays are its own; jobs follow one another in one queue.
// A page that only runs programs bundles this file; nothing here imports the compiler's part of the target.
import * as E from "fp-ts/lib/Either.js";
import { type GpujsMode, gpujsModes } from "../../../compiler/targets/gpujs/limits.js";
import { type GpujsProgram, lengthOf } from "../../../compiler/targets/gpujs/program.js";
import { DeviceError, type DeviceFault } from "../../errors.js";
import type { GpujsCall, GpujsHost, GpujsResult } from "./host.js";
import { HostKernels, type Kernels, TextureKernels, Textures } from "./kernels.js";
import { type Gpu, type GpuClass, type LoadModule, loadGpujs } from "./load.js";
import { Runner } from "./run.js";
import { Values } from "./values.js";

interface Opened {
  readonly program: GpujsProgram;
  readonly kernels: Kernels;
  /** Its own; in webgl2 all programs share the host's. */
  readonly gpu: Gpu | null;
  readonly tables: ReadonlyMap<number, Values>;
}

export class LocalGpujsHost implements GpujsHost {
  readonly #memories = new Map<number, { values: Values }>();
  readonly #programs = new Map<number, Opened>();
  #next = 0;
  #tail: Promise<unknown> = Promise.resolve();
  /** webgl2 alone. */
  readonly #textures: Textures | null;
  constructor(
    readonly mode: GpujsMode,
    readonly gpu: GpuClass,
  ) {
    this.#textures = mode === "webgl2" ? new Textures(new gpu({ mode })) : null;
  }

  #queued<T>(job: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(job);
    this.#tail = result.catch(() => undefined); // its caller has the error
    return result;
  }
  #memory(memory: number): { values: Values } {
    const m = this.#memories.get(memory);
    if (!m) throw new DeviceError({ kind: "Disposed", what: "the state" });
    return m;
  }

  async alloc(elements: readonly number[]): Promise<readonly number[]> {
    return elements.map((n) => {
      const memory = this.#next++;
      this.#memories.set(memory, { values: new Values(new Float32Array(n)) });
      return memory;
    });
  }
  read(memory: number): Promise<Float32Array> {
    return this.#queued(() => {
      const values = this.#memory(memory).values.array.slice();
      const fault = this.#gpuFault(); // what is read of a lost context are zeros
      if (fault) throw new DeviceError(fault);
      return values;
    });
  }
  write(memory: number, values: Float32Array): Promise<void> {
    return this.#queued(() => this.#memory(memory).values.mutable.set(values));
  }
  async free(memories: readonly number[]): Promise<void> {
    const freed = memories.map((m) => this.#memories.get(m));
    for (const m of memories) this.#memories.delete(m);
    await this.#queued(() => {
      for (const m of freed) m?.values.free();
    });
  }

  async open(program: GpujsProgram): Promise<number> {
    const tables = new Map<number, Values>();
    for (const [b, { data }] of program.buffers.entries()) if (data) tables.set(b, new Values(data));
    const number = this.#next++;
    const gpu = this.#textures ? null : new this.gpu({ mode: this.mode });
    const kernels = this.#textures ? new TextureKernels(program.kernels, this.#textures) : new HostKernels(program.kernels, gpu as Gpu);
    this.#programs.set(number, { program, kernels, gpu, tables });
    return number;
  }
  run(number: number, call: GpujsCall): Promise<GpujsResult> {
    return this.#queued(async () => {
      try {
        const values = await this.#run(number, call);
        const fault = this.#gpuFault();
        return fault ? { ok: false, fault } : { ok: true, values };
      } catch (e) {
        const fault = e instanceof DeviceError ? e.fault : this.#gpuFault(); // what a lost context makes gpu.js throw says nothing
        if (fault) return { ok: false, fault };
        throw e;
      }
    });
  }
  /** WebGL reports what went wrong only to those who ask. */
  #gpuFault(): DeviceFault | null {
    const gl = this.#textures?.gpu.context;
    if (!gl) return null;
    if (gl.isContextLost())
      return {
        kind: "RunFailed",
        reason: "the browser took the GPU away (the WebGL context is lost). Open the device again and go on from a checkpoint",
      };
    const error = gl.getError();
    if (error === gl.NO_ERROR) return null;
    const what = error === gl.OUT_OF_MEMORY ? "the GPU is out of memory: use a smaller batch or model" : `WebGL error ${error}`;
    return { kind: "RunFailed", reason: what };
  }
  async #run(number: number, call: GpujsCall): Promise<readonly Float32Array[]> {
    const opened = this.#programs.get(number);
    if (!opened) throw new DeviceError({ kind: "Disposed", what: "the program" });
    const { program } = opened;
    const arrays = new Map<number, Values>(opened.tables);
    const passing = new Set<number>();
    for (const [b, values] of call.inputs) {
      arrays.set(b, new Values(values));
      passing.add(b);
    }
    for (const [b, buffer] of program.buffers.entries())
      if (buffer.role === "output" || buffer.role === "temp") {
        arrays.set(b, new Values(new Float32Array(lengthOf(buffer))));
        passing.add(b);
      }
    for (const [b, memory] of call.state) arrays.set(b, this.#memory(memory).values);
    const alive = () => this.#programs.has(number) && call.state.every(([, memory]) => this.#memories.has(memory));
    try {
      await new Runner(program, opened.kernels, { arrays, ints: new Map(Object.entries(call.ints)), alive }).steps(program.steps);
      if (!this.#programs.has(number)) throw new DeviceError({ kind: "Disposed", what: `program ${program.name}` });
      return call.outputs.map((b) => (arrays.get(b) as Values).array);
    } finally {
      // A store may have put another array in a state's place, whether or not the run came to its end.
      for (const [b, memory] of call.state) {
        const values = arrays.get(b) as Values;
        const m = this.#memories.get(memory);
        if (m) m.values = values;
        else values.free();
      }
      for (const b of passing) arrays.get(b)?.free();
    }
  }
  async close(number: number): Promise<void> {
    const opened = this.#programs.get(number);
    this.#programs.delete(number);
    if (opened)
      await this.#queued(async () => {
        for (const t of opened.tables.values()) t.free();
        for (const m of this.#memories.values()) m.values.home(); // a texture's maker reads it back
        opened.kernels.dispose();
        await opened.gpu?.destroy();
      });
  }
  async destroy(): Promise<void> {
    await Promise.all([this.free([...this.#memories.keys()]), ...[...this.#programs.keys()].map((p) => this.close(p))]);
    await this.#queued(() => this.#textures?.gpu.destroy());
  }
}

/** Of the canvas and of WebGL2RenderingContext, which Node's types have not. */
interface Canvas {
  getContext(kind: "webgl2", how: { readonly failIfMajorPerformanceCaveat: boolean }): WebGl | null;
}
interface WebGl {
  getExtension(name: "WEBGL_debug_renderer_info"): { readonly UNMASKED_RENDERER_WEBGL: number } | null;
  getParameter(name: number): unknown;
}
const PROCESSORS = /swiftshader|llvmpipe|softpipe|software|basic render/i;
/** Whether WebGL 2 is computed by a GPU. A processor that stands in for one is slower at it than at WebAssembly. */
function hasGpu(): boolean {
  const { document, OffscreenCanvas } = globalThis as unknown as {
    readonly document?: { createElement(name: "canvas"): Canvas };
    readonly OffscreenCanvas?: new (width: number, height: number) => Canvas;
  };
  const canvas = document ? document.createElement("canvas") : OffscreenCanvas ? new OffscreenCanvas(1, 1) : undefined;
  const gl = canvas?.getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return !info || !PROCESSORS.test(String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)));
}

/** A host in this thread. `mode` left out: webgl2 where a GPU computes it, else webasm. */
export async function localHost(
  o: { readonly mode?: GpujsMode | undefined; readonly load?: LoadModule | undefined } = {},
): Promise<E.Either<DeviceError, GpujsHost>> {
  if (o.mode !== undefined && !gpujsModes.includes(o.mode)) {
    const expected = gpujsModes.map((m) => JSON.stringify(m)).join(" or ");
    return E.left(new DeviceError({ kind: "BadOption", option: "mode", value: String(o.mode), expected }));
  }
  const gpu = await loadGpujs(o.load);
  if (E.isLeft(gpu)) return gpu;
  const offered = gpu.right.isWebGL2Supported && gpu.right.isSinglePrecisionSupported;
  if (o.mode === "webgl2" && !offered)
    return E.left(
      new DeviceError({
        kind: "CannotHold",
        device: "gpujs",
        reason: 'mode "webgl2" needs a browser whose WebGL 2 draws to 32-bit floats (EXT_color_buffer_float), and there is none here',
        todo: 'use mode "webasm"',
      }),
    );
  return E.right(new LocalGpujsHost(o.mode ?? (offered && hasGpu() ? "webgl2" : "webasm"), gpu.right));
}
