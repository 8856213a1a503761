/// <reference lib="esnext.disposable" preserve="true" />
// What every device is. A session owns state and binds several programs to it.
import type { LowerOptions } from "../compiler/lower/lower.js";
import type { Plan } from "../compiler/plan.js";
import type { DType } from "../dsl/node.js";
import type { Words } from "../dsl/random.js";
import type { Image } from "./image.js";

/** Host arrays at the boundary, row-major in the axis order of the expression. bf16 and f16 travel as Float32Array. */
export type HostArray = Float32Array | Float64Array | Int32Array | Uint8Array;
export interface StateSpec {
  readonly path: string;
  readonly dtype: DType;
  readonly elements: number;
}
/** Memory a session keeps between runs, by path. */
export interface DeviceState {
  read(path: string): Promise<HostArray>;
  write(path: string, data: ArrayLike<number>): Promise<void>;
  /** Zeroed memory for further paths; what is held stays where it is. */
  extend(state: readonly StateSpec[]): Promise<void>;
  /** Writes std times the normal draws of a key (dsl/random.ts), rounded to f32 and then to the storage: what `write` would
   *  write, faster. False: this device, or this dtype, goes without. */
  draw(path: string, key: Words, std: number): Promise<boolean>;
  [Symbol.dispose](): void;
}
export interface Executable {
  /** Runs once on this state. Inputs by the plan's names; extents by UpTo name. The results are copies. One run at a
   *  time per state: the device queues. */
  run(
    state: DeviceState,
    inputs: Readonly<Record<string, ArrayLike<number>>>,
    extents: ReadonlyMap<number, number>,
  ): Promise<Readonly<Record<string, HostArray>>>;
  /** Name and readable source of each kernel. */
  readonly kernels: readonly { readonly name: string; readonly source: string }[];
  /** What it can be made of again; none where the device keeps no programs. */
  readonly image?: Image;
  [Symbol.dispose](): void;
}
/** Where a device keeps compiled programs from process to process (devices/native/programs.ts). */
export interface ProgramStore {
  /** Of a program's identity and all else that its compilation depends on; null: it cannot be kept. */
  key(identity: string): string | null;
  recall(key: string): Uint8Array | null;
  /** What was recalled cannot be used; null: its code is gone, which is nobody's fault. */
  refuse(key: string, why: string | null): void;
  keep(key: string, bytes: Uint8Array): void;
  /** `plan`: what it was compiled from, for its kernels' texts, which nobody may ever ask for. null: its code is gone. */
  open(image: Image, plan: () => Plan): Executable | null;
}
export interface Device {
  readonly name: string;
  /** What computes, for the user: "2 threads", or the adapter's name. */
  readonly hardware: string;
  /** What its target wants of a plan. */
  readonly lowering: LowerOptions;
  /** Allocates (zeroed) state for these paths. */
  alloc(state: readonly StateSpec[]): Promise<DeviceState>;
  compile(plan: Plan): Promise<Executable>;
  /** How many runs are worth asking for while one is under way, where results come back late; none unless said. */
  readonly ahead?: number;
  /** Programs can measure their kernels as they run (Plan.profile). */
  readonly measures?: boolean;
  /** None where programs are not kept. */
  readonly programs?: ProgramStore | undefined;
  [Symbol.dispose](): void;
}
