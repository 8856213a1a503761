// Compiles a C program with the system's compiler into a temporary folder and runs it in this process: the tests' own
// driver, independent of the real device.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { isLeft } from "fp-ts/lib/Either.js";
import koffi from "koffi";
import { type Buffer, elements } from "../../compiler/lower/expr.js";
import type { Plan } from "../../compiler/plan.js";
import { type CProgram, c } from "../../compiler/targets/c/program.js";
import { bytesOf, storageOf } from "../../compiler/targets/c/storage.js";
import type { UpTo } from "../../dsl/node.js";
import { evaluate } from "../../dsl/primitives.js";
import type { Memory } from "./interpret.js";

const run = promisify(execFile);
const driver = `#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
void mallard_main(void *const *, const int32_t *, int, int, void *, void (*)(void *), void *);
struct gate { int n, arrived, turn; };
struct job { void *const *buffers; const int32_t *extents; int tid, n; void *scratch; struct gate *gate; int repeats; double *seconds; };
static void wait_all(void *p) {
  struct gate *g = p;
  int turn = __atomic_load_n(&g->turn, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&g->arrived, 1, __ATOMIC_ACQ_REL) == g->n) {
    g->arrived = 0;
    __atomic_store_n(&g->turn, turn + 1, __ATOMIC_RELEASE);
  } else
    for (int spins = 0; __atomic_load_n(&g->turn, __ATOMIC_ACQUIRE) == turn; spins++) if (spins > 2000) sched_yield();
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
static void *work(void *p) {
  struct job *j = p;
  for (int r = 0; r < j->repeats; r++) {
    wait_all(j->gate);
    double t = now();
    mallard_main(j->buffers, j->extents, j->tid, j->n, j->scratch, wait_all, j->gate);
    wait_all(j->gate);
    if (j->tid == 0) j->seconds[r] = now() - t;
  }
  return 0;
}
void drive(char *memory, const int64_t *offsets, int count, const int32_t *extents, int n, int64_t scratch, int repeats, double *seconds) {
  void **buffers = malloc(sizeof(void *) * (count + 1));
  for (int i = 0; i < count; i++) buffers[i] = memory + offsets[i];
  struct gate gate = {n, 0, 0};
  struct job jobs[64];
  pthread_t threads[64];
  for (int t = 0; t < n; t++) {
    jobs[t] = (struct job){buffers, extents, t, n, aligned_alloc(64, (scratch + 63) / 64 * 64), &gate, repeats, seconds};
    if (t) pthread_create(&threads[t], 0, work, &jobs[t]);
  }
  work(&jobs[0]);
  for (int t = 1; t < n; t++) pthread_join(threads[t], 0);
  for (int t = 0; t < n; t++) free(jobs[t].scratch);
  free(buffers);
}
`;

export interface Compiled {
  readonly program: CProgram;
  /** Runs on a copy of this memory (f64 host values) and gives the memory after. */
  run(
    memory: Memory,
    options?: { threads?: number; extents?: ReadonlyMap<UpTo, number>; repeats?: number },
  ): { memory: Memory; bytes: Uint8Array; seconds: number };
}

