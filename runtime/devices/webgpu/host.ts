// What stands between our WebGPU device and WebGPU itself: a few calls whose arguments and results are plain data (numbers,
// strings, byte arrays), so that the GPU may be in this process (local.ts), in a worker, or in a browser that a test drives.
// What lives on the GPU is known by numbers.
//
// Jobs run in the order in which `submit` is called, and whatever a call does, it does in that order with the jobs: a buffer
// that is freed after a job was submitted is there until the job has ended. Nothing is thrown: a fault is data too.
import type { Either } from "fp-ts/lib/Either.js";
import type { WgslPipeline } from "../../../compiler/targets/wgsl/program.js";
import type { FeatureName, GpuLimits } from "./gpu.js";

export type GpuFault = LostFault | MemoryFault | RefusedFault;
/** The device is gone, and with it all memory. destroyed: by us. */
export interface LostFault {
  readonly kind: "lost";
  readonly reason: "destroyed" | "unknown";
  readonly message: string;
}
export interface MemoryFault {
  readonly kind: "memory";
  readonly bytes: number;
  readonly message: string;
}
/** WebGPU refuses a shader, a binding or a command: a defect of ours. `what`: which. */
export interface RefusedFault {
  readonly kind: "refused";
  readonly what: string;
  readonly message: string;
}

export interface HostInfo {
  /** For the user: vendor and device. */
  readonly name: string;
  /** Runs on the processor. */
  readonly software: boolean;
  /** The device's, which are those that kernels must obey. */
  readonly limits: GpuLimits;
  readonly features: readonly FeatureName[];
  /** How many invocations a subgroup has; null where there are none. */
  readonly subgroups: { readonly min: number; readonly max: number } | null;
}

export type PipelineSpec = Pick<WgslPipeline, "name" | "source" | "access" | "ints">;
export interface HostBinding {
  readonly buffer: number;
  /** Bytes; offsets are multiples of 256, lengths of 4. */
  readonly offset: number;
  readonly bytes: number;
}
/** Dispatches in order, with all that stays the same from run to run. */
export interface DispatchList {
  readonly dispatches: readonly {
    readonly pipeline: number;
    readonly bindings: readonly HostBinding[];
    /** Where this dispatch's integers begin in the list's own uniform buffer: a multiple of 256; null where it has none. */
    readonly ints: number | null;
  }[];
  /** Bytes of the uniform buffer. */
  readonly uniform: number;
}

/** In this order: writes, copies, dispatches, reads. Offsets and lengths are bytes, multiples of 4. */
export interface GpuJob {
  readonly writes?: readonly { readonly buffer: number; readonly offset: number; readonly data: Uint8Array }[];
  readonly copies?: readonly {
    readonly from: number;
    readonly fromOffset: number;
    readonly to: number;
    readonly toOffset: number;
    readonly bytes: number;
  }[];
  readonly run?: {
    readonly list: number;
    /** What the list's uniform buffer holds from now on; null: what it held. */
    readonly ints: Uint8Array | null;
    /** Workgroups along x and y of each dispatch; one with none is left out. */
    readonly groups: Uint32Array;
    /** Measure each dispatch, on a device with the feature timestamp-query. */
    readonly timed?: boolean;
  };
  readonly reads?: readonly HostBinding[];
}
export interface GpuDone {
  /** One for each read. */
  readonly reads: readonly Uint8Array[];
  /** Nanoseconds of each dispatch of a timed run. */
  readonly times?: Float64Array;
}

export interface GpuHost {
  readonly info: HostInfo;
  /** Zeroed storage buffers, all or none; lengths are multiples of 4 and not 0. `what`: for the fault. */
  buffers(bytes: readonly number[], what: string): Promise<Either<GpuFault, readonly number[]>>;
  free(buffers: readonly number[]): void;
  /** Compiled side by side; equal ones are one. */
  pipelines(specs: readonly PipelineSpec[]): Promise<Either<GpuFault, readonly number[]>>;
  /** Gives up as many uses as `pipelines` gave. */
  release(pipelines: readonly number[]): void;
  prepare(list: DispatchList): Promise<Either<GpuFault, number>>;
  drop(list: number): void;
  /** Ends when the job has: with what it read, or why it did not run. */
  submit(job: GpuJob): Promise<Either<GpuFault, GpuDone>>;
  /** Settles when the device is lost, by `destroy` too. */
  readonly lost: Promise<LostFault>;
  destroy(): void;
}
