// A plan's work as people ask for it: its products as a library would be given them, how it divides among threads, and
// what each kernel is of the author's.
import { describe, expect, test } from "vitest";
import { kernelsIn } from "../../compiler/explain/kernels.js";
import { productsOf } from "../../compiler/explain/products.js";
import { scalingOf } from "../../compiler/explain/scaling.js";
import { sourcesOf } from "../../compiler/explain/sources.js";
import { dot, input, map, max } from "../../index.js";
import { causal, documents, multiHead } from "../../models/index.js";
import { callAt } from "../../runtime/excerpt.js";
import { planOf } from "../../runtime/explain.js";
import { halvesOf } from "../../runtime/halves.js";
import { trainingStep } from "../codegen/step.js";
import { right } from "../graph/harness.js";

const SIZES = { model: 32, layer: 3, head: 2, dim: 16, ff: 64, vocab: 48, batch: 2, time: 24 } as const;
const step = trainingStep(SIZES);
const THREADS = [1, 2, 3, 8, 64];

describe("the products of a plan", () => {
  test("of a training step: each matrix forward, into its input's gradient and its own, once a layer", () => {
    const { model, layer, head, dim, ff, vocab, batch, time } = SIZES;
    const matrices = layer * (4 * model * head * dim + 3 * model * ff) + vocab * model;
    // Without kernels of tiles attention's own products are stored; they have batches.
    const own = productsOf(step).filter((p) => p.axes.every((a) => a.of !== "batch"));
    const multiplied = own.reduce((n, p) => n + p.calls * p.axes.reduce((m, a) => m * a.size, 1), 0);
    expect(multiplied).toBe(3 * batch * time * matrices);
  });
  test("sides in the order of memory, whatever the order of the mathematics", () => {
    const [a, b] = [input({ k: 40, m: 24 }), input({ n: 16, k: 40 })];
    const [p] = productsOf(right(planOf({ inputs: { a, b }, out: dot(a, b, "k") })));
    expect(p && [p.a.axes, p.b.axes, p.axes.map((x) => [x.of, x.size])]).toEqual([
      ["k", "m"],
      ["n", "k"],
      [
        ["m", 24],
        ["n", 16],
        ["k", 40],
      ],
    ]);
  });
});

