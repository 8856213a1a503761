// What a plan becomes on gpu.js: kernels (each gives one new array, one cell a thread) and the host's steps around them.
// Data only (numbers, names, Float32Arrays: what structuredClone copies), so that a program may run in another thread or
// process than the one that made it (runtime/devices/gpujs/host.ts). A kernel's result lands in a scratch array, and a
// `store` step copies it to where it belongs, since gpu.js cannot write a part of an array.
import type { DType } from "../../../dsl/node.js";
import type { HelperFunction } from "./helpers.js";

/** Two launches share a kernel when text, argument lengths and number of cells agree: gpu.js bakes sizes into its code. */
export interface GpujsKernel {
  /** The first launch's name. */
  readonly name: string;
  /** A JavaScript function of the arguments below; `this.thread.x` is the cell. */
  readonly source: string;
  readonly functions: readonly HelperFunction[];
  /** webgl2: GLSL that the function above calls, with what that calls. */
  readonly native: NativeFunction | null;
  /** null: an integer; else an array of this many elements. */
  readonly params: readonly (number | null)[];
  readonly cells: number;
}
export interface NativeFunction {
  readonly name: string;
  readonly source: string;
}

/** A number, or a run-time extent: the variable that holds it, and the greatest it may be. */
export type Size = number | { readonly upTo: string; readonly max: number };
export const most = (s: Size): number => (typeof s === "number" ? s : s.max);
export interface GpujsAxis {
  readonly v: string;
  readonly size: Size;
}
/** An array of the plan, or a kernel's result (scratch). Row-major over its axes at their greatest. */
export interface GpujsBuffer {
  readonly name: string;
  readonly dtype: DType;
  readonly role: "input" | "output" | "state" | "table" | "temp" | "scratch";
  readonly axes: readonly Size[];
  /** Of a table. */
  readonly data: Float32Array | null;
}
export const lengthOf = (b: GpujsBuffer): number => b.axes.reduce<number>((n, a) => n * most(a), 1);
export function stridesOf(axes: readonly Size[]): readonly number[] {
  const out = new Array<number>(axes.length);
  let step = 1;
  for (let d = axes.length - 1; d >= 0; d--) {
    out[d] = step;
    step *= most(axes[d] as Size);
  }
  return out;
}

/** The number of a buffer, or the name of a variable (a run-time extent, or a loop's counter). */
export type LaunchArg = number | string;
/** Buffers by their number. */
export type HostStep =
  /** Cells are row-major over the scratch buffer's axes at their greatest extents; those beyond a run's extent are void. */
  | { readonly do: "launch"; readonly kernel: number; readonly args: readonly LaunchArg[]; readonly out: number }
  /** into[address(axes)] = from[axes]: the address is constant + Σ coefficient·variable, or a scratch array of addresses. */
  | { readonly do: "store"; readonly from: number; readonly axes: readonly GpujsAxis[]; readonly into: number; readonly address: Address }
  /** into[rows, t] = Σ of value[rows, o] over the o with index[rows, o] = t, added one by one in f32 in the order of `over`.
   *  The result is a scratch array over rows and target. */
  | {
      readonly do: "scatter";
      readonly index: number;
      readonly value: number;
      readonly rows: readonly GpujsAxis[];
      readonly over: readonly GpujsAxis[];
      readonly target: GpujsAxis;
      readonly out: number;
    }
  /** Scratch arrays live as long as their nest. */
  | { readonly do: "nest"; readonly name: string; readonly nodes: readonly number[]; readonly body: readonly HostStep[] }
  | { readonly do: "loop"; readonly v: string; readonly count: number; readonly reverse: boolean; readonly body: readonly HostStep[] };

export type Address =
  | { readonly kind: "affine"; readonly constant: number; readonly terms: readonly (readonly [variable: string, coefficient: number])[] }
  | { readonly kind: "array"; readonly buffer: number };

export interface GpujsProgram {
  readonly name: string;
  readonly kernels: readonly GpujsKernel[];
  readonly buffers: readonly GpujsBuffer[];
  readonly steps: readonly HostStep[];
  /** Numbers of the plan's arguments, by name. */
  readonly inputs: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, number>>;
  readonly state: Readonly<Record<string, number>>;
  /** Variables of the run-time extents, in the plan's order. */
  readonly extents: readonly string[];
}
