// What a WebGPU adapter holds, and WGSL's numerics, as data: what recipes size their tiles by, and what the printer holds
// a kernel to.
export interface WgslLimits {
  /** Bytes of `var<workgroup>`. */
  readonly workgroupMemory: number;
  /** Invocations of a workgroup, in all and along x, y and z. */
  readonly invocations: number;
  readonly workgroupSize: readonly [number, number, number];
  /** Storage buffers of a shader. */
  readonly storageBuffers: number;
  /** Bytes of one binding of a storage buffer, and of a buffer. */
  readonly bindingSize: number;
  readonly bufferSize: number;
  /** Workgroups along one dimension of a dispatch. */
  readonly dispatch: number;
  /** 16-bit floats in storage and arithmetic. */
  readonly f16: boolean;
  /** Invocations of a subgroup, which may differ from one pipeline to the next; null: no subgroup operations. */
  readonly subgroups: { readonly min: number; readonly max: number } | null;
  /** The adapter runs on the processor: workgroup memory is no faster than any other, and barriers are dear. Absent: a GPU. */
  readonly processor?: boolean | undefined;
}

/** No schedule of a kernel fits these limits: what recipes throw and the target refuses by (target.ts). */
export class Unfit extends Error {}

/** What every WebGPU adapter has. */
export const guaranteed: WgslLimits = {
  workgroupMemory: 16 * 1024,
  invocations: 256,
  workgroupSize: [256, 256, 64],
  storageBuffers: 8,
  bindingSize: 128 * 2 ** 20,
  bufferSize: 256 * 2 ** 20,
  dispatch: 65_535,
  f16: false,
  subgroups: null,
};

export const numerics = {
  /** An implementation may assume that neither occurs: masks are finite here, NaN can be tested by bits alone. */
  infinities: false,
  nan: false,
  /** May be flushed to zero. */
  denormals: false,
  /** i32 arithmetic on data wraps; what addresses memory is proved not to. */
  integers: 32,
  /** What stands for ∓∞: the mask value lies far below the floor of a softmax's maximum (−1e38). */
  mask: 3e38,
} as const;
