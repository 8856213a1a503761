// The roofs that a kernel's speed is set against (the roofline model: Williams, Waterman and Patterson, 2009): what the
// processor can compute, and what its memory can deliver. Measured, not read off a data sheet, on the threads that are used.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { openPeak, type Peak } from "./devices/native/peak.js";
import { DeviceError } from "./errors.js";

export interface Roofs {
  readonly threads: number;
  /** Fused multiply-adds on the widest vectors, two operations each. */
  readonly gflops: number;
  /** Floats in such a vector. */
  readonly lanes: number;
  /** GB/s of memory beyond the caches: the better of reading, and of two reads and a write. */
  readonly memory: number;
  /** GB/s of reading what stays in a core's own cache. */
  readonly cache: number;
}
/** All threads' share together: beyond any cache. */
const BEYOND_CACHES_KIB = 256 * 1024;
/** A thread's: within the second level, and beyond the first. */
const WITHIN_CACHE_KIB = 256;

/** The greatest readings of a running meter, `seconds` for each of the roofs. */
export async function roofsOf(peak: Peak, seconds: number): Promise<Roofs> {
  const best = async (task: Parameters<Peak["measure"]>[0]) => Math.max(...(await peak.measure(task, seconds)));
  let [gflops, lanes] = [0, 0];
  for (const width of peak.widths) {
    const found = await best(["fma", width]);
    if (found > gflops) [gflops, lanes] = [found, width];
  }
  const share = Math.ceil(BEYOND_CACHES_KIB / peak.threads);
  const memory = Math.max(await best(["read", share]), await best(["triad", share]));
  return { threads: peak.threads, gflops, lanes, memory, cache: await best(["read", WITHIN_CACHE_KIB]) };
}

/** Compiles the meter, measures for about a second, and ends it. Left: there is no C compiler, or the meter does not run. */
export async function measureRoofs(threads: number, seconds = 0.2): Promise<Either<DeviceError, Roofs>> {
  const peak = await openPeak(threads);
  if (isLeft(peak)) return peak;
  try {
    return right(await roofsOf(peak.right, seconds));
  } catch (e) {
    if (e instanceof DeviceError) return left(e);
    throw e;
  } finally {
    peak.right.close();
  }
}
