// Where gpu.js programs run: the narrow side of the device. What crosses it is data (numbers, strings, Float32Arrays) and
// promises, so a host may be this thread, a worker, or a page in another process. The device (index.ts) keeps what users see:
// names, storage types, checks, messages; a host keeps arrays, compiled kernels and the order of runs.
//
// Memories and programs are numbers that the host gives. Runs on one host follow one another. A memory that is freed, or a
// program that is closed, during a run ends it: its result is the fault `Disposed`.
import type { GpujsMode } from "../../../compiler/targets/gpujs/limits.js";
import type { GpujsProgram } from "../../../compiler/targets/gpujs/program.js";
import type { DeviceFault } from "../../errors.js";

export interface GpujsCall {
  /** Run-time extents, by their variables. */
  readonly ints: Readonly<Record<string, number>>;
  /** Values of the inputs, each at its place among greatest sizes. */
  readonly inputs: readonly (readonly [buffer: number, values: Float32Array])[];
  /** The memory that is a state buffer. */
  readonly state: readonly (readonly [buffer: number, memory: number])[];
  /** Buffers whose values are the result. */
  readonly outputs: readonly number[];
}
/** Faults are data: an error's class does not survive the way from another process. */
export type GpujsResult = { readonly ok: true; readonly values: readonly Float32Array[] } | { readonly ok: false; readonly fault: DeviceFault };

export interface GpujsHost {
  readonly mode: GpujsMode;
  /** Zeroed memories of so many elements, that lie between runs. */
  alloc(elements: readonly number[]): Promise<readonly number[]>;
  read(memory: number): Promise<Float32Array>;
  write(memory: number, values: Float32Array): Promise<void>;
  free(memories: readonly number[]): Promise<void>;
  /** Kernels compile when they first run. */
  open(program: GpujsProgram): Promise<number>;
  run(program: number, call: GpujsCall): Promise<GpujsResult>;
  close(program: number): Promise<void>;
  destroy(): Promise<void>;
}
