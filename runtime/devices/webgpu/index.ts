// The WebGPU device: programs as WGSL on a GPU of this machine, in Node by Dawn and in a browser by its own. Speaks to the GPU
// through a GpuHost, which may be in another process.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import type { Plan } from "../../../compiler/plan.js";
import { lowering, type WgslLimits, wgsl } from "../../../compiler/targets/wgsl/index.js";
import { segmentsOf } from "../../../compiler/targets/wgsl/segments.js";
import type { Device, DeviceState, Executable, StateSpec } from "../../device.js";
import { DeviceError } from "../../errors.js";
import { type AdapterChoice, findAdapter } from "./adapter.js";
import type { Context } from "./context.js";
import { answer, errorOf } from "./faults.js";
import type { GpuHost, HostInfo } from "./host.js";
import { type HostRequest, openHost } from "./local.js";
import { Order } from "./order.js";
import { Program } from "./program.js";
import { State } from "./state.js";

export type { GpuHost } from "./host.js";
export interface KernelOptions {
  /** Whether kernels are those for a processor, without workgroup memory, or those for a GPU: as the adapter is, unless said. */
  readonly processor?: boolean | undefined;
}
export interface WebgpuOptions extends HostRequest, KernelOptions {
  /** software: one that runs on the processor, slowly, where there is no GPU. */
  readonly adapter?: AdapterChoice | undefined;
}

/** What kernels are held to on this host. */
function limitsOf({ limits, features, subgroups, software }: HostInfo, o: KernelOptions = {}): WgslLimits {
  return {
    workgroupMemory: limits.maxComputeWorkgroupStorageSize,
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    workgroupSize: [limits.maxComputeWorkgroupSizeX, limits.maxComputeWorkgroupSizeY, limits.maxComputeWorkgroupSizeZ],
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
    // Places in a binding are signed 32-bit integers.
    bindingSize: Math.min(limits.maxStorageBufferBindingSize, 2 ** 31 - 4),
    bufferSize: limits.maxBufferSize,
    dispatch: limits.maxComputeWorkgroupsPerDimension,
    f16: features.includes("shader-f16"),
    subgroups,
    processor: o.processor ?? software,
  };
}

export class WebgpuDevice implements Device {
  readonly name = "webgpu";
  readonly lowering = lowering;
  /** While one is computed and another's results travel, a third is encoded. */
  readonly ahead = 3;
  readonly #context: Context;
  #bytes = 0;
  #disposed = false;
  constructor(
    readonly host: GpuHost,
    readonly options: KernelOptions = {},
  ) {
    this.#context = {
      host,
      order: new Order(),
      owned: new Set(),
      count: (bytes) => {
        this.#bytes += bytes;
      },
    };
  }
  get hardware(): string {
    return this.host.info.name;
  }
  /** Each dispatch, where the adapter has timestamps. */
  get measures(): boolean {
    return this.host.info.features.includes("timestamp-query");
  }
  /** Bytes that this device holds: states and programs. */
  memory(): number {
    return this.#bytes;
  }
  #check(): void {
    if (this.#disposed) throw new DeviceError({ kind: "Disposed", what: "the webgpu device" });
  }
  async alloc(state: readonly StateSpec[]): Promise<DeviceState> {
    this.#check();
    return State.make(this.#context, state);
  }
  async compile(plan: Plan): Promise<Executable> {
    this.#check();
    const limits = limitsOf(this.host.info, this.options);
    const made = wgsl(limits).compile(plan);
    if (isLeft(made)) throw cannotHold(made.left.message);
    const segments = segmentsOf(made.right, limits.bufferSize);
    if (isLeft(segments)) throw cannotHold(`${segments.left} bytes of it must lie together, and a buffer has ${limits.bufferSize} here`);
    const pipelines = answer(await this.host.pipelines(made.right.pipelines), `program ${plan.name}`);
    if (this.#disposed) this.host.release(pipelines);
    this.#check(); // disposed while they were compiled
    return new Program(this.#context, plan, made.right, segments.right, pipelines);
  }
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const d of [...this.#context.owned]) d[Symbol.dispose]();
    this.#context.order.release(() => this.host.destroy());
  }
}
const cannotHold = (reason: string): DeviceError =>
  new DeviceError({ kind: "CannotHold", device: "webgpu", reason, todo: "use a smaller model or batch, another adapter or the native device" });

/** A device on this host, which it destroys in the end. */
export const createWebgpuOn = (host: GpuHost, options: KernelOptions = {}): WebgpuDevice => new WebgpuDevice(host, options);

/** Left: there is no adapter (the message says what was tried, and what to do) or it gives no device. */
export async function createWebgpu(options: WebgpuOptions = {}): Promise<Either<DeviceError, WebgpuDevice>> {
  const found = await findAdapter(options.adapter);
  if (isLeft(found)) return found;
  const host = await openHost(found.right.adapter, options, found.right.from);
  return isLeft(host) ? left(errorOf(host.left, "a device")) : right(createWebgpuOn(host.right, options));
}
