// What a WebGPU device's states and programs share.
import type { GpuHost } from "./host.js";
import type { Order } from "./order.js";

export interface Context {
  readonly host: GpuHost;
  readonly order: Order;
  readonly owned: Set<Disposable>;
  /** Bytes that were allocated; less than none, freed. */
  readonly count: (bytes: number) => void;
}
