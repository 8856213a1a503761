// Runs a gpu.js program's steps: launches kernels, stores their results where they belong, scatters, loops. Between kernels
// the event loop gets its turn now and then, so that progress and Ctrl-C work during a long step.
import { limits } from "../../../compiler/targets/gpujs/limits.js";
import {
  type Address,
  type GpujsAxis,
  type GpujsBuffer,
  type GpujsProgram,
  type HostStep,
  lengthOf,
  most,
  type Size,
  stridesOf,
} from "../../../compiler/targets/gpujs/program.js";
import type { Kernels } from "./kernels.js";
import { checkIntegers, forEachIn, rounding } from "./memory.js";
import { Values } from "./values.js";

/** What a run works on. */
export interface Frame {
  /** Arrays of the program's buffers by number; scratch arrays come and go. */
  readonly arrays: Map<number, Values>;
  /** Run-time extents and loop counters by variable name. */
  readonly ints: Map<string, number>;
  /** False once disposed: the run stops. */
  readonly alive: () => boolean;
}

const PAUSE_MS = 30;
const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

export class Runner {
  #since = performance.now();
  constructor(
    readonly program: GpujsProgram,
    readonly kernels: Kernels,
    readonly frame: Frame,
  ) {}

  async steps(list: readonly HostStep[]): Promise<void> {
    for (const s of list) {
      if (s.do === "loop") {
        for (let k = 0; k < s.count; k++) {
          this.frame.ints.set(s.v, s.reverse ? s.count - 1 - k : k);
          await this.steps(s.body);
        }
        this.frame.ints.delete(s.v);
      } else if (s.do === "nest") {
        for (const x of s.body) await this.#step(x, s.name);
        for (const x of s.body) if (x.do === "launch" || x.do === "scatter") this.#drop(x.out);
      } else await this.#step(s, "");
    }
  }
  async #step(s: HostStep, name: string): Promise<void> {
    if (!this.frame.alive()) return;
    switch (s.do) {
      case "launch":
        this.#launch(s);
        break;
      case "store":
        this.#store(s, name);
        break;
      case "scatter":
        this.#scatter(s);
        break;
      case "nest":
      case "loop":
        await this.steps([s]);
    }
    if (performance.now() - this.#since > PAUSE_MS) {
      await pause();
      this.#since = performance.now();
    }
  }

  #buffer = (b: number): GpujsBuffer => this.program.buffers[b] as GpujsBuffer;
  #values(b: number): Values {
    const a = this.frame.arrays.get(b);
    if (!a) throw new Error(`compiler bug: buffer ${this.#buffer(b).name} is read before it is written`);
    return a;
  }
  #drop(b: number): void {
    this.frame.arrays.get(b)?.free();
    this.frame.arrays.delete(b);
  }
  #int(name: string): number {
    const v = this.frame.ints.get(name);
    if (v === undefined) throw new Error(`compiler bug: variable ${name} has no value`);
    return v;
  }
  #size = (s: Size): number => (typeof s === "number" ? s : this.#int(s.upTo));
  #count = (a: GpujsAxis): number => this.#size(a.size);
  #layout(axes: readonly GpujsAxis[], of: GpujsBuffer) {
    const counts = axes.map(this.#count);
    return { counts, strides: stridesOf(of.axes), elements: counts.reduce((n, c) => n * c, 1) };
  }

  #launch(s: Extract<HostStep, { do: "launch" }>): void {
    const out = this.#buffer(s.out);
    // A run-time extent of 0 leaves no cell to compute, and no index for the void ones.
    const empty = out.axes.some((a) => this.#size(a) === 0);
    this.frame.arrays.set(
      s.out,
      empty
        ? new Values(new Float32Array(lengthOf(out)))
        : this.kernels.run(
            s.kernel,
            s.args.map((a) => (typeof a === "string" ? this.#int(a) : this.#values(a))),
          ),
    );
  }

  #store(s: Extract<HostStep, { do: "store" }>, name: string): void {
    const from = this.#values(s.from);
    const into = this.#values(s.into);
    const buffer = this.#buffer(s.into);
    const round = rounding[buffer.dtype];
    const layout = this.#layout(s.axes, this.#buffer(s.from));
    if (buffer.dtype === "i32") {
      const given = from.array;
      forEachIn(layout, (_, at) => checkIntegers(`${name}: ${buffer.name}`, given.subarray(at, at + 1), limits.exactInt - 1));
    }
    const target = this.#target(s.address, s.axes);
    const full = target !== null && s.axes.every((a, k) => layout.counts[k] === most(a.size));
    if (!round && full && s.axes.every((a, k) => most(a.size) === 1 || layout.strides[k] === target.strides[k])) {
      if (target.constant === 0 && lengthOf(buffer) === lengthOf(this.#buffer(s.from))) this.#move(s.from, s.into);
      else into.mutable.set(from.array, target.constant);
      return;
    }
    const values = from.array;
    const out = into.mutable;
    const put = round ? (to: number, x: number) => (out[to] = round(x)) : (to: number, x: number) => (out[to] = x);
    if (target === null) {
      const addresses = this.#values((s.address as Extract<Address, { kind: "array" }>).buffer).array;
      forEachIn(layout, (_, at) => put(addresses[at] as number, values[at] as number));
      return;
    }
    // Two walks over the same cells: one gives the address, one the value.
    const to = new Int32Array(layout.elements);
    forEachIn({ ...layout, strides: target.strides }, (dense, at) => {
      to[dense] = target.constant + at;
    });
    forEachIn(layout, (dense, at) => put(to[dense] as number, values[at] as number));
  }
  /** The whole of a scratch array, which no other step reads, becomes the buffer. */
  #move(from: number, into: number): void {
    const values = this.#values(from);
    this.#values(into).free();
    this.frame.arrays.set(into, values);
    this.frame.arrays.delete(from);
  }
  /** null: the addresses are an array. */
  #target(address: Address, axes: readonly GpujsAxis[]): { readonly constant: number; readonly strides: readonly number[] } | null {
    if (address.kind === "array") return null;
    const steps = new Map<string, number>();
    let constant = address.constant;
    for (const [name, c] of address.terms) {
      const fixed = axes.some((a) => a.v === name) ? undefined : this.frame.ints.get(name);
      if (fixed === undefined) steps.set(name, c);
      else constant += c * fixed;
    }
    return { constant, strides: axes.map((a) => steps.get(a.v) ?? 0) };
  }

  #scatter(s: Extract<HostStep, { do: "scatter" }>): void {
    const size = this.#count(s.target);
    const stride = most(s.target.size);
    const product = (axes: readonly GpujsAxis[]) => axes.reduce((n, a) => n * most(a.size), 1);
    const out = new Float32Array(product(s.rows) * stride);
    this.frame.arrays.set(s.out, new Values(out));
    const layout = this.#layout([...s.rows, ...s.over], this.#buffer(s.value));
    if (stride === 0 || layout.elements === 0) return;
    const index = this.#values(s.index).array;
    const value = this.#values(s.value).array;
    const inner = product(s.over);
    forEachIn(layout, (_, at) => {
      const t = index[at] as number;
      if (!(t >= 0 && t < size)) return;
      const cell = Math.floor(at / inner) * stride + t;
      out[cell] = (out[cell] as number) + (value[at] as number);
    });
  }
}
