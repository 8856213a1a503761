// The pool of threads, and a process that has one.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { obtain } from "../../runtime/devices/native/cache.js";
import { type Address, type Library, load } from "../../runtime/devices/native/load.js";
import { loadNative, type Native, threadCount } from "../../runtime/devices/native/pool.js";
import { findToolchain } from "../../runtime/devices/native/toolchain.js";
import { needs } from "../require.js";
import { PROLOGUE } from "./native-fixture.js";

const temp = mkdtempSync(join(tmpdir(), "mallard-pool-"));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
const right = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};

describe("the number of threads", () => {
  it("is the option's, MALLARD_THREADS', or the cores'", () => {
    expect(threadCount(3, { MALLARD_THREADS: "5" })).toEqual(E.right(3));
    expect(threadCount(undefined, { MALLARD_THREADS: "5" })).toEqual(E.right(5));
    expect(right(threadCount(undefined, {}))).toBeGreaterThanOrEqual(1);
  });
  it.each(["0", "-1", "1.5", "two", "100000", "1e9"])("refuses %s", (text) => {
    const r = threadCount(undefined, { MALLARD_THREADS: text });
    expect(E.isLeft(r) && r.left.message).toContain(`MALLARD_THREADS is "${text}": expected a whole number from 1`);
  });
});

