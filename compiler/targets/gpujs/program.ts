// What a plan becomes on gpu.js: kernels (each gives one new array, one cell a thread) and the host's steps around them.
// Data only. Buffers are arrays of the host; a kernel's result lands in a scratch array, and a `store` step copies it to
// where it belongs, since gpu.js cannot write a part of an array.
import type { Buffer } from "../../lower/expr.js";
import type { Axis } from "../../lower/nest.js";
import type { HelperFunction } from "./helpers.js";
import type { Arg } from "./writer.js";

/** Two launches share a kernel when text, argument lengths and number of cells agree: gpu.js bakes sizes into its code. */
export interface GpujsKernel {
  /** The first launch's name. */
  readonly name: string;
  /** A JavaScript function of the arguments below; `this.thread.x` is the cell. */
  readonly source: string;
  readonly functions: readonly HelperFunction[];
  /** null: an integer; else an array of this many elements. */
  readonly params: readonly (number | null)[];
  readonly cells: number;
}

export type HostStep =
  /** Cells are row-major over the scratch buffer's axes at their greatest extents; those beyond a run's extent are void. */
  | { readonly do: "launch"; readonly kernel: number; readonly args: readonly Arg[]; readonly out: Buffer }
  /** into[address(axes)] = from[axes]: the address is constant + Σ coefficient·variable, or a scratch array of addresses. */
  | { readonly do: "store"; readonly from: Buffer; readonly axes: readonly Axis[]; readonly into: Buffer; readonly address: Address }
  /** into[rows, t] = Σ of value[rows, o] over the o with index[rows, o] = t, added one by one in f32 in the order of `over`.
   *  The result is a scratch array over rows and target. */
  | {
      readonly do: "scatter";
      readonly index: Buffer;
      readonly value: Buffer;
      readonly rows: readonly Axis[];
      readonly over: readonly Axis[];
      readonly target: Axis;
      readonly out: Buffer;
    }
  /** Scratch arrays live as long as their nest. */
  | { readonly do: "nest"; readonly name: string; readonly nodes: readonly number[]; readonly body: readonly HostStep[] }
  | { readonly do: "loop"; readonly v: string; readonly count: number; readonly reverse: boolean; readonly body: readonly HostStep[] };

export type Address =
  | { readonly kind: "affine"; readonly constant: number; readonly terms: readonly (readonly [variable: string, coefficient: number])[] }
  | { readonly kind: "array"; readonly buffer: Buffer };

export interface GpujsProgram {
  readonly kernels: readonly GpujsKernel[];
  readonly steps: readonly HostStep[];
}
