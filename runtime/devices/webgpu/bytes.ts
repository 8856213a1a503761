// Values as they lie in GPU memory (compiler/targets/wgsl/storage.ts): the bytes of the host's storage, filled up to whole words.
import { numerics } from "../../../compiler/targets/wgsl/limits.js";
import type { DType } from "../../../dsl/node.js";
import type { HostArray } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { BYTES, type Layout, type StorageArray, storage } from "../../host.js";

/** Where a value of f64, which no compiled device has, would lie. */
export function checkDtype(dtype: DType, what: string): asserts dtype is Exclude<DType, "f64"> {
  if (dtype === "f64")
    throw new DeviceError({ kind: "CannotHold", device: "webgpu", reason: `${what} is of f64`, todo: 'cast it to "f32", or use the js device' });
}

const bytesOf = (a: StorageArray): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
/** The array's own memory where it can be. */
export function packed(a: StorageArray): Uint8Array {
  const bytes = bytesOf(a);
  if (bytes.byteLength % 4 === 0) return bytes;
  const out = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  out.set(bytes);
  return out;
}
export function unpacked(dtype: DType, bytes: Uint8Array, elements: number): StorageArray {
  const out = storage(dtype, elements);
  bytesOf(out).set(bytes.subarray(0, elements * BYTES[dtype]));
  return out;
}

const isDense = ({ counts, strides }: Layout): boolean => {
  let step = 1;
  for (let d = counts.length - 1; d >= 0; d--) {
    if ((counts[d] as number) > 1 && strides[d] !== step) return false;
    step *= counts[d] as number;
  }
  return true;
};
/** How many elements of the buffer reach from its first to the last that is used. */
export const reach = ({ counts, strides, elements }: Layout): number =>
  elements === 0 ? 0 : 1 + counts.reduce((n, c, d) => n + (c - 1) * (strides[d] as number), 0);

/** Calls `each` with the place of every row along the last axis, in the dense array and in the buffer. */
function rows({ counts, strides, elements }: Layout, each: (dense: number, strided: number, length: number, step: number) => void): void {
  const rank = counts.length;
  const [length, step] = [rank === 0 ? 1 : (counts[rank - 1] as number), rank === 0 ? 1 : (strides[rank - 1] as number)];
  const at = new Array<number>(Math.max(0, rank - 1)).fill(0);
  let address = 0;
  for (let dense = 0; dense < elements; dense += length) {
    each(dense, address, length, step);
    for (let d = rank - 2; d >= 0; d--) {
      at[d] = (at[d] as number) + 1;
      address += strides[d] as number;
      if ((at[d] as number) < (counts[d] as number)) break;
      address -= (strides[d] as number) * (at[d] as number);
      at[d] = 0;
    }
  }
}
/** A dense array at its places among maximal sizes. */
export function spread(dtype: DType, dense: StorageArray, layout: Layout): StorageArray {
  if (isDense(layout)) return dense;
  const out = storage(dtype, reach(layout));
  rows(layout, (from, to, length, step) => {
    if (step === 1) out.set(dense.subarray(from, from + length), to);
    else for (let i = 0; i < length; i++) out[to + i * step] = dense[from + i] as number;
  });
  return out;
}
export function gathered(dtype: DType, strided: StorageArray, layout: Layout): StorageArray {
  if (isDense(layout)) return strided;
  const out = storage(dtype, layout.elements);
  rows(layout, (to, from, length, step) => {
    if (step === 1) out.set(strided.subarray(from, from + length), to);
    else for (let i = 0; i < length; i++) out[to + i] = strided[from + i * step] as number;
  });
  return out;
}

/** In kernels a finite value stands for ±∞, which WGSL may assume to be absent: what comes out is infinite again. */
export function withInfinities<A extends HostArray>(values: A): A {
  if (!(values instanceof Float32Array)) return values;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (Math.abs(v) >= MASK) values[i] = v < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  return values;
}
/** As bf16 rounds it, too. */
const MASK = 0.99 * numerics.mask;
