// Times choices for one kernel beside each other (targets/c/trial.ts): compiled in a folder that is gone afterwards, on memory of
// the kernel's own, by the device's threads. A run takes a fraction of a second, so that whoever waits can stop in between.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { type Buffer, elements } from "../../../compiler/lower/expr.js";
import { cFlags } from "../../../compiler/targets/c/program.js";
import { SWEEP, type Trial } from "../../../compiler/targets/c/trial.js";
import { DeviceError } from "../../errors.js";
import { BYTES, type StorageArray, storage } from "../../host.js";
import { obtain } from "./cache.js";
import { reasonOf } from "./folder.js";
import { type Address, load } from "./load.js";
import type { Allocation, Native, Pool } from "./pool.js";
import { type Toolchain, withFlags } from "./toolchain.js";

/** What a device lends: its threads, compiler and folder. `alone` runs a job while the device runs nothing else. */
export interface Bench {
  readonly native: Native;
  readonly pool: Pool;
  readonly toolchain: Toolchain;
  readonly folder: string;
  readonly alone: <T>(job: () => Promise<T>) => Promise<T>;
}
export interface Stopwatch {
  /** Seconds: of each kernel asked for, those of every round. */
  run(rounds: number, which: readonly number[]): Promise<E.Either<DeviceError, readonly Float64Array[]>>;
  [Symbol.dispose](): void;
}

export async function stopwatch(bench: Bench, trial: Trial, maxRounds: number): Promise<E.Either<DeviceError, Stopwatch>> {
  const { native, pool } = bench;
  let work: string | undefined;
  try {
    work = mkdtempSync(join(bench.folder, ".work-"));
    const opened = await obtain(work, withFlags(bench.toolchain, cFlags), trial.units);
    if (E.isLeft(opened)) return opened;
    const library = load(opened.right.library);
    if (E.isLeft(library)) return library;
    const held: Allocation[] = [];
    const dispose = () => {
      for (const a of held.splice(0)) native.free(a);
      library.right.unload();
    };
    const fail = (e: E.Left<DeviceError>) => {
      dispose();
      return e;
    };
    const entry = library.right.address(trial.entry);
    if (E.isLeft(entry)) return fail(entry);
    const kernels = trial.units.length;
    const needs = [
      ...trial.buffers.map((b) => ({ bytes: elements(b) * BYTES[b.dtype], fill: b })),
      { bytes: maxRounds * kernels * 8, fill: null },
      { bytes: pool.threads * SWEEP, fill: null },
      { bytes: (2 + kernels) * 4, fill: null },
      { bytes: (trial.buffers.length + 2) * 8, fill: null },
    ];
    for (const { bytes, fill } of needs) {
      const a = native.alloc(bytes, "measuring a kernel");
      if (E.isLeft(a)) return fail(a);
      held.push(a.right);
      if (fill) native.put(a.right.address, samples(fill));
    }
    const [times, , extents, table] = held.slice(-4).map((a) => a.address) as [Address, Address, Address, Address];
    native.put(
      table,
      BigUint64Array.from(held.slice(0, -2), (a) => a.address),
    );
    return E.right({
      run: (rounds, which) =>
        bench.alone(async () => {
          if (rounds > maxRounds) throw new Error(`${rounds} rounds in room for ${maxRounds}`);
          native.put(extents, Int32Array.of(rounds, which.length, ...which));
          const ran = await pool.run(entry.right, table, extents, trial.scratchBytesPerThread);
          if (E.isLeft(ran)) return ran;
          const all = new Float64Array(rounds * which.length);
          native.get(all, times);
          return E.right(which.map((_, t) => Float64Array.from({ length: rounds }, (__, r) => all[r * which.length + t] as number)));
        }),
      [Symbol.dispose]: dispose,
    });
  } catch (e) {
    return E.left(new DeviceError({ kind: "CacheFailed", folder: bench.folder, reason: reasonOf(e) }));
  } finally {
    if (work) rmSync(work, { recursive: true, force: true });
  }
}

/** Numbers in ±1 that are neither zero nor denormal; 0 for integers, which may be indices; all true. */
function samples(b: Buffer): StorageArray {
  const out = storage(b.dtype, elements(b));
  if (b.dtype === "i32") return out;
  if (b.dtype === "bool") return out.fill(1);
  // 16 bits of either kind: between 2^-7 and 1 in size, of both signs.
  const half = b.dtype === "bf16" ? [0x3c00, 0x37f] : b.dtype === "f16" ? [0x2000, 0x1bff] : null;
  let state = 1;
  for (let i = 0; i < out.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const high = state >>> 9;
    out[i] = half ? ((high & 1) << 15) | ((half[0] as number) + (high % (half[1] as number))) : high / 2 ** 22 - 1 + 2 ** -24;
  }
  return out;
}
