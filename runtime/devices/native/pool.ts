// The native runtime (pool-source.ts) as JavaScript sees it: allocations, copies, and pools of threads. It is compiled
// once, cached like kernels, and loaded once a process for each compiler and cache folder.
import { availableParallelism } from "node:os";
import * as E from "fp-ts/lib/Either.js";
import type { DType } from "../../../dsl/node.js";
import { DeviceError, type DeviceFault } from "../../errors.js";
import { BYTES, type Layout, type StorageArray } from "../../host.js";
import type { Unit } from "./build.js";
import { type EntryFault, keyOf, obtain } from "./cache.js";
import { FILL_SOURCE } from "./fill-source.js";
import { type Address, type Library, load } from "./load.js";
import { POOL_SOURCE } from "./pool-source.js";
import type { Environment, Toolchain } from "./toolchain.js";

export const POOL_UNIT: Unit = { name: "mallard_pool", source: POOL_SOURCE };
const UNITS: readonly Unit[] = [POOL_UNIT, { name: "mallard_fill", source: FILL_SOURCE }];
export const MAX_THREADS = 1024;
/** How a thread waits before it sleeps. While cores suffice the wait for the next kernel is worth some tens of microseconds; else
 *  the core is another thread's, and giving it away is a quarter of what sleeping and waking cost. */
const PATIENCE = { spins: 2000, yields: 0 };
const PATIENCE_CROWDED = { spins: 20, yields: 4 };

export interface Allocation {
  readonly address: Address;
  readonly bytes: number;
}
export interface Pool {
  readonly threads: number;
  /** Runs the entry on all threads. The event loop stays free. One run at a time: callers queue. */
  run(entry: Address, buffers: Address, extents: Address, scratchBytes: number): Promise<E.Either<DeviceError, void>>;
  /** Ends and joins the threads, after a run in progress; a run that has not begun settles as Disposed. A second call does nothing. */
  dispose(): void;
}
export interface Native {
  /** Zeroed, aligned to 64 bytes. `what` is for the message. */
  alloc(bytes: number, what: string): E.Either<DeviceError, Allocation>;
  free(a: Allocation): void;
  /** Bytes allocated now in this process, scratch and pools with them. */
  memory(): number;
  /** Returns freed memory of the C library to the system. */
  trim(): void;
  /** Between a row-major array of run-time sizes and a buffer of maximal ones. */
  copyIn(to: Address, layout: Layout, dtype: DType, from: StorageArray): void;
  copyOut(to: StorageArray, layout: Layout, dtype: DType, from: Address): void;
  /** As many bytes as the array has, as they are. */
  put(to: Address, from: StorageArray | BigUint64Array): void;
  get(to: StorageArray, from: Address): void;
  /** An entry for a pool to run (fill-source.ts). */
  readonly fill: Address;
  pool(threads: number): E.Either<DeviceError, Pool>;
}

/** MALLARD_THREADS, or one thread a core. */
export function threadCount(asked: number | undefined, env: Environment = process.env): E.Either<DeviceError, number> {
  const text = asked === undefined ? (env.MALLARD_THREADS ?? "") : String(asked);
  if (text === "") return E.right(Math.min(MAX_THREADS, availableParallelism()));
  const n = Number(text);
  return Number.isInteger(n) && n >= 1 && n <= MAX_THREADS
    ? E.right(n)
    : E.left(
        new DeviceError({
          kind: "BadOption",
          option: asked === undefined ? "MALLARD_THREADS" : "threads",
          value: text,
          expected: `a whole number from 1 to ${MAX_THREADS}`,
        }),
      );
}

/** Axes from the innermost on that lie without gaps on both sides are one block. Strides and block in bytes. */
function collapse(layout: Layout, unit: number) {
  const { counts, strides } = layout;
  let block = 1;
  let rank = counts.length;
  while (rank > 0 && (strides[rank - 1] === block || counts[rank - 1] === 1)) block *= counts[--rank]!;
  const tight: bigint[] = [];
  for (let a = rank - 1, step = block; a >= 0; a--) {
    tight.unshift(BigInt(step * unit));
    step *= counts[a]!;
  }
  return {
    rank,
    counts: BigInt64Array.from(counts.slice(0, rank), BigInt),
    wide: BigInt64Array.from(strides.slice(0, rank), (s) => BigInt(s * unit)),
    tight: BigInt64Array.from(tight),
    block: block * unit,
  };
}

/** What mallard_run gives (pool-source.ts). */
function faultOf(status: number, scratch: number): DeviceFault | null {
  switch (status) {
    case 0:
      return null;
    case 1:
      return { kind: "OutOfMemory", what: "the threads' scratch memory", bytes: scratch };
    case 2:
      return { kind: "Disposed", what: "the pool" };
    case 3:
      return { kind: "RunFailed", reason: "the process was forked: its threads are in the parent" };
    default:
      return { kind: "RunFailed", reason: `status ${status}` };
  }
}
const EMPTY = new BigInt64Array(1);

