// The native device: programs as compiled C on a pool of threads. It owns all memory: a state's buffers, and for each
// executable its inputs, outputs, tables and one arena, allocated when it first runs. Work is queued, one run at a time,
// since the threads are shared; what is disposed is freed after the work that was asked for before.
import * as E from "fp-ts/lib/Either.js";
import type { Choices } from "../../../compiler/loop/choices.js";
import type { Buffer } from "../../../compiler/lower/expr.js";
import { elements } from "../../../compiler/lower/expr.js";
import type { Plan } from "../../../compiler/plan.js";
import type { Words } from "../../../dsl/random.js";
import type { Device, DeviceState, Executable, HostArray, StateSpec } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { BYTES, checkRun, checkState, fromStorage, layoutOf, orThrow, type Staged, stateData, storage, toStorage, withOwnData } from "../../host.js";
import type { Frame, Image } from "../../image.js";
import type { Unit } from "./build.js";
import { obtain, type Verified } from "./cache.js";
import { FILL_BYTES } from "./fill-source.js";
import { type FolderOptions, openFolder } from "./folder.js";
import { type Address, type Library, load } from "./load.js";
import { type Allocation, loadNative, type Native, type Pool, threadCount } from "./pool.js";
import { Programs } from "./programs.js";
import { LARGE_ARENA, relieve } from "./relieve.js";
import type { Bench } from "./stopwatch.js";
import { findToolchain, type Toolchain, withFlags } from "./toolchain.js";

/** What the C target makes of a plan. The entry has the signature of `Entry` in pool-source.ts; no unit keeps mutable
 *  static data (equal programs share one library). `bufferOrder[i]` is what `buffers[i]` points to. */
export interface CArtifact {
  readonly units: readonly Unit[];
  readonly kernels: readonly { readonly name: string; readonly source: string }[];
  readonly entry: string;
  readonly scratchBytesPerThread: number;
  readonly bufferOrder: readonly Buffer[];
  /** Beside the toolchain's own. */
  readonly flags?: readonly string[];
}
export type EmitC = (plan: Plan, choices: Choices) => E.Either<Error, CArtifact>;

export interface NativeOptions {
  /** Else MALLARD_THREADS, else one a core. */
  readonly threads?: number | undefined;
  /** Else MALLARD_CACHE, else the platform's. */
  readonly cacheDir?: string | undefined;
  /** Else CC, else cc, gcc or clang. */
  readonly cc?: string | undefined;
  /** One line for the user; standard error unless given. */
  readonly notice?: ((line: string) => void) | undefined;
  readonly folder?: Pick<FolderOptions, "look" | "temp">;
}
export interface NativeDevice extends Device {
  readonly threads: number;
  readonly toolchain: Toolchain;
  readonly cacheFolder: string;
  /** Bytes that this device holds: states and executables. */
  memory(): number;
}

/** Jobs one after another, in the order they came; one that fails does not hold up the next. */
class Queue {
  #tail: Promise<unknown> = Promise.resolve();
  #pending = 0;
  get busy(): boolean {
    return this.#pending > 0;
  }
  add<T>(job: () => T | Promise<T>): Promise<T> {
    this.#pending++;
    const result = this.#tail.then(job).finally(() => this.#pending--);
    this.#tail = result.catch(() => undefined); // its caller has the error
    return result;
  }
  /** At once if nothing is in progress. */
  release(job: () => void): void {
    if (this.busy) void this.add(job);
    else job();
  }
}

/** Allocations that are freed together, once. */
class Memory {
  #held: Allocation[] = [];
  constructor(
    readonly native: Native,
    readonly count: (bytes: number) => void,
  ) {}
  alloc(bytes: number, what: string): Address {
    const a = orThrow(this.native.alloc(bytes, what));
    this.#held.push(a);
    this.count(a.bytes);
    return a.address;
  }
  free(): void {
    for (const a of this.#held.splice(0)) {
      this.native.free(a);
      this.count(-a.bytes);
    }
  }
}

/** What states and executables share with their device. */
interface Context {
  readonly native: Native;
  readonly pool: Pool;
  readonly queue: Queue;
  readonly owned: Set<Disposable>;
  readonly count: (bytes: number) => void;
}

