// The native device over hand-written C: what goes in, comes out, is kept, is refused, and is freed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { buffer } from "../../compiler/lower/expr.js";
import { UpTo } from "../../dsl/node.js";
import { createNativeWith } from "../../runtime/devices/native/device.js";
import { DeviceError } from "../../runtime/errors.js";
import { needs } from "../require.js";
import { device, emit, plan } from "./native-fixture.js";

const cacheDir = mkdtempSync(join(tmpdir(), "mallard-device-"));
afterAll(() => rmSync(cacheDir, { recursive: true, force: true }));
const none: ReadonlyMap<number, number> = new Map();
const fault = async (p: Promise<unknown>) => {
  try {
    await p;
  } catch (e) {
    if (e instanceof DeviceError) return e;
    throw e;
  }
  throw new Error("did not fail");
};

it("says that there is no compiler", async () => {
  const d = await createNativeWith(emit, { cacheDir, cc: "/nowhere/cc" });
  expect(E.isLeft(d) && d.left.kind).toBe("NoCompiler");
});

describe.skipIf(!(await needs("compiler")))("the native device", () => {
  it.each([1, 2, 3])("runs a plan of state, table, temporaries and inputs on %d threads", async (threads) => {
    using d = await device({ cacheDir, threads });
    const x = buffer("x", "f32", [{ name: "i", extent: 1000 }], "input");
    const w = buffer("w", "f32", [{ name: "i", extent: 1000 }], "state");
    const t = buffer("t", "f32", [{ name: "i", extent: 3 }], "table", Float64Array.of(0.1, 2, Number.NEGATIVE_INFINITY));
    const m = buffer("m", "f32", [{ name: "i", extent: 1000 }], "temp");
    const y = buffer("y", "f32", [{ name: "i", extent: 1000 }], "output");
    const program = await d.compile(
      plan(
        { buffers: [x, w, t, m, y], inputs: { x }, outputs: { y, w }, state: { "layer.w": w }, offsets: new Map([[m.id, 128]]), arenaBytes: 8192 },
        `float *x = buffers[0], *w = buffers[1], *t = buffers[2], *m = buffers[3], *y = buffers[4];
         int lo = 1000 * tid / nthreads, hi = 1000 * (tid + 1) / nthreads;
         for (int i = lo; i < hi; i++) m[i] = x[i] * t[1] + t[0];
         barrier(arg);
         for (int i = lo; i < hi; i++) y[i] = m[999 - i];
         for (int i = lo; i < hi; i++) w[i] += x[i];`,
      ),
    );
    using state = await d.alloc([{ path: "layer.w", dtype: "f32", elements: 1000 }]);
    expect([...(await state.read("layer.w"))].every((v) => v === 0)).toBe(true);
    await state.write("layer.w", new Float64Array(1000).fill(0.5));
    const data = Float32Array.from({ length: 1000 }, (_, i) => i);
    // Three at once: they queue, and each has the data of its own call.
    const runs = [1, 2, 3].map((k) => {
      const given = data.map((v) => v * k);
      const run = program.run(state, { x: given }, none);
      given.fill(Number.NaN);
      return run;
    });
    const results = await Promise.all(runs);
    results.forEach((r, k) => {
      expect(r.y).toEqual(data.map((_, i) => Math.fround(Math.fround((999 - i) * (k + 1) * 2) + Math.fround(0.1))));
    });
    expect(results[2]!.w).toEqual(data.map((v) => 0.5 + 6 * v));
    expect(await state.read("layer.w")).toEqual(results[2]!.w);
    expect(program.kernels[0]!.name).toBe("hand");
  });

  it("sizes arrays by run-time extents and buffers by maximal ones", async () => {
    using d = await device({ cacheDir, threads: 2 });
    const rows = new UpTo(5, "rows");
    const cols = new UpTo(7, "cols");
    const axes = [
      { name: "batch", extent: 2 },
      { name: "row", extent: rows },
      { name: "three", extent: 3 },
      { name: "col", extent: cols },
    ];
    const x = buffer("x", "i32", axes, "input");
    const y = buffer("y", "i32", axes, "output");
    const program = await d.compile(
      plan(
        { buffers: [x, y], inputs: { x }, outputs: { y }, extents: [rows, cols] },
        `int32_t *x = buffers[0], *y = buffers[1];
         if (tid == 0) for (int b = 0; b < 2; b++) for (int r = 0; r < extents[0]; r++) for (int t = 0; t < 3; t++) for (int c = 0; c < extents[1]; c++) {
           int i = ((b * 5 + r) * 3 + t) * 7 + c;
           y[i] = x[i] * 10 + (b * 1000 + r * 100 + t * 10 + c) * 100000;
         }`,
      ),
    );
    using state = await d.alloc([]);
    for (const [r, c] of [
      [5, 7],
      [5, 4],
      [3, 7],
      [1, 1],
      [2, 5],
      [0, 7],
      [4, 0],
    ] as const) {
      const extents = new Map([
        [rows.id, r],
        [cols.id, c],
      ]);
      const given = Int32Array.from({ length: 2 * r * 3 * c }, (_, i) => i);
      const { y: out } = await program.run(state, { x: given }, extents);
      const expected: number[] = [];
      for (let b = 0; b < 2; b++)
        for (let i = 0; i < r; i++)
          for (let t = 0; t < 3; t++) for (let k = 0; k < c; k++) expected.push(expected.length * 10 + (b * 1000 + i * 100 + t * 10 + k) * 100_000);
      expect(out).toEqual(Int32Array.from(expected));
    }
    for (const [bad, got] of [
      [
        new Map([
          [rows.id, 6],
          [cols.id, 1],
        ]),
        6,
      ],
      [
        new Map([
          [rows.id, -1],
          [cols.id, 1],
        ]),
        -1,
      ],
      [
        new Map([
          [rows.id, 1.5],
          [cols.id, 1],
        ]),
        1.5,
      ],
      [new Map([[cols.id, 1]]), undefined],
    ] as const) {
      const e = await fault(program.run(state, { x: [] }, bad));
      expect(e.fault).toEqual({ kind: "Extent", axis: "rows", max: 5, got });
      expect(e.message).toContain("axis rows");
    }
    const short = await fault(
      program.run(
        state,
        { x: new Int32Array(23) },
        new Map([
          [rows.id, 2],
          [cols.id, 2],
        ]),
      ),
    );
    expect(short.message).toBe('"x": expected i32 over batch 2, row 2, three 3, col 2, 24 elements in row-major order, got 23');
  });

  it("converts every dtype both ways", async () => {
    using d = await device({ cacheDir, threads: 1 });
    const specs = [
      { path: "f32", dtype: "f32", elements: 3 },
      { path: "f64", dtype: "f64", elements: 3 },
      { path: "bf16", dtype: "bf16", elements: 3 },
      { path: "f16", dtype: "f16", elements: 3 },
      { path: "i32", dtype: "i32", elements: 3 },
      { path: "bool", dtype: "bool", elements: 3 },
    ] as const;
    using state = await d.alloc(specs);
    for (const { path } of specs) await state.write(path, [1, 0, 1]);
    expect(await state.read("f32")).toEqual(Float32Array.of(1, 0, 1));
    expect(await state.read("f64")).toEqual(Float64Array.of(1, 0, 1));
    expect(await state.read("bf16")).toEqual(Float32Array.of(1, 0, 1));
    expect(await state.read("f16")).toEqual(Float32Array.of(1, 0, 1));
    expect(await state.read("i32")).toEqual(Int32Array.of(1, 0, 1));
    expect(await state.read("bool")).toEqual(Uint8Array.of(1, 0, 1));
    for (const [path, values, at] of [
      ["i32", [0, 1, 0.5], 2],
      ["i32", [2 ** 31, 0, 0], 0],
      ["i32", [0, Number.NaN, 0], 1],
      ["bool", [0, 1, 2], 2],
      ["bool", [0, Number.NaN, 1], 1],
    ] as const) {
      const e = await fault(state.write(path, values));
      expect(e.fault).toMatchObject({ kind: "InputValue", name: path, at });
    }
    expect((await fault(state.write("f32", [1]))).fault).toMatchObject({ kind: "InputLength", elements: 3, got: 1 });
    expect((await fault(state.read("weights"))).message).toContain('the state has no "weights": it has "f32", "f64"');
  });

  it("refuses inputs and states that do not fit", async () => {
    using d = await device({ cacheDir, threads: 1 });
    using other = await device({ cacheDir, threads: 1 });
    const x = buffer("x", "f32", [{ name: "i", extent: 4 }], "input");
    const w = buffer("w", "f32", [{ name: "i", extent: 4 }], "state");
    const program = await d.compile(plan({ buffers: [x, w], inputs: { tokens: x }, state: { w } }, ""));
    using state = await d.alloc([{ path: "w", dtype: "f32", elements: 4 }]);
    expect((await fault(program.run(state, {}, none))).message).toContain('input "tokens" is missing or is not an array: expected f32 over i 4');
    expect((await fault(program.run(state, { tokens: [1, 2, 3, 4], targets: [] }, none))).message).toContain('no input "targets": it has "tokens"');
    expect((await fault(program.run(state, { tokens: [1, 2, 3] }, none))).kind).toBe("InputLength");
    const notArray: Record<string, ArrayLike<number>> = JSON.parse('{ "tokens": 5 }');
    expect((await fault(program.run(state, notArray, none))).kind).toBe("MissingInput");
    const words: Record<string, ArrayLike<number>> = JSON.parse('{ "tokens": ["a", 1, 2, 3] }');
    expect((await fault(program.run(state, words, none))).kind).toBe("InputValue");
    using empty = await d.alloc([]);
    expect((await fault(program.run(empty, { tokens: [1, 2, 3, 4] }, none))).kind).toBe("UnknownState");
    using half = await d.alloc([{ path: "w", dtype: "bf16", elements: 4 }]);
    expect((await fault(program.run(half, { tokens: [1, 2, 3, 4] }, none))).message).toContain(
      "the program needs f32 over i 4 (4 elements), the state holds 4 elements of bf16",
    );
    using foreign = await other.alloc([{ path: "w", dtype: "f32", elements: 4 }]);
    expect((await fault(program.run(foreign, { tokens: [1, 2, 3, 4] }, none))).kind).toBe("ForeignState");
    await expect(d.compile({ ...plan({ buffers: [] }, "") })).rejects.toThrow("no C for hand");
  });

  it("frees everything, once, and refuses what comes after", async () => {
    const d = await device({ cacheDir, threads: 2 });
    expect(d.memory()).toBe(0);
    const x = buffer("x", "f32", [{ name: "i", extent: 1000 }], "input");
    const y = buffer("y", "f32", [{ name: "i", extent: 1000 }], "output");
    const slow = plan(
      { buffers: [x, y], inputs: { x }, outputs: { y }, arenaBytes: 2 ** 22 },
      `for (volatile int i = 0; i < 50000000; i++); barrier(arg); if (tid == 0) for (int i = 0; i < 1000; i++) ((float *)buffers[1])[i] = ((float *)buffers[0])[i];`,
    );
    const program = await d.compile(slow);
    expect(d.memory()).toBe(0); // nothing before the first run
    const state = await d.alloc([{ path: "w", dtype: "f32", elements: 500 }]);
    expect(d.memory()).toBe(2000);
    const data = new Float32Array(1000).fill(7);
    const running = program.run(state, { x: data }, none);
    const queued = program.run(state, { x: data }, none);
    const held = d.memory();
    expect(held).toBeGreaterThan(2 ** 22);
    await new Promise((r) => setTimeout(r, 10)); // the kernels run now
    program[Symbol.dispose]();
    program[Symbol.dispose]();
    state[Symbol.dispose]();
    expect(d.memory()).toBe(held); // still in use
    const refused = fault(program.run(state, { x: data }, none));
    expect((await running).y).toEqual(data); // what was asked for before is done
    expect((await queued).y).toEqual(data);
    expect((await refused).kind).toBe("Disposed");
    await new Promise((r) => setTimeout(r, 5));
    expect(d.memory()).toBe(0);
    expect((await fault(program.run(state, { x: data }, none))).kind).toBe("Disposed");
    expect((await fault(state.read("w"))).kind).toBe("Disposed");
    expect((await fault(state.write("w", data))).kind).toBe("Disposed");
    // A device takes with it what it made.
    const [again, more] = [await d.compile(slow), await d.alloc([{ path: "w", dtype: "f32", elements: 500 }])];
    await again.run(more, { x: data }, none);
    d[Symbol.dispose]();
    d[Symbol.dispose]();
    expect(d.memory()).toBe(0);
    expect((await fault(again.run(more, { x: data }, none))).kind).toBe("Disposed");
    expect((await fault(d.alloc([]))).kind).toBe("Disposed");
    expect((await fault(d.compile(slow))).kind).toBe("Disposed");
  });

  it("survives a state that does not fit in memory", async () => {
    using d = await device({ cacheDir, threads: 1 });
    const e = await fault(
      d.alloc([
        { path: "small", dtype: "f32", elements: 10 },
        { path: "huge", dtype: "f32", elements: 2 ** 50 },
      ]),
    );
    expect(e.message).toContain('state "huge" needs');
    expect(d.memory()).toBe(0);
  });
});
