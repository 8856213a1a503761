// Counting: that kernels are what the C target puts between its barriers, and what counts as one.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { exponentOf } from "../../compiler/explain/growth.js";
import { kernelsIn } from "../../compiler/explain/kernels.js";
import { c } from "../../compiler/targets/c/program.js";
import { cumsum, dot, input } from "../../index.js";
import { type Variant, variants } from "../../models/index.js";
import { planOf, verdict } from "../../runtime/explain.js";
import { type Halves, halvesOf } from "../../runtime/halves.js";
import { trainingStep } from "../codegen/step.js";
import { right } from "../graph/harness.js";

const variant = (name: string): Variant => variants.find((v) => v.name === name) as Variant;
const at =
  (name: string) =>
  (scale: number): Halves =>
    halvesOf(variant(name).example({ batch: 1, head: 4, time: 256 * scale, dim: 32, value: 32, span: 64 }));

describe("kernels are what stands between the C target's barriers", () => {
  const barriers = (plan: Parameters<typeof c.compile>[0]): number => {
    const printed = c.compile(plan);
    if (isLeft(printed)) throw new Error(printed.left.message);
    return printed.right.units.at(-1)?.source.match(/^ *barrier\(barrier_argument\);$/gm)?.length ?? 0;
  };
  it.each(["causal", "documents", "talking-heads", "native-sparse"])("%s and its gradients", (name) => {
    const plan = right(planOf(at(name)(1).both));
    expect(kernelsIn(plan).length).toBe(barriers(plan) + 1);
  });
  it("a training step, whose layers are a loop", () => {
    const plan = trainingStep({ model: 16, layer: 3, head: 2, dim: 8, ff: 32, vocab: 32, batch: 2, time: 8 });
    const kernels = kernelsIn(plan);
    // A loop's body ends in a barrier, which begins no kernel of its own where the loop's first kernel follows.
    expect(kernels.length).toBe(barriers(plan) + 1);
    expect(new Set(kernels.map((k) => k.times))).toEqual(new Set([1, 3]));
  });
});

describe("the dense form", () => {
  it("of multi-head attention has a kernel at least for the scores, their softmax and the output, and stores the scores", () => {
    const { dense } = right(verdict(at("multi-head")));
    expect(dense.forward.kernels).toBeGreaterThanOrEqual(3);
    expect(dense.forward.passes).toBeGreaterThanOrEqual(4);
    expect(dense.bytes).toBeGreaterThan(4 * 256 * 256 * 4);
  });
});

describe("what counts", () => {
  it("fused attention is one kernel of one pass, with memory that grows like the sequence", () => {
    const v = right(verdict(at("causal")));
    expect(v.forward.count).toMatchObject({ kernels: 1, passes: 1, scans: 0, reductions: 0 });
    expect(v.quadratic).toEqual([]);
    expect(v.temporaries.both.exponent).toBeLessThan(1.05);
    expect(v.forward.count.bytes).toBeLessThan(v.dense.forward.bytes);
  });
  it("a gate's projection does not, a prefix scan stands apart", () => {
    expect(right(verdict(at("gated"))).forward.count).toMatchObject({ kernels: 1, scans: 0 });
    expect(right(verdict(at("forgetting"))).forward.count).toMatchObject({ kernels: 1, scans: 1 });
  });
  it("kernels in blocks of rows count once, with the passes of all turns", () => {
    const v = right(verdict(at("stick-breaking")));
    expect(v.quadratic).toEqual([]);
    expect(v.temporaries.both.exponent).toBeLessThan(1.05);
    expect(v.forward.count).toMatchObject({ kernels: 4, passes: 5 });
    expect(v.forward.count.operations).toBeGreaterThan(0.9 * v.dense.forward.operations);
    // Why no kernel of tiles has it is told all the same.
    expect(v.stopped.map((w) => w.reason).join()).toMatch(/scan/);
    expect(v.stopped[0]?.places[0]?.file).toMatch(/21-stick-breaking/);
  });
  it("a value of which a row and a column are needed whole is stored whole, and the lowering says why", () => {
    const both = (scale: number) => {
      const inputs = {
        q: input({ query: 512 * scale, dim: 16 }),
        k: input({ key: 512 * scale, dim: 16 }),
        v: input({ key: 512 * scale, value: 16 }),
      };
      const s = cumsum(cumsum(dot(inputs.q, inputs.k, "dim"), "key"), "query");
      return halvesOf({ inputs, out: dot(s, inputs.v, "key") });
    };
    const v = right(verdict(both));
    expect(v.quadratic.length).toBeGreaterThan(0);
    expect(v.temporaries.both.exponent).toBeGreaterThan(1.5);
    expect(v.stopped.map((w) => w.reason).join()).toMatch(/scan/);
    expect(v.stopped[0]?.places[0]?.file).toMatch(/count\.test/);
  });
  it("sizes that are fixed tell nothing of growth: tiles alone are passes", () => {
    const halves = at("causal")(1);
    const v = right(verdict(() => halves, false));
    expect(v.forward.count).toMatchObject({ kernels: 1, passes: 1 });
    expect([v.quadratic, v.temporaries.both.bytes.length, v.temporaries.both.exponent]).toEqual([[], 1, 0]);
  });
});

it("a boundary names the expression that crosses it, and how it is read", () => {
  const [boundary, ...more] = right(verdict(at("forgetting"))).forward.boundaries;
  expect(more).toEqual([]);
  expect(boundary?.value.places[0]).toMatchObject({ file: expect.stringMatching(/22-forgetting\.ts$/), line: 6 });
  expect(boundary?.reason).toMatch(/reads it at every time/);
});

it("the exponent of a power law is its power", () => {
  const points = (f: (t: number) => number) => [1, 2, 4].map((t) => ({ size: 1024 * t, bytes: f(1024 * t) }));
  expect(exponentOf(points((t) => 3 * t * t))).toBeCloseTo(2, 10);
  expect(exponentOf(points((t) => 7 * t))).toBeCloseTo(1, 10);
  expect(exponentOf(points(() => 64))).toBeCloseTo(0, 10);
  expect(exponentOf(points(() => 0))).toBe(0);
});
