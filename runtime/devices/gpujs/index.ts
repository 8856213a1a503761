// The gpu.js device: the portable one, for machines without a compiler. Speed is not its aim. Buffers live on the host;
// kernels are functions from whole arrays to one whole array, run by gpu.js in WebAssembly or in plain JavaScript.
import * as E from "fp-ts/lib/Either.js";
import type { Buffer } from "../../../compiler/lower/expr.js";
import { elements } from "../../../compiler/lower/expr.js";
import type { Plan } from "../../../compiler/plan.js";
import { type GpujsMode, type GpujsProgram, gpujs, limits } from "../../../compiler/targets/gpujs/index.js";
import type { Device, DeviceState, Executable, HostArray, StateSpec } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { checkExtents, describeAxes, fromStorage, layoutOf, type Staged, stageInputs, toStorage } from "../../host.js";
import { CompiledKernels, type GpuClass, type LoadModule, loadGpujs } from "./load.js";
import { checkIntegers, forEachIn, toUser } from "./memory.js";
import { frame, Runner } from "./run.js";

export interface GpujsOptions {
  /** webasm (the default): f32 in WebAssembly with SIMD; cpu: plain JavaScript. Both give the same bits. */
  readonly mode?: GpujsMode;
  /** How to get the package, for hosts that bundle it themselves. */
  readonly load?: LoadModule;
}

const right = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};

class State implements DeviceState {
  readonly entries = new Map<string, { readonly spec: StateSpec; readonly data: Float32Array }>();
  #disposed = false;
  /** Runs on one state follow one another. */
  tail: Promise<unknown> = Promise.resolve();
  constructor(
    readonly device: GpujsDevice,
    specs: readonly StateSpec[],
  ) {
    this.#add(specs);
    device.owned.add(this);
  }
  #add(specs: readonly StateSpec[]): void {
    for (const spec of specs) this.entries.set(spec.path, { spec, data: new Float32Array(spec.elements) });
  }
  async extend(specs: readonly StateSpec[]): Promise<void> {
    this.#add(specs);
  }
  async draw(): Promise<boolean> {
    return false;
  }
  get alive(): boolean {
    return !this.#disposed;
  }
  find(path: string) {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the state" });
    const entry = this.entries.get(path);
    if (!entry) throw new DeviceError({ kind: "UnknownState", path, known: [...this.entries.keys()] });
    return entry;
  }
  queued<T>(job: () => T | Promise<T>): Promise<T> {
    const result = this.tail.then(job);
    this.tail = result.catch(() => undefined); // its caller has the error
    return result;
  }
  async read(path: string): Promise<HostArray> {
    this.find(path);
    return this.queued(() => {
      const { spec, data } = this.find(path);
      return toUser(spec.dtype, data);
    });
  }
  async write(path: string, given: ArrayLike<number>): Promise<void> {
    const { spec } = this.find(path);
    if (given.length !== spec.elements)
      throw new DeviceError({ kind: "InputLength", name: path, expected: spec.dtype, elements: spec.elements, got: given.length });
    const values = fromStorage(spec.dtype, right(toStorage(path, spec.dtype, given))).slice(); // the caller may change its array
    if (spec.dtype === "i32") checkIntegers(path, values, limits.exactInt);
    return this.queued(() => this.find(path).data.set(values));
  }
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.entries.clear();
    this.device.owned.delete(this);
  }
}

class Program implements Executable {
  readonly kernels: Executable["kernels"];
  readonly #compiled: CompiledKernels;
  readonly #tables = new Map<Buffer, Float32Array>();
  #disposed = false;
  constructor(
    readonly device: GpujsDevice,
    readonly plan: Plan,
    readonly program: GpujsProgram,
    gpu: GpuClass,
  ) {
    this.kernels = program.kernels.map((k) => ({ name: k.name, source: [...k.functions.map((f) => f.source), k.source].join("\n\n") }));
    this.#compiled = new CompiledKernels(program.kernels, device.mode, gpu);
    for (const b of plan.buffers) if (b.role === "table" && b.data) this.#tables.set(b, Float32Array.from(b.data));
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
    const sizes = right(checkExtents(this.plan.extents, extents));
    const now: ReadonlyMap<number, number> = new Map(this.plan.extents.map((axis, i) => [axis.id, sizes[i] as number]));
    const staged = right(stageInputs(this.plan.inputs, inputs, now)).map((s) => [s.buffer, spread(s)] as const);
    this.#states(state);
    return state.queued(async () => {
      this.#check();
      const f = frame(now, this.plan.extents, () => !this.#disposed && state.alive);
      for (const b of this.plan.buffers) if (b.role === "output" || b.role === "temp") f.arrays.set(b, new Float32Array(elements(b)));
      for (const [b, data] of [...this.#tables, ...staged, ...this.#states(state)]) f.arrays.set(b, data);
      await new Runner(this.program, this.#compiled, f).steps(this.program.steps);
      this.#check();
      this.#states(state); // disposed meanwhile: the results are not whole
      const out: Record<string, HostArray> = {};
      for (const [name, b] of Object.entries(this.plan.outputs)) {
        const layout = layoutOf(b, now);
        const dense = new Float32Array(layout.elements);
        const from = f.arrays.get(b) as Float32Array;
        forEachIn(layout, (d, s) => {
          dense[d] = from[s] as number;
        });
        out[name] = toUser(b.dtype, dense);
      }
      return out;
    });
  }
  #states(state: State): readonly (readonly [Buffer, Float32Array])[] {
    return Object.entries(this.plan.state).map(([path, b]) => {
      const { spec, data } = state.find(path);
      if (spec.dtype !== b.dtype || spec.elements !== elements(b))
        throw new DeviceError({
          kind: "StateMismatch",
          path,
          expected: `${describeAxes(b, new Map())} (${elements(b)} elements)`,
          got: `${spec.elements} elements of ${spec.dtype}`,
        });
      return [b, data];
    });
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.device.owned.delete(this);
    this.#tables.clear();
    void this.#compiled.dispose();
  }
}

/** An input as its buffer holds it: values, at their places among maximal sizes. */
function spread(s: Staged): Float32Array {
  const values = fromStorage(s.buffer.dtype, s.data);
  if (s.buffer.dtype === "i32") checkIntegers(s.name, values, limits.exactInt);
  const out = new Float32Array(elements(s.buffer));
  forEachIn(s.layout, (dense, strided) => {
    out[strided] = values[dense] as number;
  });
  return out;
}

export class GpujsDevice implements Device {
  readonly lowering = { tiles: false };
  readonly name = "gpujs";
  readonly owned = new Set<Disposable>();
  #disposed = false;
  constructor(
    readonly mode: GpujsMode,
    readonly gpu: GpuClass,
  ) {}
  #check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the gpujs device" });
  }
  async alloc(state: readonly StateSpec[]): Promise<DeviceState> {
    this.#check();
    return new State(this, state);
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
    return new Program(this, plan, program.right, this.gpu);
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const d of [...this.owned]) d[Symbol.dispose]();
  }
}

/** Left: the package is missing (the message says how to install it) or the mode is unknown. */
export async function createGpujs(options: GpujsOptions = {}): Promise<E.Either<DeviceError, GpujsDevice>> {
  const mode = options.mode ?? "webasm";
  if (mode !== "webasm" && mode !== "cpu")
    return E.left(new DeviceError({ kind: "BadOption", option: "mode", value: String(mode), expected: '"webasm" or "cpu"' }));
  const gpu = await loadGpujs(options.load);
  return E.isLeft(gpu) ? gpu : E.right(new GpujsDevice(mode, gpu.right));
}