describe.skipIf(!(await needs("compiler")))("a pool", async () => {
  const found = await findToolchain();
  const setup = async (body: string): Promise<{ native: Native; entry: Address; library: Library }> => {
    const tool = right(found);
    const { native } = right(await loadNative(temp, tool));
    const library = right(load(right(await obtain(temp, tool, [{ name: "unit", source: `${PROLOGUE}ENTRY {\n${body}\n}\n` }])).library));
    return { native, library, entry: right(library.address("mallard_main")) };
  };

  it.each([1, 2, 3, 5])(
    "of %d threads passes barriers in step, under load",
    async (threads) => {
      // Every thread writes its cell, and after the barrier checks all cells: one error if any thread runs ahead or
      // behind. Two barriers a round, so that nobody overwrites a cell that another still reads. Uneven work on top.
      const { native, entry } = await setup(`
      volatile int32_t *cells = buffers[0];
      int32_t *errors = (int32_t *)buffers[1] + tid * 16;
      for (int32_t round = 1; round <= extents[0]; round++) {
        cells[tid * 16] = round;
        for (volatile int w = 0; w < ((round * 7 + tid * 13) % 5) * 100; w++);
        barrier(arg);
        for (int t = 0; t < nthreads; t++) *errors += cells[t * 16] != round;
        barrier(arg);
      }
      if (tid == 0) cells[nthreads * 16] = nthreads;`);
      const pool = right(native.pool(threads));
      const bytes = (threads + 1) * 64;
      const alloc = (n: number) => right(native.alloc(n, "test"));
      const [cells, errors, table, extents] = [alloc(bytes), alloc(bytes), alloc(16), alloc(4)];
      native.put(table.address, BigUint64Array.of(cells.address, errors.address));
      native.put(extents.address, Int32Array.of(threads > 2 ? 2000 : 20_000));
      for (let i = 0; i < 3; i++) right(await pool.run(entry, table.address, extents.address, 0));
      const seen = new Int32Array(bytes / 4);
      native.get(seen, errors.address);
      expect(seen.every((x) => x === 0)).toBe(true);
      native.get(seen, cells.address);
      expect(seen[threads * 16]).toBe(threads);
      pool.dispose();
      for (const a of [cells, errors, table, extents]) native.free(a);
    },
    60_000,
  );

  it("gives each thread aligned scratch of its own that grows, and frees it", async () => {
    const { native, entry } = await setup(`
      int64_t *out = (int64_t *)buffers[0] + tid * 2;
      out[0] = (int64_t)scratch % 64;
      char *s = scratch;
      for (int i = 0; i < extents[0]; i++) s[i] = (char)tid;
      barrier(arg);
      out[1] = 0;
      for (int i = 0; i < extents[0]; i++) out[1] += s[i];`);
    const before = native.memory();
    const pool = right(native.pool(3));
    const out = right(native.alloc(48, "test"));
    const table = right(native.alloc(8, "test"));
    const extents = right(native.alloc(4, "test"));
    native.put(table.address, BigUint64Array.of(out.address));
    for (const bytes of [100, 3_000_000, 10]) {
      native.put(extents.address, Int32Array.of(bytes));
      right(await pool.run(entry, table.address, extents.address, bytes));
      const seen = new Float64Array(6);
      native.get(seen, out.address);
      expect([...new BigInt64Array(seen.buffer)].map(Number)).toEqual([0, 0, 0, bytes, 0, 2 * bytes]);
    }
    expect(native.memory() - before).toBeGreaterThan(9_000_000);
    const tooMuch = await pool.run(entry, table.address, extents.address, 2 ** 52);
    expect(E.isLeft(tooMuch) && tooMuch.left.kind).toBe("OutOfMemory");
    native.put(extents.address, Int32Array.of(10));
    right(await pool.run(entry, table.address, extents.address, 10)); // and goes on after it
    pool.dispose();
    pool.dispose();
    for (const a of [out, table, extents]) native.free(a);
    expect(native.memory()).toBe(before);
    const gone = await pool.run(entry, 0n, 0n, 0);
    expect(E.isLeft(gone) && gone.left.kind).toBe("Disposed");
  });

  it("leaves the event loop free, and joins its threads after a run in progress", async () => {
    const { native, entry } = await setup(`
      volatile int64_t x = 0;
      for (int64_t i = 0; i < 150000000; i++) x += i;
      ((int64_t *)buffers[0])[tid] = x;`);
    const pool = right(native.pool(2));
    const out = right(native.alloc(16, "test"));
    const table = right(native.alloc(8, "test"));
    native.put(table.address, BigUint64Array.of(out.address));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 2);
    right(await pool.run(entry, table.address, 0n, 0));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(3);
    const last = pool.run(entry, table.address, 0n, 0);
    await new Promise((r) => setTimeout(r, 60));
    pool.dispose();
    right(await last);
    native.free(out);
    native.free(table);
  }, 60_000);

  it("disposed at once, lets every run that was handed to it end or never begin", async () => {
    const { native, entry } = await setup("((int32_t *)buffers[0])[tid]++;");
    const before = native.memory();
    for (let round = 0; round < 100; round++) {
      const pool = right(native.pool(2));
      const out = right(native.alloc(16, "test"));
      const table = right(native.alloc(8, "test"));
      native.put(table.address, BigUint64Array.of(out.address));
      const runs = [...Array(6).keys()].map(() => pool.run(entry, table.address, 0n, 1000));
      pool.dispose();
      const counted = new Int32Array(2);
      native.get(counted, out.address);
      native.free(out);
      native.free(table);
      const ended = (await Promise.all(runs)).map((r) => (E.isLeft(r) ? r.left.kind : "done"));
      expect(ended.every((e) => e === "done" || e === "Disposed")).toBe(true);
      const done = ended.filter((e) => e === "done").length;
      expect([...counted]).toEqual([done, done]);
    }
    expect(native.memory()).toBe(before);
  }, 60_000);

  it("lies in pages that are zero, and gives back what it took", async () => {
    const { native } = await setup("");
    const before = native.memory();
    for (const bytes of [0, 1, 63, 64, 4096, 2 ** 20, 5_000_001]) {
      const a = right(native.alloc(bytes, "test"));
      expect(a.address % 64n).toBe(0n);
      const seen = new Uint8Array(bytes);
      seen.fill(1);
      native.get(seen, a.address);
      expect(seen.every((x) => x === 0)).toBe(true);
      native.put(a.address, new Uint8Array(bytes).fill(255));
      expect(native.memory() - before).toBeGreaterThanOrEqual(bytes);
      native.free(a);
      expect(native.memory()).toBe(before);
    }
    const r = native.alloc(2 ** 52, "a tensor");
    expect(E.isLeft(r) && r.left.message).toContain("a tensor needs");
  });

  const exec = promisify(execFile);
  const script = new URL("./exits.ts", import.meta.url).pathname;
  it.each(["idle", "disposed", "in flight", "exit in flight", "thrown"])(
    "does not keep a process from ending: %s",
    async (how) => {
      const started = performance.now();
      const r = await exec(process.execPath, ["--import", "tsx", script, temp, how], { timeout: 30_000 }).catch((e) => e);
      expect(r.stdout).toContain("ready");
      expect({ code: r.code ?? 0, signal: r.signal ?? null }).toEqual({
        code: how === "thrown" ? 1 : how === "exit in flight" ? 3 : 0,
        signal: null,
      });
      expect(performance.now() - started).toBeLessThan(20_000);
    },
    40_000,
  );
});
