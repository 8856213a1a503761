// What the parts of the benchmark have in common.
import { isLeft } from "fp-ts/lib/Either.js";
import { openSession, type Session, type TuneProgress } from "../index.js";
import type { Arguments, Size } from "./arguments.js";
import type { Contestant } from "./contestant.js";
import type { Row, Table } from "./results.js";

export interface Outcome {
  readonly rows: readonly Row[];
  /** What has other columns than a comparison. */
  readonly tables?: readonly Table[];
  readonly systems: readonly string[];
  readonly notes: readonly string[];
}
export interface Context {
  /** `size`: the one that the part is run at, of `sizes`. */
  readonly args: Omit<Arguments, "sizes"> & { readonly size: Size; readonly sizes: readonly Size[] };
  readonly progress: (line: string) => void;
}

/** `tuning`: kernels are measured before a program is compiled, and this is told which. */
export async function openNative(threads: number, tuning?: (line: string) => void): Promise<Session> {
  const progress = ({ kernel, done, of }: TuneProgress) => tuning?.(kernel === null ? `tuned ${done} of ${of} kernels` : `tuning ${kernel}`);
  const s = await openSession("native", { threads, tune: tuning && { progress } });
  if (isLeft(s)) throw s.left;
  return s.right;
}
/** Seconds of each call, as many as fit (one at least). */
export async function repeated(seconds: number, call: () => Promise<unknown>): Promise<readonly number[]> {
  const out: number[] = [];
  const end = performance.now() + seconds * 1e3;
  for (let start = performance.now(); out.length < 1 || start < end; ) {
    await call();
    const after = performance.now();
    out.push((after - start) / 1e3);
    start = after;
  }
  return out;
}
/** Ours among the contestants. */
export const ours = (detail: string, slice: Contestant["slice"], close: () => void): Contestant => ({ name: "Mallard", detail, slice, close });
