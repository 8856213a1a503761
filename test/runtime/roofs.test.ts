// The meter of the machine's limits, and what a kernel is said to have reached of them.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { attained, openPeak, roofsOf, titleOf } from "../../index.js";
import { needs } from "../require.js";

describe.skipIf(!(await needs("compiler")))("the meter", () => {
  test("several readings of everything that it is asked for, on two threads", async () => {
    const peak = await openPeak(2);
    if (isLeft(peak)) throw peak.left;
    try {
      const { widths } = peak.right;
      expect(widths.length).toBeGreaterThan(0);
      for (const task of [["fma", widths[0] as number] as const, ["read", 64] as const, ["triad", 96] as const]) {
        const readings = await peak.right.measure(task, 0);
        expect(readings.length).toBeGreaterThanOrEqual(3);
        expect(readings.every((x) => Number.isFinite(x) && x > 0)).toBe(true);
      }
      await expect(peak.right.measure(["read", 0], 0)).rejects.toThrow("no readings");
    } finally {
      peak.right.close();
    }
  });
  test("one that has ended says so", async () => {
    const peak = await openPeak(1);
    if (isLeft(peak)) throw peak.left;
    peak.right.close();
    await expect(peak.right.measure(["fma", 8], 0)).rejects.toThrow("measuring the machine's peak");
  });
});
test("roofs are the greatest readings, each thread's share of memory beyond the caches", async () => {
  const asked: string[] = [];
  const readings: Readonly<Record<string, number>> = { "fma 8": 100, "fma 16": 180, "read 65536": 20, "triad 65536": 24, "read 256": 90 };
  const roofs = await roofsOf(
    {
      threads: 4,
      widths: [8, 16],
      measure: async ([what, size]) => {
        asked.push(`${what} ${size}`);
        return [1, readings[`${what} ${size}`] ?? Number.NaN, 2];
      },
      close: () => undefined,
    },
    1,
  );
  expect(roofs).toEqual({ threads: 4, gflops: 180, lanes: 16, memory: 24, cache: 90 });
  expect(asked.sort()).toEqual(Object.keys(readings).sort());
});
test("the limit of a kernel is the roof above it: the peak beyond the ridge, else memory's bandwidth", () => {
  const roofs = { threads: 1, gflops: 100, lanes: 8, memory: 10, cache: 50 };
  // The ridge is at 10 operations a byte.
  expect(attained({ operations: 4e9, bytes: 1e8, slowestMs: 80 }, roofs)).toEqual({
    ...{ gflops: 50, gbs: 1.25, intensity: 40, ofPeak: 0.5, ofMemory: 0.125, share: 0.5, bound: "compute" },
  });
  expect(attained({ operations: 1e8, bytes: 4e8, slowestMs: 80 }, roofs)).toMatchObject({ gbs: 5, ofMemory: 0.5, share: 0.5, bound: "memory" });
});
test("a kernel's title: the author's label or text with its line, what it updates, or its own name", () => {
  const source = {
    place: { file: "/a/b/model.ts", line: 7, column: 3 },
    text: 'dot(x, w, "model")',
    others: 0,
    label: null,
    half: "forward",
    state: [],
    reads: [],
  } as const;
  expect(titleOf({ name: "k", source })).toBe('model.ts:7 dot(x, w, "model")');
  expect(titleOf({ name: "k", source: { ...source, others: 2 } }, 8)).toBe("model.ts:7 dot(x, … and 2 more");
  expect(titleOf({ name: "k", source: { ...source, label: "scores" } })).toBe('model.ts:7 "scores"');
  expect(titleOf({ name: "k", source: { ...source, text: null } }).trim()).toBe("model.ts:7");
  const none = { ...source, place: null, text: null };
  expect(titleOf({ name: "k", source: { ...none, state: ["optimizer.m.wq", "wq", "optimizer.v.wq"] } })).toBe("update of wq");
  expect(titleOf({ name: "k", source: none })).toBe("k");
});
