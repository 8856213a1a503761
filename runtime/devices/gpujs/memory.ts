// How values lie in arrays of the gpu.js device. Every buffer is a Float32Array of values, whatever its dtype: bf16 and f16 values are
// rounded when they are stored, bools are 0 and 1, integers must lie where f32 holds each of them.
import { limits } from "../../../compiler/targets/gpujs/limits.js";
import type { DType } from "../../../dsl/node.js";
import type { HostArray } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { fromBf16, fromF16, type Layout, toBf16, toF16 } from "../../host.js";

/** Rounds a value to what the dtype's storage holds. */
export const rounding: Readonly<Record<DType, ((x: number) => number) | null>> = {
  f32: null,
  f64: null, // gpu.js has f32 alone
  bf16: (x) => fromBf16(toBf16(x)),
  f16: (x) => fromF16(toF16(x)),
  i32: null,
  bool: null,
};

/** `most`: given integers may be ±2^24 themselves; computed ones may not, 2^24 could be a rounded 2^24 + 1. */
export function checkIntegers(name: string, data: ArrayLike<number>, most: number): void {
  for (let at = 0; at < data.length; at++) {
    const value = data[at] as number;
    if (!(Math.abs(value) <= most)) throw new DeviceError({ kind: "InexactInteger", device: "gpujs", name, at, value, limit: limits.exactInt });
  }
}

/** Values of one dtype as users see them. */
const present: Readonly<Record<DType, (values: Float32Array) => HostArray>> = {
  f32: (v) => v,
  f64: (v) => Float64Array.from(v),
  bf16: (v) => v,
  f16: (v) => v,
  i32: (v) => Int32Array.from(v),
  bool: (v) => Uint8Array.from(v),
};
/** A copy. */
export const toUser = (dtype: DType, values: Float32Array): HostArray => present[dtype](values.slice());

/** Moves a block between a dense array and a buffer of maximal sizes: `each(dense, strided)` for every element in order. */
export function forEachIn(layout: Layout, each: (dense: number, strided: number) => void): void {
  const rank = layout.counts.length;
  const at = new Array<number>(rank).fill(0);
  let address = 0;
  for (let dense = 0; dense < layout.elements; dense++) {
    each(dense, address);
    for (let d = rank - 1; d >= 0; d--) {
      const stride = layout.strides[d] as number;
      at[d] = (at[d] as number) + 1;
      address += stride;
      if ((at[d] as number) < (layout.counts[d] as number)) break;
      address -= stride * (at[d] as number);
      at[d] = 0;
    }
  }
}
