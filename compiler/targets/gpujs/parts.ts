// What a gpu.js program is put together from while its plan is lowered: kernels, each text once, and buffers by number.
import type { Extent } from "../../../dsl/node.js";
import { type Buffer, extentVar, maxOf } from "../../lower/expr.js";
import type { Axis } from "../../lower/nest.js";
import type { GpujsAxis, GpujsBuffer, GpujsKernel, Size } from "./program.js";

/** Kernels of a plan so far, each text once, and its buffers by number: those of the plan, and what kernels result in. */
export class Parts {
  readonly kernels: GpujsKernel[] = [];
  readonly buffers: GpujsBuffer[] = [];
  readonly #kernelNumbers = new Map<string, number>();
  readonly #bufferNumbers = new Map<Buffer, number>();
  kernel(kernel: GpujsKernel): number {
    const key = JSON.stringify([kernel.source, kernel.native?.source, kernel.params, kernel.cells]);
    const known = this.#kernelNumbers.get(key);
    if (known !== undefined) return known;
    this.#kernelNumbers.set(key, this.kernels.length);
    return this.kernels.push(kernel) - 1;
  }
  buffer(b: Buffer, role: GpujsBuffer["role"] = b.role): number {
    const known = this.#bufferNumbers.get(b);
    if (known !== undefined) return known;
    this.#bufferNumbers.set(b, this.buffers.length);
    const data = b.role === "table" && b.data ? Float32Array.from(b.data) : null;
    return this.buffers.push({ name: b.name, dtype: b.dtype, role, axes: b.axes.map((a) => sizeOf(a.extent)), data }) - 1;
  }
}
export function sizeOf(e: Extent): Size {
  const v = extentVar(e);
  return typeof e === "number" || v.kind !== "var" ? maxOf(e) : { upTo: v.name, max: e.max };
}
export const axesOf = (axes: readonly Axis[]): readonly GpujsAxis[] => axes.map((a) => ({ v: a.v, size: sizeOf(a.extent) }));