/** Compiles and links C files with the flags that the target asks for. */
export async function compileC(units: readonly { name: string; source: string }[], flags: readonly string[]): Promise<ReturnType<typeof koffi.load>> {
  const folder = mkdtempSync(join(tmpdir(), "mallard-codegen-"));
  try {
    const objects = await Promise.all(
      units.map(async ({ name, source }) => {
        const file = join(folder, name);
        writeFileSync(`${file}.c`, source);
        await run(process.env.CC ?? "gcc", [...flags, "-fPIC", "-c", `${file}.c`, "-o", `${file}.o`]);
        return `${file}.o`;
      }),
    );
    await run(process.env.CC ?? "gcc", ["-shared", "-o", join(folder, "all.so"), ...objects, "-lm", "-lpthread"]);
    return koffi.load(join(folder, "all.so"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `more`: flags beside those that the target asks for. */
export async function compile(plan: Plan, more: readonly string[] = []): Promise<Compiled> {
  const result = c.compile(plan);
  if (isLeft(result)) throw new Error(result.left.message);
  const program = result.right;
  const library = await compileC([...program.units, { name: "driver", source: driver }], [...program.flags, ...more]);
  const drive = library.func("void drive(void *memory, void *offsets, int count, void *extents, int n, int64_t scratch, int repeats, void *seconds)");
  const offsets: number[] = [];
  let size = 64;
  for (const b of program.bufferOrder) {
    offsets.push(size);
    // A guard band after each buffer: a store out of bounds shows in the bytes.
    size += Math.ceil((elements(b) * bytesOf(storageOf(b)) + 64) / 64) * 64;
  }
  return {
    program,
    run(memory, { threads = 1, extents = new Map(), repeats = 1 } = {}) {
      const bytes = new Uint8Array(size);
      program.bufferOrder.forEach((b, i) => {
        const data = memory.get(b) as Float64Array;
        writeArray(b, bytes.buffer, bytes.byteOffset + (offsets[i] as number), data);
      });
      const ints = Int32Array.from([...plan.extents.map((e) => extents.get(e) ?? e.max), 0]);
      const seconds = new Float64Array(repeats);
      const places = BigInt64Array.from([...offsets.map((o) => BigInt(o)), 0n]);
      drive(bytes, places, offsets.length, ints, threads, program.scratchBytesPerThread, repeats, seconds);
      const after: Memory = new Map(program.bufferOrder.map((b, i) => [b, readArray(b, bytes.buffer, bytes.byteOffset + (offsets[i] as number))]));
      program.bufferOrder.forEach((b, i) => {
        const end = (offsets[i] as number) + elements(b) * bytesOf(storageOf(b));
        const next = offsets[i + 1] ?? size;
        if (bytes.subarray(end, next).some((x) => x !== 0)) throw new Error(`${b.name}: stored past its end`);
      });
      return { memory: after, bytes: bytes, seconds: Math.min(...seconds) };
    },
  };
}
function writeArray(b: Buffer, at: ArrayBufferLike, offset: number, data: Float64Array) {
  const view = new DataView(at);
  const storage = storageOf(b);
  data.forEach((x, i) => {
    const p = offset + i * bytesOf(storage);
    if (storage === "f32") view.setFloat32(p, x, true);
    else if (storage === "f64") view.setFloat64(p, x, true);
    else if (storage === "i32") view.setInt32(p, x, true);
    else if (storage === "bool") view.setUint8(p, x ? 1 : 0);
    else if (storage === "bf16") {
      scratchView.setFloat32(0, Number(evaluate("toBf16", [x])), true);
      view.setUint16(p, scratchView.getUint16(2, true), true);
    } else view.setUint16(p, halfBits(x), true);
  });
}
const scratchView = new DataView(new ArrayBuffer(8));
function halfBits(x: number): number {
  const r = Number(evaluate("toF16", [x]));
  if (Number.isNaN(r)) return 0x7e00;
  const sign = r < 0 || Object.is(r, -0) ? 0x8000 : 0;
  const a = Math.abs(r);
  if (a === Infinity) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | Math.round(a * 2 ** 24);
  const e = Math.floor(Math.log2(a));
  return sign | ((e + 15) << 10) | Math.round((a / 2 ** e - 1) * 1024);
}
function halfValue(h: number): number {
  const [s, e, m] = [h & 0x8000 ? -1 : 1, (h >> 10) & 31, h & 1023];
  return e === 31 ? (m ? Number.NaN : s * Infinity) : e === 0 ? s * m * 2 ** -24 : s * (1 + m / 1024) * 2 ** (e - 15);
}
function readArray(b: Buffer, at: ArrayBufferLike, offset: number): Float64Array {
  const view = new DataView(at);
  const storage = storageOf(b);
  return Float64Array.from({ length: elements(b) }, (_, i) => {
    const p = offset + i * bytesOf(storage);
    switch (storage) {
      case "f32":
        return view.getFloat32(p, true);
      case "f64":
        return view.getFloat64(p, true);
      case "i32":
        return view.getInt32(p, true);
      case "bool":
        return view.getUint8(p);
      case "bf16":
        scratchView.setUint16(0, 0);
        scratchView.setUint16(2, view.getUint16(p, true), true);
        return scratchView.getFloat32(0, true);
      case "f16":
        return halfValue(view.getUint16(p, true));
    }
  });
}

/** A plan of these steps over these buffers, with no names at its boundary. */
export function planOf(name: string, buffers: readonly Buffer[], steps: Plan["steps"], extents: readonly UpTo[] = []): Plan {
  return { name, buffers, steps, extents, inputs: {}, outputs: {}, state: {}, offsets: new Map(), arenaBytes: 0 };
}
