// The backward pass of attention in one kernel, where there are batches enough: it means what the kernels without tiles mean.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it, test } from "vitest";
import { lower } from "../../compiler/lower/lower.js";
import type { Nest, Step } from "../../compiler/lower/nest.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Plan } from "../../compiler/plan.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { variants } from "../../models/attention/index.js";
import { interpret, type Memory, memoryOf } from "../codegen/interpret.js";
import { compile } from "../codegen/native.js";
import { numbers } from "../graph/harness.js";
import { loose } from "../graph/loose.js";

const { grad, input, mul, sum } = loose;

/** A variant's output and all its gradients. */
function planOf(name: string, head: number, tiles: boolean, time = 12, dim = 4): Plan {
  const made = variants.find((v) => v.name === name)?.example({ batch: 1, head, time, dim, value: dim });
  if (!made) throw new Error(`no variant ${name}`);
  const inputs = made.inputs as Readonly<Record<string, Leaf>>; // an example's inputs are leaves
  const out = made.out as Node; // and a handle is a node
  const cotangent = input(out.axes) as Leaf;
  const loss = sum(mul(out, cotangent), ...Object.keys(out.axes));
  const real = Object.keys(inputs).filter((n) => inputs[n]?.dtype === "f32");
  const roots: readonly Node[] = [out, ...real.map((n) => (grad(loss, { x: inputs[n] }) as { x: Node }).x)];
  const expanded = runGraphPasses(roots);
  if (isLeft(expanded)) throw new Error(expanded.left[0]?.message);
  const outputs = Object.fromEntries(expanded.right.roots.map((n, i) => [i === 0 ? "out" : `d_${real[i - 1]}`, n]));
  const plan = lower({ name, inputs: { ...inputs, cotangent }, outputs, updates: [] }, { tiles });
  if (isLeft(plan)) throw new Error(plan.left.message);
  return plan.right;
}
const nests = (steps: readonly Step[]): readonly Nest[] => steps.flatMap((s) => (s.step === "loop" ? nests(s.body) : [s.nest]));
const tilesOf = (p: Plan) => nests(p.steps).flatMap((n) => (n.form === "tiles" ? [n] : []));
/** Outputs by name, from the same inputs for any plan. */
function results(p: Plan): Readonly<Record<string, Float64Array>> {
  const memory = memoryOf(p);
  for (const [name, b] of Object.entries(p.inputs)) {
    const next = numbers(name.length * 2654435761 + 1);
    const data = memory.get(b) as Float64Array;
    for (let i = 0; i < data.length; i++) data[i] = b.dtype === "i32" ? Math.floor(i / 5) : next() * 2 - 1;
  }
  interpret(p, memory);
  return Object.fromEntries(Object.entries(p.outputs).map(([name, b]) => [name, memory.get(b) as Float64Array]));
}

describe("gradients of queries, keys and values", () => {
  test("share a kernel where heads go round, and are two where they do not", () => {
    const [many, few] = [tilesOf(planOf("causal", 8, true)), tilesOf(planOf("causal", 4, true))];
    expect(many.map((n) => n.columns.length)).toEqual([0, 1]);
    expect(many.map((n) => n.dots.length)).toEqual([1, 2]);
    expect(few.map((n) => n.columns.length)).toEqual([0, 0, 0]);
  });
  const shared = [
    "multi-head",
    "causal",
    "window",
    "documents",
    "alibi",
    "soft-cap",
    "cosine",
    "sigmoid",
    "sink-logit",
    "sink-tokens",
    "dilated",
    "forgetting",
  ];
  it.each(shared)("%s: the same values as from kernels that store the scores", (name) => {
    const [got, want] = [planOf(name, 8, true), planOf(name, 8, false)];
    expect(tilesOf(got).some((n) => n.columns.length > 0)).toBe(true);
    const [x, y] = [results(got), results(want)];
    for (const [of, values] of Object.entries(y)) {
      const scale = values.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-3);
      values.forEach((v, i) => {
        expect(Math.abs(v - (x[of]?.[i] ?? Number.NaN)) / scale, `${of}[${i}]`).toBeLessThan(1e-9);
      });
    }
  });
  it.each(["causal", "window", "soft-cap", "documents"])(
    "%s: the same bits as with half as many heads, which have kernels of their own",
    async (name) => {
      const [whole, half] = [planOf(name, 8, true, 200, 16), planOf(name, 4, true, 200, 16)];
      expect([whole, half].map((p) => tilesOf(p).reduce((n, t) => n + t.columns.length, 0))).toEqual([1, 0]);
      const all = memoryOf(whole);
      for (const [input, b] of Object.entries(whole.inputs)) {
        const next = numbers(input.length * 2654435761 + 1);
        const data = all.get(b) as Float64Array;
        for (let i = 0; i < data.length; i++) data[i] = b.dtype === "i32" ? Math.floor(i / 37) : Math.fround(next() * 4 - 2);
      }
      const want = (await compile(whole)).run(all, { threads: 2 }).memory;
      const program = await compile(half);
      for (const turn of [0, 1]) {
        // Heads are the outermost axis but for a batch of one; what has none (document numbers) is the same for all.
        const part: Memory = memoryOf(half);
        for (const [input, b] of Object.entries(half.inputs)) {
          const [mine, his] = [part.get(b) as Float64Array, all.get(whole.inputs[input] as typeof b) as Float64Array];
          mine.set(his.length === mine.length ? his : his.subarray(turn * mine.length, (turn + 1) * mine.length));
        }
        const got = program.run(part, { threads: 2 }).memory;
        for (const [of, b] of Object.entries(half.outputs)) {
          const [mine, his] = [got.get(b) as Float64Array, want.get(whole.outputs[of] as typeof b) as Float64Array];
          expect(mine, `${of} of half ${turn}`).toEqual(his.subarray(turn * mine.length, (turn + 1) * mine.length));
        }
      }
    },
    60_000,
  );
});
