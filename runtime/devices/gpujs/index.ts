// The gpu.js device: the portable one, for machines without a compiler or WebGPU. Speed is not its aim. Kernels are functions
// from whole arrays to one whole array, run by gpu.js in WebAssembly, in plain JavaScript, or as fragment shaders of WebGL 2.
// This file is what users meet: names, storage types, checks, messages. What runs is behind a host (host.ts).
import * as E from "fp-ts/lib/Either.js";
import type { Plan } from "../../../compiler/plan.js";
import { type GpujsMode, type GpujsProgram, gpujs, lengthOf, limits } from "../../../compiler/targets/gpujs/index.js";
import type { Device, DeviceState, Executable, HostArray, StateSpec } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { checkRun, checkState, fromStorage, layoutOf, orThrow, type Staged, stateData } from "../../host.js";
import type { GpujsHost } from "./host.js";
import type { LoadModule } from "./load.js";
import { localHost } from "./local.js";
import { checkIntegers, forEachIn, toUser } from "./memory.js";

export interface GpujsOptions {
  /** webasm: f32 in WebAssembly with SIMD; cpu: plain JavaScript, the same bits; webgl2: on the GPU, in browsers. Unless said,
   *  webgl2 where a GPU computes it (in a page or worker, to f32), else webasm. */
  readonly mode?: GpujsMode | undefined;
  /** How to get the package, for hosts that bundle it themselves. */
  readonly load?: LoadModule | undefined;
  /** Where programs run, if not in this thread; its mode is the device's. */
  readonly host?: GpujsHost | undefined;
}

/** What is freed is of no more interest, nor is whether the host that held it is still there. */
const forget = (freeing: Promise<void>): void => void freeing.catch(() => undefined);

interface Entry {
  readonly spec: StateSpec;
  readonly memory: number;
}
class State implements DeviceState {
  readonly entries = new Map<string, Entry>();
  #disposed = false;
  constructor(readonly device: GpujsDevice) {
    device.owned.add(this);
  }
  async extend(specs: readonly StateSpec[]): Promise<void> {
    const memories = await this.device.host.alloc(specs.map((s) => s.elements));
    for (const [i, spec] of specs.entries()) this.entries.set(spec.path, { spec, memory: memories[i] as number });
    if (this.#disposed) this.#free();
  }
  async draw(): Promise<boolean> {
    return false;
  }
  check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the state" });
  }
  find(path: string): Entry {
    this.check();
    const entry = this.entries.get(path);
    if (!entry) throw new DeviceError({ kind: "UnknownState", path, known: [...this.entries.keys()] });
    return entry;
  }
  async read(path: string): Promise<HostArray> {
    const { spec, memory } = this.find(path);
    const values = await this.device.host.read(memory);
    this.check();
    return toUser(spec.dtype, values);
  }
  async write(path: string, given: ArrayLike<number>): Promise<void> {
    const { spec, memory } = this.find(path);
    const values = Float32Array.from(fromStorage(spec.dtype, orThrow(stateData(spec, given)))); // the caller may change its array
    if (spec.dtype === "i32") checkIntegers(path, values, limits.exactInt);
    await this.device.host.write(memory, values);
  }
  #free(): void {
    forget(this.device.host.free([...this.entries.values()].map((e) => e.memory)));
    this.entries.clear();
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.device.owned.delete(this);
    this.#free();
  }
}

