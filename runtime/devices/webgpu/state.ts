// What a session keeps on the GPU between runs. Large values have a buffer each; small ones lie together in one, so that a
// kernel can bind many of them at once (SMALL_STATE). That one grows: its values are copied to a larger one, and lists of
// dispatches that name the old one are made anew (`generation`).

import { SMALL_STATE } from "../../../compiler/targets/wgsl/program.js";
import { storedBytes } from "../../../compiler/targets/wgsl/storage.js";
import type { DType } from "../../../dsl/node.js";
import type { DeviceState, HostArray, StateSpec } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { fromStorage, orThrow, stateData } from "../../host.js";
import { checkDtype, packed, unpacked } from "./bytes.js";
import type { Context } from "./context.js";
import { answer } from "./faults.js";
import type { HostBinding } from "./host.js";

const ALIGN = 256;
const aligned = (bytes: number): number => Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);

interface Entry {
  readonly spec: StateSpec;
  readonly bytes: number;
  /** null: at `offset` of the buffer of small values. */
  readonly buffer: number | null;
  readonly offset: number;
}

export class State implements DeviceState {
  readonly #entries = new Map<string, Entry>();
  #small: { readonly buffer: number; readonly bytes: number; readonly used: number } | null = null;
  #generation = 0;
  #disposed = false;

  private constructor(readonly context: Context) {
    context.owned.add(this);
  }
  static async make(context: Context, specs: readonly StateSpec[]): Promise<State> {
    const made = new State(context);
    try {
      await made.extend(specs);
      return made;
    } catch (e) {
      made[Symbol.dispose]();
      throw e;
    }
  }
  get alive(): boolean {
    return !this.#disposed;
  }
  /** Changes when a buffer does. */
  get generation(): number {
    return this.#generation;
  }

  async extend(specs: readonly StateSpec[]): Promise<void> {
    this.check();
    const { host, order, count } = this.context;
    await order.add(async () => {
      this.check(); // disposed meanwhile
      const { maxStorageBufferBindingSize, maxBufferSize } = host.info.limits;
      const most = Math.min(maxStorageBufferBindingSize, maxBufferSize);
      let used = this.#small?.used ?? 0;
      const fresh = specs.map((spec) => {
        if (this.#entries.has(spec.path)) throw new Error(`two states have the path ${spec.path}`); // the session's defect
        checkDtype(spec.dtype, `state "${spec.path}"`);
        const bytes = Math.max(4, storedBytes(spec.dtype, spec.elements));
        if (bytes > most) throw tooLarge(`state "${spec.path}"`, bytes, most);
        if (bytes > SMALL_STATE) return { spec, bytes, small: null };
        used += aligned(bytes);
        return { spec, bytes, small: used - aligned(bytes) };
      });
      if (used > most) throw tooLarge("the state's small values together", used, most);
      const large = fresh.filter((f) => f.small === null);
      const grown = used > (this.#small?.bytes ?? 0) ? Math.min(most, Math.max(used, 2 * (this.#small?.bytes ?? 0))) : null;
      const sizes = [...large.map((f) => f.bytes), ...(grown === null ? [] : [grown])];
      const what = large.length === 1 ? `state "${large[0]?.spec.path}"` : "the state";
      const buffers = sizes.length === 0 ? [] : answer(await host.buffers(sizes, what), what);
      if (this.#disposed) host.free(buffers);
      this.check();
      count(sizes.reduce((n, b) => n + b, 0));
      let done: Promise<unknown> = Promise.resolve();
      if (grown !== null) {
        const buffer = buffers.at(-1) as number;
        const old = this.#small;
        if (old) {
          done = host
            .submit({ copies: [{ from: old.buffer, fromOffset: 0, to: buffer, toOffset: 0, bytes: old.used }] })
            .then((moved) => answer(moved, "the state"));
          host.free([old.buffer]);
          count(-old.bytes);
        }
        this.#small = { buffer, bytes: grown, used };
        this.#generation++;
      } else if (this.#small) this.#small = { ...this.#small, used };
      let next = 0;
      for (const { spec, bytes, small } of fresh)
        this.#entries.set(spec.path, { spec, bytes, buffer: small === null ? (buffers[next++] as number) : null, offset: small ?? 0 });
      return { done };
    });
  }
  check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the state" });
  }
  #find(path: string): Entry {
    this.check();
    const entry = this.#entries.get(path);
    if (!entry) throw new DeviceError({ kind: "UnknownState", path, known: [...this.#entries.keys()] });
    return entry;
  }
  specOf(path: string): StateSpec {
    return this.#find(path).spec;
  }
  /** Where a value lies; of all small ones, where they lie together. */
  bindingOf(path: string | null): HostBinding {
    if (path === null) {
      this.check();
      if (!this.#small) throw new Error("there is no small state"); // the compiler's defect
      return { buffer: this.#small.buffer, offset: 0, bytes: this.#small.bytes };
    }
    const { buffer, offset, bytes } = this.#find(path);
    return { buffer: buffer ?? (this.#small?.buffer as number), offset, bytes }; // a small value has the buffer of small ones
  }

  async read(path: string): Promise<HostArray> {
    const { spec } = this.#find(path);
    return this.context.order.add(async () => {
      const binding = this.bindingOf(path);
      const read = this.context.host.submit({ reads: [binding] });
      return { done: read.then((r) => present(spec.dtype, answer(r, `a copy of state "${path}"`).reads[0] as Uint8Array, spec.elements)) };
    });
  }
  async write(path: string, data: ArrayLike<number>): Promise<void> {
    const { spec } = this.#find(path);
    const converted = orThrow(stateData(spec, data));
    const { host, order } = this.context;
    // The caller may change its array as soon as this returns.
    const values = packed(converted === data && !order.idle ? converted.slice() : converted);
    return order.add(async () => {
      const { buffer, offset } = this.bindingOf(path);
      const done = host.submit({ writes: [{ buffer, offset, data: values }] });
      return { done: done.then((r) => void answer(r, `state "${path}"`)) };
    });
  }
  async draw(): Promise<boolean> {
    return false;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context.owned.delete(this);
    this.context.order.release(() => {
      const { host, count } = this.context;
      const large = [...this.#entries.values()].flatMap((e) => (e.buffer === null ? [] : [e]));
      host.free([...large.map((e) => e.buffer as number), ...(this.#small ? [this.#small.buffer] : [])]);
      count(-large.reduce((n, e) => n + e.bytes, this.#small?.bytes ?? 0));
      this.#entries.clear();
      this.#small = null;
    });
  }
}
const present = (dtype: DType, bytes: Uint8Array, elements: number): HostArray => fromStorage(dtype, unpacked(dtype, bytes, elements));
const tooLarge = (what: string, bytes: number, most: number): DeviceError =>
  new DeviceError({
    kind: "CannotHold",
    device: "webgpu",
    reason: `${what} has ${bytes} bytes, and this adapter binds ${most} at most`,
    todo: "use a smaller model, another adapter or the native device",
  });
