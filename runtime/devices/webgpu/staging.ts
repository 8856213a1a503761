// Buffers that results are read through: the GPU copies into one, the host maps it. A few are kept from run to run.
import { type GpuBuffer, type GpuDevice, USAGE } from "./gpu.js";

export interface Staged {
  readonly buffer: GpuBuffer;
  readonly bytes: number;
  giveBack(): void;
  discard(): void;
}
/** Larger ones are made for one read. */
const KEPT_BYTES = 1 << 20;
const KEPT = 8;

export class Staging {
  readonly #free: { readonly buffer: GpuBuffer; readonly bytes: number }[] = [];
  constructor(readonly device: GpuDevice) {}
  take(bytes: number): Staged {
    const size = 2 ** Math.ceil(Math.log2(Math.max(256, bytes)));
    const keep = size <= KEPT_BYTES;
    const at = this.#free.findIndex((b) => b.bytes === size);
    const found = at >= 0 ? this.#free.splice(at, 1)[0] : undefined;
    const length = keep ? size : Math.ceil(bytes / 8) * 8;
    const buffer = found?.buffer ?? this.device.createBuffer({ size: length, usage: USAGE.mapRead | USAGE.copyTo, label: "results" });
    return {
      buffer,
      bytes: length,
      giveBack: () => {
        buffer.unmap();
        if (keep && this.#free.length < KEPT) this.#free.push({ buffer, bytes: size });
        else buffer.destroy();
      },
      discard: () => buffer.destroy(),
    };
  }
}