describe("work by threads, counted", () => {
  test("a map: an operation, a load and a store an element, divided evenly and never done twice", () => {
    const x = input({ row: 640, column: 32 });
    const s = scalingOf(right(planOf({ inputs: { x }, out: map(x, (x) => x * 2) })), THREADS);
    expect(s.barriers).toBe(0);
    for (const share of s.shares) expect(share.total).toBe(3 * 640 * 32);
    for (const { most, threads, total } of s.shares.filter((x) => x.threads !== 64 && x.threads !== 3)) expect(most * threads).toBe(total);
    for (const { most, threads, total } of s.shares) expect(most * threads).toBeLessThan(total * 2);
  });
  test("fewer rows than threads: no more threads than rows are busy", () => {
    const x = input({ row: 5, column: 100 });
    const s = scalingOf(right(planOf({ inputs: { x }, out: max(x, "column") })), [1, 64]);
    expect(s.kernels.map((k) => k.units)).toEqual([5]);
    expect((s.shares[0]?.total ?? 0) / (s.shares[1]?.most ?? 0)).toBeCloseTo(5, 6);
  });
  test("a product's operations are all there, and what a thread does more than its share is packing", () => {
    const [a, b] = [input({ m: 192, k: 128 }), input({ k: 128, n: 96 })];
    const s = scalingOf(right(planOf({ inputs: { a, b }, out: dot(a, b, "k") })), THREADS);
    const operations = 2 * 192 * 128 * 96;
    for (const { total, most, threads } of s.shares) {
      expect(total).toBeGreaterThanOrEqual(operations);
      expect(most * threads).toBeGreaterThanOrEqual(total);
      expect(most).toBeGreaterThanOrEqual(operations / threads);
    }
  });
  test("causal attention: about half of all pairs, and as even as the unmasked form although its rows are not alike", () => {
    const axes = { head: 4, time: 768, dim: 32 };
    const qkv = () => ({
      q: input({ head: axes.head, query: axes.time, dim: axes.dim }),
      k: input({ head: axes.head, key: axes.time, dim: axes.dim }),
      v: input({ head: axes.head, key: axes.time, value: axes.dim }),
    });
    const [half, whole] = [causal, multiHead].map((variant) => {
      const x = qkv();
      return scalingOf(right(planOf({ inputs: x, out: variant(x) }, { tiles: true })), [1, 4, 8]);
    });
    const total = (s: typeof half, i: number) => s?.shares[i]?.total ?? Number.NaN;
    expect(total(half, 0) / total(whole, 0)).toBeGreaterThan(0.5);
    expect(total(half, 0) / total(whole, 0)).toBeLessThan(0.65);
    for (const [i, threads] of [4, 8].entries()) expect(((half?.shares[i + 1]?.most ?? 0) * threads) / total(half, i + 1)).toBeLessThan(1.2);
  });
  test("what depends on data is never counted for less: documents take as much as without them, or nothing is said", () => {
    const qkv = () => ({ q: input({ query: 256, dim: 8 }), k: input({ key: 256, dim: 8 }), v: input({ key: 256, value: 8 }) });
    const [plain, doc] = [qkv(), { ...qkv(), doc: input({ time: 256 }, "i32") }];
    const s = scalingOf(right(planOf({ inputs: doc, out: documents(doc) })), [1]);
    const causally = scalingOf(right(planOf({ inputs: plain, out: causal(plain) })), [1]);
    if (s.kernels.every((k) => k.shares !== null)) expect(s.shares[0]?.total).toBeGreaterThan(causally.shares[0]?.total ?? 0);
    else expect(s.kernels.filter((k) => k.shares === null).every((k) => k.forms.includes("tiles"))).toBe(true);
  });
  test("a training step: layers count as often as they run, and every thread's work adds up", () => {
    const s = scalingOf(step, THREADS);
    expect(new Set(s.kernels.map((k) => k.times))).toEqual(new Set([1, SIZES.layer]));
    expect(s.kernels.length).toBe(kernelsIn(step).length);
    expect(s.barriers).toBeGreaterThanOrEqual(s.kernels.reduce((n, k) => n + k.times, 0) - 1 - s.kernels.length);
    for (const { total, most, threads } of s.shares) {
      expect(most).toBeLessThanOrEqual(total);
      expect(most * threads).toBeGreaterThanOrEqual(total);
      expect(total).toBeGreaterThanOrEqual(s.shares[0]?.total ?? 0);
    }
  });
});

describe("what a kernel is of the author's", () => {
  test("halves of a training step: a loss needs no gradient, and what writes weights is the update", () => {
    const found = sourcesOf(step, ["loss"]);
    const halves = [...found].map(([nest, s]) => [nest.name, s.half, s.state.length > 0] as const);
    expect(new Set(halves.map(([, half]) => half))).toEqual(new Set(["forward", "backward", "update"]));
    for (const [name, half, writes] of halves) expect([name, half === "update"]).toEqual([name, writes]);
    const updated = [...found.values()].flatMap((s) => s.state);
    expect([...updated].sort()).toEqual(Object.keys(step.state).sort());
  });
  test("gradients beside their function are backward; places are this file's", () => {
    const x = { a: input({ m: 8, k: 8 }), b: input({ k: 8, n: 8 }) };
    const halves = halvesOf({ inputs: x, out: map(dot(x.a, x.b, "k"), (y) => 2 * y) });
    const found = [...sourcesOf(right(planOf(halves.both)), halves.outputs).values()];
    expect(found.filter((s) => s.half === "forward").length).toBe(1);
    expect(found.filter((s) => s.half === "backward").length).toBe(found.length - 1);
    for (const s of found) expect(s.places[0]?.file).toMatch(/scaling\.test\.ts$/);
  });
  test.each([
    ['dot(x, map(y, (z) => "(" + z), "k").w;', 'dot(x, map(y, (z) => "(" + z), "k")'],
    ["softmax(\n    s,\n    'a)',\n  ), v", "softmax( s, 'a)', )"],
    ["x + y\nnext(1)", "x + y"],
    ["f(`\\`)`, [1])] rest", "f(`\\`)`, [1])"],
    ["open(1, 2", "open(1, 2"],
    ["y)", "y"],
  ])("the text of an expression ends with its call: %s", (source, text) => {
    expect(callAt(source)).toBe(text);
  });
});