class Program implements Executable {
  readonly kernels: Executable["kernels"];
  #disposed = false;
  constructor(
    readonly device: GpujsDevice,
    readonly plan: Plan,
    readonly program: GpujsProgram,
    readonly number: number,
  ) {
    this.kernels = program.kernels.map((k) => ({
      name: k.name,
      source: [...k.functions.map((f) => f.source), ...(k.native ? [k.native.source] : []), k.source].join("\n\n"),
    }));
    device.owned.add(this);
  }
  #check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: `program ${this.plan.name}` });
  }

  async run(
    state: DeviceState,
    inputs: Readonly<Record<string, ArrayLike<number>>>,
    extents: ReadonlyMap<number, number>,
  ): Promise<Readonly<Record<string, HostArray>>> {
    this.#check();
    if (!(state instanceof State) || state.device !== this.device) throw new DeviceError({ kind: "ForeignState" });
    const { plan, program } = this;
    const { sizes, extents: now, staged } = orThrow(checkRun(plan, inputs, extents));
    const outputs = Object.entries(plan.outputs);
    const result = await this.device.host.run(this.number, {
      ints: Object.fromEntries(program.extents.map((name, i) => [name, sizes[i] as number])),
      inputs: staged.map((s) => [program.inputs[s.name] as number, this.#spread(s)]),
      state: this.#states(state),
      outputs: outputs.map(([name]) => program.outputs[name] as number),
    });
    this.#check();
    state.check(); // disposed meanwhile: the results are not whole
    if (!result.ok) throw new DeviceError(result.fault);
    return Object.fromEntries(
      outputs.map(([name, b], k) => {
        const layout = layoutOf(b, now);
        const dense = new Float32Array(layout.elements);
        const from = result.values[k] as Float32Array;
        forEachIn(layout, (d, s) => {
          dense[d] = from[s] as number;
        });
        return [name, toUser(b.dtype, dense)];
      }),
    );
  }
  /** An input as its buffer holds it: values, at their places among maximal sizes. */
  #spread(s: Staged): Float32Array {
    const values = fromStorage(s.buffer.dtype, s.data);
    if (s.buffer.dtype === "i32") checkIntegers(s.name, values, limits.exactInt);
    const out = new Float32Array(lengthOf(this.program.buffers[this.program.inputs[s.name] as number] as GpujsProgram["buffers"][number]));
    forEachIn(s.layout, (dense, strided) => {
      out[strided] = values[dense] as number;
    });
    return out;
  }
  #states(state: State): readonly (readonly [number, number])[] {
    return Object.entries(this.plan.state).map(([path, b]) => {
      const { spec, memory } = state.find(path);
      const number = this.program.state[path] as number;
      orThrow(checkState(b, lengthOf(this.program.buffers[number] as GpujsProgram["buffers"][number]), spec));
      return [number, memory];
    });
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.device.owned.delete(this);
    forget(this.device.host.close(this.number));
  }
}

export class GpujsDevice implements Device {
  readonly lowering = { tiles: false };
  readonly name = "gpujs";
  readonly owned = new Set<Disposable>();
  #disposed = false;
  constructor(readonly host: GpujsHost) {}
  get mode(): GpujsMode {
    return this.host.mode;
  }
  get hardware(): string {
    return this.mode;
  }
  #check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the gpujs device" });
  }
  async alloc(specs: readonly StateSpec[]): Promise<DeviceState> {
    this.#check();
    const state = new State(this);
    await state.extend(specs);
    return state;
  }
  async compile(plan: Plan): Promise<Executable> {
    this.#check();
    const program = gpujs(this.mode).compile(plan);
    if (E.isLeft(program))
      throw new DeviceError({
        kind: "CannotHold",
        device: "gpujs",
        reason: program.left.message,
        todo: "use the native device, or a smaller model or batch",
      });
    return new Program(this, plan, program.right, await this.host.open(program.right));
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const d of [...this.owned]) d[Symbol.dispose]();
    forget(this.host.destroy());
  }
}

/** Left: the package is missing (the message says how to install it), the mode is unknown, or this is no browser with WebGL 2. */
export async function createGpujs(options: GpujsOptions = {}): Promise<E.Either<DeviceError, GpujsDevice>> {
  if (options.host) return E.right(new GpujsDevice(options.host));
  const host = await localHost(options);
  return E.isLeft(host) ? host : E.right(new GpujsDevice(host.right));
}
