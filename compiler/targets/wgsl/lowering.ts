// What WebGPU wants of a plan. Kernels of tiles fold over one side, since no invocation may add to what others add to; bound
// ranges begin at multiples of 256 bytes; and every kernel is a dispatch, whose start costs as much as a small one's work.
import type { LowerOptions } from "../../lower/lower.js";

export const lowering: LowerOptions = { tiles: true, columns: false, startsCost: true, align: 256 };
