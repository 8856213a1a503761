// Runs a gpu.js program's steps: launches kernels, stores their results where they belong, scatters, loops. Between kernels
// the event loop gets its turn now and then, so that progress and Ctrl-C work during a long step.

import type { Buffer } from "../../../compiler/lower/expr.js";
import { extentVar, maxOf, strides } from "../../../compiler/lower/expr.js";
import type { Axis } from "../../../compiler/lower/nest.js";
import type { Address, GpujsProgram, HostStep } from "../../../compiler/targets/gpujs/index.js";
import { limits } from "../../../compiler/targets/gpujs/index.js";
import type { UpTo } from "../../../dsl/node.js";
import { sizeOf } from "../../host.js";
import type { CompiledKernels } from "./load.js";
import { checkIntegers, forEachIn, rounding } from "./memory.js";

/** What a run works on. */
export interface Frame {
  /** Arrays of the plan's buffers; scratch arrays come and go. */
  readonly arrays: Map<Buffer, Float32Array>;
  /** Run-time extents by id. */
  readonly extents: ReadonlyMap<number, number>;
  /** Extents and loop counters by variable name. */
  readonly ints: Map<string, number>;
  /** False once disposed: the run stops. */
  readonly alive: () => boolean;
}
export function frame(extents: ReadonlyMap<number, number>, declared: readonly UpTo[], alive: () => boolean): Frame {
  const ints = new Map<string, number>();
  for (const e of declared) {
    const v = extentVar(e);
    if (v.kind === "var") ints.set(v.name, sizeOf(e, extents));
  }
  return { arrays: new Map(), extents, ints, alive };
}

const PAUSE_MS = 30;
const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 0));
/** gpu.js takes no empty arrays; nothing reads this one. */
const nothing = new Float32Array(1);

export class Runner {
  #since = performance.now();
  constructor(
    readonly program: GpujsProgram,
    readonly kernels: CompiledKernels,
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
        const scratch = s.body.flatMap((x) => (x.do === "launch" || x.do === "scatter" ? [x.out] : []));
        for (const x of s.body) await this.#step(x, s.name);
        for (const b of scratch) this.frame.arrays.delete(b);
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

  #array(b: Buffer): Float32Array {
    const a = this.frame.arrays.get(b);
    if (!a) throw new Error(`compiler bug: buffer ${b.name} is read before it is written`);
    return a;
  }
  #count = (a: Axis) => sizeOf(a.extent, this.frame.extents);

  #launch(s: Extract<HostStep, { do: "launch" }>): void {
    // A run-time extent of 0 leaves no cell to compute, and no index for the void ones.
    if (s.out.axes.some((a) => sizeOf(a.extent, this.frame.extents) === 0)) {
      this.frame.arrays.set(s.out, new Float32Array(s.out.axes.reduce((n, a) => n * maxOf(a.extent), 1)));
      return;
    }
    const args = s.args.map((a) => {
      if (a.kind === "int") {
        const v = this.frame.ints.get(a.name);
        if (v === undefined) throw new Error(`compiler bug: variable ${a.name} has no value`);
        return v;
      }
      const data = this.#array(a.buffer);
      return data.length === 0 ? nothing : data;
    });
    this.frame.arrays.set(s.out, this.kernels.run(s.kernel, args));
  }

  #store(s: Extract<HostStep, { do: "store" }>, name: string): void {
    const from = this.#array(s.from);
    const into = this.#array(s.into);
    const round = rounding[s.into.dtype];
    const layout = { counts: s.axes.map(this.#count), strides: strides(s.from), elements: s.axes.reduce((n, a) => n * this.#count(a), 1) };
    if (s.into.dtype === "i32")
      forEachIn(layout, (_, at) => checkIntegers(`${name}: ${s.into.name}`, from.subarray(at, at + 1), limits.exactInt - 1));
    const target = this.#target(s.address, s.axes);
    const put = round ? (to: number, x: number) => (into[to] = round(x)) : (to: number, x: number) => (into[to] = x);
    const addresses = s.address.kind === "array" ? this.#array(s.address.buffer) : null;
    if (addresses) {
      forEachIn(layout, (_, at) => put(addresses[at] as number, from[at] as number));
      return;
    }
    const full = s.axes.every((a, k) => layout.counts[k] === maxOf(a.extent));
    if (!round && full && s.axes.every((a, k) => maxOf(a.extent) === 1 || layout.strides[k] === target.strides[k])) {
      into.set(from, target.constant);
      return;
    }
    // Two walks over the same cells: one gives the address, one the value.
    const to = new Int32Array(layout.elements);
    forEachIn({ ...layout, strides: target.strides }, (dense, at) => {
      to[dense] = target.constant + at;
    });
    forEachIn(layout, (dense, at) => put(to[dense] as number, from[at] as number));
  }
  #target(address: Address, axes: readonly Axis[]): { readonly constant: number; readonly strides: readonly number[] } {
    if (address.kind === "array") return { constant: 0, strides: [] };
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
    const stride = maxOf(s.target.extent);
    const rowCount = s.rows.reduce((n, a) => n * maxOf(a.extent), 1);
    const out = new Float32Array(rowCount * stride);
    this.frame.arrays.set(s.out, out);
    if (stride === 0 || s.value.axes.some((a) => sizeOf(a.extent, this.frame.extents) === 0)) return;
    const index = this.#array(s.index);
    const value = this.#array(s.value);
    const inner = s.over.reduce((n, a) => n * maxOf(a.extent), 1);
    const axes = [...s.rows, ...s.over];
    const layout = { counts: axes.map(this.#count), strides: strides(s.value), elements: axes.reduce((n, a) => n * this.#count(a), 1) };
    forEachIn(layout, (_, at) => {
      const t = index[at] as number;
      if (!(t >= 0 && t < size)) return;
      const cell = Math.floor(at / inner) * stride + t;
      out[cell] = (out[cell] as number) + (value[at] as number);
    });
  }
}
