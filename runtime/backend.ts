// What a session needs of a device: from an expanded program to something that runs. Compiled devices lower the
// program to a plan first; the f64 oracle evaluates the graph itself.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { type LowerError, lower, type Program } from "../compiler/lower/lower.js";
import { regions } from "../compiler/lower/regions.js";
import type { Expanded } from "../compiler/pipeline.js";
import type { Leaf, UpTo } from "../dsl/node.js";
import type { Device, DeviceState, Executable, StateSpec } from "./device.js";

export interface Compiled {
  readonly executable: Executable;
  readonly extents: readonly UpTo[];
  /** Everything kept between runs that the program reads or writes. */
  readonly state: readonly Leaf[];
}
/** The program, and what the graph passes know beside (the users' own functions, for the oracle). */
export interface Source extends Program {
  readonly source: Expanded;
}
/** The leaves of a graph that a session keeps. */
export const stateOf = (p: Program): readonly Leaf[] => {
  const read = regions([...Object.values(p.outputs), ...p.updates.map((u) => u.value)]).order.filter(
    (n): n is Leaf => n.op === "leaf" && (n.role === "param" || n.role === "state"),
  );
  return [...new Set([...read, ...p.updates.map((u) => u.leaf)])];
};
export interface Backend {
  readonly name: string;
  readonly threads: number;
  alloc(state: readonly StateSpec[]): Promise<DeviceState>;
  compile(program: Source): Promise<Either<LowerError, Compiled>>;
  [Symbol.dispose](): void;
}

export const compiledBackend = (device: Device, threads: number): Backend => ({
  name: device.name,
  threads,
  alloc: (state) => device.alloc(state),
  compile: async (program) => {
    const plan = lower(program);
    if (isLeft(plan)) return left(plan.left);
    return right({ executable: await device.compile(plan.right), extents: plan.right.extents, state: stateOf(program) });
  },
  [Symbol.dispose]: () => device[Symbol.dispose](),
});