class State implements DeviceState {
  readonly entries = new Map<string, { readonly spec: StateSpec; readonly address: Address }>();
  readonly #memory: Memory;
  #disposed = false;
  constructor(
    readonly context: Context,
    specs: readonly StateSpec[],
  ) {
    this.#memory = new Memory(context.native, context.count);
    try {
      this.#add(specs);
    } catch (e) {
      this.#memory.free();
      throw e;
    }
    context.owned.add(this);
  }
  #add(specs: readonly StateSpec[]): void {
    for (const spec of specs) {
      if (this.entries.has(spec.path)) throw new Error(`two states have the path ${spec.path}`); // the session's defect
      this.entries.set(spec.path, { spec, address: this.#memory.alloc(spec.elements * BYTES[spec.dtype], `state "${spec.path}"`) });
    }
  }
  async extend(specs: readonly StateSpec[]): Promise<void> {
    this.check();
    this.#add(specs);
  }
  async draw(path: string, [k0, k1]: Words, std: number): Promise<boolean> {
    const { spec, address } = this.find(path);
    if (spec.dtype !== "f32" && spec.dtype !== "bf16") return false;
    const { native, pool } = this.context;
    const given = new DataView(new ArrayBuffer(FILL_BYTES));
    given.setUint32(0, k0, true);
    given.setUint32(4, k1, true);
    given.setFloat64(8, std, true);
    given.setBigInt64(16, BigInt(spec.elements), true);
    given.setInt32(24, spec.dtype === "bf16" ? 1 : 0, true);
    const own = new Memory(native, this.context.count);
    const job = async () => {
      this.check(); // disposed meanwhile
      try {
        const [table, what] = [own.alloc(16, "a table"), own.alloc(FILL_BYTES, "what a weight is filled with")];
        native.put(table, BigUint64Array.of(address, what));
        native.put(what, new Uint8Array(given.buffer));
        orThrow(await pool.run(native.fill, table, table, 0));
      } finally {
        own.free();
      }
    };
    await this.context.queue.add(job);
    return true;
  }
  check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the state" });
  }
  find(path: string) {
    this.check();
    const entry = this.entries.get(path);
    if (!entry) throw new DeviceError({ kind: "UnknownState", path, known: [...this.entries.keys()] });
    return entry;
  }
  async read(path: string): Promise<HostArray> {
    const { spec, address } = this.find(path);
    return this.context.queue.add(() => {
      const out = storage(spec.dtype, spec.elements);
      this.context.native.get(out, address);
      return fromStorage(spec.dtype, out);
    });
  }
  async write(path: string, data: ArrayLike<number>): Promise<void> {
    const { spec, address } = this.find(path);
    const converted = orThrow(stateData(spec, data));
    // The caller may change its array as soon as this returns.
    const mine = converted === data && this.context.queue.busy ? converted.slice() : converted;
    const put = () => this.context.native.put(address, mine);
    if (this.context.queue.busy) return this.context.queue.add(put);
    put();
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context.owned.delete(this);
    this.context.queue.release(() => this.#memory.free());
  }
}

/** What running a program takes of its artifact. */
type Runnable = Pick<CArtifact, "kernels" | "entry" | "scratchBytesPerThread" | "bufferOrder">;

class Program implements Executable {
  readonly #memory: Memory;
  readonly #entry: Address;
  /** By buffer id, once allocated. */
  #places: Map<number, Address> | null = null;
  #table: { readonly pointers: BigUint64Array; readonly address: Address; readonly extents: Address } | null = null;
  #disposed = false;
  constructor(
    readonly context: Context,
    readonly plan: Frame,
    readonly artifact: Runnable,
    readonly library: Library,
    readonly key: string,
  ) {
    this.#memory = new Memory(context.native, context.count);
    this.#entry = orThrow(library.address(artifact.entry));
    context.owned.add(this);
  }
  get kernels(): Executable["kernels"] {
    return this.artifact.kernels;
  }
  get image(): Image {
    const { entry, scratchBytesPerThread, bufferOrder } = this.artifact;
    return { frame: this.plan, entry, scratchBytesPerThread, bufferOrder, library: this.key };
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
    if (!(state instanceof State) || state.context !== this.context) throw new DeviceError({ kind: "ForeignState" });
    const { sizes, extents: now, staged } = orThrow(checkRun(this.plan, inputs, extents));
    const states = this.#bind(state);
    // The caller may change its arrays as soon as this returns; with nothing before us they are read before it does.
    const early = !this.context.queue.busy;
    const later = early ? null : withOwnData(staged, inputs);
    if (early) this.#copyIn(staged);
    return this.context.queue.add(async () => {
      if (later) this.#copyIn(later);
      const table = this.#ready();
      const places = this.#places!;
      this.artifact.bufferOrder.forEach((b, i) => {
        const place = b.role === "state" ? states.get(b.id) : places.get(b.id);
        if (place === undefined) throw new Error(`buffer ${b.name} of ${this.plan.name} has no place`); // the compiler's defect
        table.pointers[i] = place;
      });
      const native = this.context.native;
      native.put(table.address, table.pointers);
      native.put(table.extents, Int32Array.from(sizes));
      orThrow(await this.context.pool.run(this.#entry, table.address, table.extents, this.artifact.scratchBytesPerThread));
      const out: Record<string, HostArray> = {};
      for (const [name, b] of Object.entries(this.plan.outputs)) {
        const layout = layoutOf(b, now);
        const data = storage(b.dtype, layout.elements);
        native.copyOut(data, layout, b.dtype, (b.role === "state" ? states : places).get(b.id)!);
        out[name] = fromStorage(b.dtype, data);
      }
      return out;
    });
  }

  /** The program's state buffers in this state, by buffer id. */
  #bind(state: State): ReadonlyMap<number, Address> {
    state.check();
    const out = new Map<number, Address>();
    for (const [path, b] of Object.entries(this.plan.state)) {
      const { spec, address } = state.find(path);
      orThrow(checkState(b, elements(b), spec));
      out.set(b.id, address);
    }
    return out;
  }

  #ready() {
    if (this.#table) return this.#table;
    const m = this.#memory;
    const places = new Map<number, Address>();
    try {
      const all = new Set([...this.artifact.bufferOrder, ...Object.values(this.plan.inputs), ...Object.values(this.plan.outputs)]);
      if (this.plan.arenaBytes >= LARGE_ARENA) relieve(this.context.native);
      const arena = this.plan.arenaBytes > 0 ? m.alloc(this.plan.arenaBytes, `the temporaries of ${this.plan.name}`) : 0n;
      for (const b of all) {
        if (b.role === "state") continue;
        const offset = this.plan.offsets.get(b.id);
        if (b.role === "temp" && offset !== undefined) places.set(b.id, arena + BigInt(offset));
        else places.set(b.id, m.alloc(elements(b) * BYTES[b.dtype], `${b.role} ${b.name} of ${this.plan.name}`));
        if (b.role === "table" && b.data) this.context.native.put(places.get(b.id)!, orThrow(toStorage(b.name, b.dtype, b.data)));
      }
      const n = Math.max(1, this.artifact.bufferOrder.length);
      const table = {
        pointers: new BigUint64Array(n),
        address: m.alloc(n * 8, `the buffer table of ${this.plan.name}`),
        extents: m.alloc(Math.max(1, this.plan.extents.length) * 4, `the extents of ${this.plan.name}`),
      };
      this.#places = places;
      this.#table = table;
      return table;
    } catch (e) {
      m.free(); // all or nothing: the next run tries again
      throw e;
    }
  }
  #copyIn(staged: readonly Staged[]): void {
    this.#ready();
    for (const s of staged) this.context.native.copyIn(this.#places!.get(s.buffer.id)!, s.layout, s.buffer.dtype, s.data);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context.owned.delete(this);
    this.context.queue.release(() => {
      this.#memory.free();
      this.#places = null;
      this.#table = null;
      this.library.unload();
    });
  }
}

class CpuDevice implements NativeDevice {
  readonly lowering = { tiles: true };
  readonly name = "native";
  readonly measures = true;
  readonly programs: Programs | undefined;
  readonly #context: Context;
  #bytes = 0;
  #disposed = false;
  constructor(
    native: Native,
    pool: Pool,
    readonly toolchain: Toolchain,
    readonly cacheFolder: string,
    readonly emit: EmitC,
    readonly choose: Choose,
    readonly notice: (line: string) => void,
  ) {
    this.#context = {
      native,
      pool,
      queue: new Queue(),
      owned: new Set(),
      count: (bytes) => {
        this.#bytes += bytes;
      },
    };
    // What measurement chose is no part of a program's key.
    if (choose === recipesAlone) this.programs = new Programs(cacheFolder, toolchain, (...given) => this.#reopen(...given), notice);
  }
  get threads(): number {
    return this.#context.pool.threads;
  }
  get hardware(): string {
    return this.threads === 1 ? "1 thread" : `${this.threads} threads`;
  }
  memory(): number {
    return this.#bytes;
  }
  #check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the native device" });
  }
  async alloc(state: readonly StateSpec[]): Promise<DeviceState> {
    this.#check();
    return new State(this.#context, state);
  }
  async compile(plan: Plan): Promise<Executable> {
    this.#check();
    const { native, pool, queue } = this.#context;
    const lent = { native, pool, toolchain: this.toolchain, folder: this.cacheFolder };
    const choices = orThrow(await this.choose(plan, { ...lent, alone: (job) => queue.add(job) }));
    this.#check(); // disposed while others ran
    const artifact = orThrow(this.emit(plan, choices));
    const opened = orThrow(await obtain(this.cacheFolder, withFlags(this.toolchain, artifact.flags ?? []), artifact.units));
    if (opened.refused) this.notice(`kernel cache: ${opened.refused.path} ${opened.refused.reason}: not used, compiled again`);
    const library = orThrow(load(opened.library));
    try {
      this.#check(); // disposed while the compiler ran
      return new Program(this.#context, plan, artifact, library, opened.library.key);
    } catch (e) {
      library.unload();
      throw e;
    }
  }
  #reopen(image: Image, verified: Verified, plan: () => Plan): Executable {
    this.#check();
    const library = orThrow(load(verified));
    const emit = () => orThrow(this.emit(plan(), new Map()));
    try {
      const artifact: Runnable = {
        ...image,
        get kernels() {
          return emit().kernels;
        },
      };
      return new Program(this.#context, image.frame, artifact, library, image.library);
    } catch (e) {
      library.unload();
      throw e;
    }
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const d of [...this.#context.owned]) d[Symbol.dispose]();
    this.#context.queue.release(() => this.#context.pool.dispose());
  }
}

/** What a program's kernels have beside their recipes' choices, found with what the device lends. */
export type Choose = (plan: Plan, bench: Bench) => Promise<E.Either<DeviceError, Choices>>;
const recipesAlone: Choose = async () => E.right(new Map());

/** A native device whose programs `emit` prints; Left says why there is none here. */
export async function createNativeWith(
  emit: EmitC,
  options: NativeOptions = {},
  choose: Choose = recipesAlone,
): Promise<E.Either<DeviceError, NativeDevice>> {
  const notice = options.notice ?? ((line: string) => process.stderr.write(`${line}\n`));
  const threads = threadCount(options.threads);
  if (E.isLeft(threads)) return threads;
  const tool = await findToolchain({ cc: options.cc });
  if (E.isLeft(tool)) return tool;
  const folder = openFolder({ dir: options.cacheDir, ...options.folder });
  if (E.isLeft(folder)) return folder;
  if (folder.right.notice) notice(folder.right.notice);
  const loaded = await loadNative(folder.right.path, tool.right);
  if (E.isLeft(loaded)) return loaded;
  const { native, refused } = loaded.right;
  if (refused) notice(`kernel cache: ${refused.path} ${refused.reason}: not used, compiled again`);
  const pool = native.pool(threads.right);
  if (E.isLeft(pool)) return pool;
  return E.right(new CpuDevice(native, pool.right, tool.right, folder.right.path, emit, choose, notice));
}