// koffi's functions take and give anything: these are the C declarations of pool-source.ts.
function bind(handle: Library["handle"]): Native {
  type Place = Address | StorageArray | BigUint64Array;
  const alloc: (bytes: number) => Address | null = handle.func("mallard_alloc", "void *", ["uint64_t"]);
  const free: (p: Address, bytes: number) => void = handle.func("mallard_free", "void", ["void *", "uint64_t"]);
  const trim: () => void = handle.func("mallard_trim", "void", []);
  const memory: () => number | bigint = handle.func("mallard_memory", "int64_t", []);
  const copy: (
    to: Place,
    from: Place,
    rank: number,
    counts: BigInt64Array,
    toStrides: BigInt64Array,
    fromStrides: BigInt64Array,
    block: number,
  ) => void = handle.func("mallard_copy", "void", ["void *", "void *", "int", "void *", "void *", "void *", "uint64_t"]);
  const pin: () => number = handle.func("mallard_pin", "int", []);
  const create: (threads: number, spins: number, yields: number) => Address | null = handle.func("mallard_pool_create", "void *", [
    "int",
    "int",
    "int",
  ]);
  const destroy: (pool: Address) => void = handle.func("mallard_pool_destroy", "void", ["void *"]);
  const expect: (pool: Address) => void = handle.func("mallard_pool_expect", "void", ["void *"]);
  const runAsync: (
    pool: Address,
    entry: Address,
    buffers: Address,
    extents: Address,
    scratch: number,
    then: (error: Error | null, status: number) => void,
  ) => void = handle.func("mallard_run", "int", ["void *", "void *", "void *", "void *", "uint64_t"]).async;
  if (!pin()) throw new Error("the native runtime cannot be kept in memory"); // the loader has just loaded that very name
  const flat = (to: Place, from: Place, bytes: number) => {
    if (bytes > 0) copy(to, from, 0, EMPTY, EMPTY, EMPTY, bytes);
  };
  return {
    alloc(bytes, what) {
      const address = alloc(bytes);
      return address === null ? E.left(new DeviceError({ kind: "OutOfMemory", what, bytes })) : E.right({ address, bytes });
    },
    free: (a) => free(a.address, a.bytes),
    memory: () => Number(memory()),
    trim,
    copyIn(to, layout, dtype, from) {
      if (layout.elements === 0) return;
      const c = collapse(layout, BYTES[dtype]);
      copy(to, from, c.rank, c.counts, c.wide, c.tight, c.block);
    },
    copyOut(to, layout, dtype, from) {
      if (layout.elements === 0) return;
      const c = collapse(layout, BYTES[dtype]);
      copy(to, from, c.rank, c.counts, c.tight, c.wide, c.block);
    },
    put: (to, from) => flat(to, from, from.byteLength),
    fill: handle.symbol("mallard_fill"),
    get: (to, from) => flat(to, from, to.byteLength),
    pool(threads) {
      const { spins, yields } = threads <= availableParallelism() ? PATIENCE : PATIENCE_CROWDED;
      const made = create(threads, spins, yields);
      if (made === null) return E.left(new DeviceError({ kind: "OutOfMemory", what: `a pool of ${threads} threads`, bytes: threads * 2 ** 23 }));
      let pool: Address | null = made;
      return E.right({
        threads,
        run: (entry, buffers, extents, scratchBytes) =>
          new Promise((settle) => {
            if (pool === null) return settle(E.left(new DeviceError({ kind: "Disposed", what: "the pool" })));
            expect(pool);
            runAsync(pool, entry, buffers, extents, scratchBytes, (error, status) => {
              const fault = error ? ({ kind: "RunFailed", reason: error.message } as const) : faultOf(status, threads * scratchBytes);
              settle(fault ? E.left(new DeviceError(fault)) : E.right(undefined));
            });
          }),
        dispose() {
          if (pool === null) return;
          const p = pool;
          pool = null;
          destroy(p);
        },
      });
    },
  };
}

export interface LoadedNative {
  readonly native: Native;
  /** A cache entry that was refused and built again. */
  readonly refused: EntryFault | null;
}
const loaded = new Map<string, Native>();
export async function loadNative(folder: string, tool: Toolchain): Promise<E.Either<DeviceError, LoadedNative>> {
  const id = `${folder}\0${keyOf(tool, UNITS)}`;
  const known = loaded.get(id);
  if (known) return E.right({ native: known, refused: null });
  const opened = await obtain(folder, tool, UNITS);
  if (E.isLeft(opened)) return opened;
  const library = load(opened.right.library);
  if (E.isLeft(library)) return library;
  // Two calls may have come here at once: the first one's stays.
  const first = loaded.get(id);
  if (first) library.right.unload();
  const native = first ?? bind(library.right.handle);
  loaded.set(id, native);
  return E.right({ native, refused: opened.right.refused });
}
