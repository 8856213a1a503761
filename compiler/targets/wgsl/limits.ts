// WebGPU's guaranteed limits and WGSL's numerics, as data: what recipes size their tiles by, and what the printer holds
// a kernel to.
export const limits = {
  /** Bytes of `var<workgroup>`. */
  workgroupMemory: 16 * 1024,
  /** Invocations of a workgroup, in all and along x, y and z. */
  invocations: 256,
  workgroupSize: [256, 256, 64],
  /** Storage buffers of a shader. */
  storageBuffers: 8,
  /** Workgroups along one dimension of a dispatch. */
  dispatch: 65_535,
} as const;

export const numerics = {
  /** An implementation may assume that neither occurs: masks are finite here, NaN can be tested by bits alone. */
  infinities: false,
  nan: false,
  /** May be flushed to zero. */
  denormals: false,
  /** What stands for ∓∞: the mask value lies far below the floor of a softmax's maximum (−1e38). */
  mask: 3e38,
} as const;
