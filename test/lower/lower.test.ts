// What lowering promises beside right values (test/laws holds those): how many kernels, which memory, in which order.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { type Expr, int } from "../../compiler/lower/expr.js";
import { lower } from "../../compiler/lower/lower.js";
import { expressionsOf, loadsOf, storesOf } from "../../compiler/lower/memory.js";
import type { Nest, Step } from "../../compiler/lower/nest.js";
import { PlanBug, verifyPlan } from "../../compiler/lower/verify.js";
import type { Plan } from "../../compiler/plan.js";
import { leaf } from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { add, crossEntropy, dot, each, input, map, mean, mul, rename, rms, type Scalar, silu, softmax, sum, upTo } from "../../index.js";
import { adamw, clipNorm, quack, sgd, transformer } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import { trainingPrograms } from "../../runtime/training.js";

const asNode = (x: unknown): Node => x as Node; // handles are nodes
function planOf(
  outputs: Readonly<Record<string, unknown>>,
  inputs: Readonly<Record<string, unknown>> = {},
  updates: readonly { leaf: Leaf; value: Node }[] = [],
): Plan {
  const p = passed({ name: "test", inputs: inputs as Record<string, Leaf>, outputs: outputs as Record<string, Node>, updates });
  if (isLeft(p)) throw p.left;
  const plan = lower(p.right.program);
  if (isLeft(plan)) throw new Error(plan.left.message);
  return plan.right;
}
const nests = (steps: readonly Step[]): readonly Nest[] => steps.flatMap((s) => (s.step === "loop" ? nests(s.body) : [s.nest]));
const count = (p: Plan) => nests(p.steps).length;

describe("kernels", () => {
  const x = input({ row: 100, col: 33 });
  test("a softmax is one kernel, whose stages share the row", () => {
    const p = planOf({ y: softmax(x, "col") }, { x });
    expect(nests(p.steps).map((n) => n.form)).toEqual(["row"]);
  });
  test("a norm, its gain and a residual are one kernel", () => {
    const g = input({ col: 33 });
    expect(count(planOf({ y: add(x, mul(rms(x, "col"), g)) }, { x, g }))).toBe(1);
  });
  test("what follows a product point by point is its epilogue; what goes into it is substituted or stored once", () => {
    const w = input({ col: 33, out: 20 });
    const p = planOf({ y: silu(dot(x, w, "col")) }, { x, w });
    expect(nests(p.steps).map((n) => n.form)).toEqual(["contract"]);
    const q = planOf({ y: dot(rename(x, { row: "r" }), w, "col") }, { x, w });
    expect(count(q)).toBe(1);
    expect(q.buffers.filter((b) => b.role === "temp")).toEqual([]);
  });
  test("the gradient of a gather is a scatter", () => {
    const lm = transformer({ model: 8, layer: 1, head: 2, dim: 4, ff: 8, vocab: 13 });
    expect(nests(step(lm, 1).steps).some((n) => n.form === "scatter")).toBe(true);
  });
});

function step(lm: ReturnType<typeof transformer>, layers: number, optimizer = each({ "*": adamw() })): Plan {
  const tokens = input({ batch: 3, time: 7 }, "i32");
  const next = input({ batch: 3, time: 7 }, "i32");
  const [lr, t] = [input({}), input({})];
  const loss: Scalar = mean(crossEntropy(lm.bound({ tokens }), next, "vocab"), "batch", "time");
  const programs = trainingPrograms({
    name: `step${layers}`,
    params: lm.params,
    inputs: { tokens, next, lr, t } as unknown as Record<string, Leaf>,
    loss: asNode(loss),
    optimizer,
    lr: asNode(lr),
    t: asNode(t),
  });
  return planOf(programs.step.outputs, programs.step.inputs, programs.step.updates);
}
const decoder = (layer: number) => transformer({ model: 8, layer, head: 2, dim: 4, ff: 12, vocab: 13 });

describe("a training step", () => {
  test("is as large for 50 layers as for 2", () => {
    expect(count(step(decoder(50), 50))).toBe(count(step(decoder(2), 2)));
  });
  test("updates weight and moments of a parameter in one kernel, in place", () => {
    const p = step(decoder(2), 2);
    const updates = nests(p.steps).filter((n) => storesOf(n).some((s) => s.buffer.role === "state"));
    const stored = updates.flatMap((n) => storesOf(n).map((s) => s.buffer));
    expect(new Set(stored).size).toBe(stored.length);
    expect(stored.length).toBe(Object.keys(p.state).length);
    for (const n of updates) expect(storesOf(n).length % 3, n.name).toBe(0);
    expect(p.buffers.filter((b) => b.name.startsWith("new_"))).toEqual([]);
  });
  test("reads old state until everything that needs it has", () => {
    for (const optimizer of [
      each({ "*": adamw() }),
      each({ "*": sgd() }),
      quack(each({ "*": adamw() })) as never,
      clipNorm(each({ "*": sgd() })) as never,
    ]) {
      const written = new Set<number>();
      for (const n of nests(step(decoder(2), 2, optimizer).steps)) {
        const reads = loadsOf(expressionsOf(n)).map((l) => l.buffer);
        for (const b of reads) expect(written.has(b.id), `${n.name} reads ${b.name} after its update`).toBe(false);
        for (const s of storesOf(n)) if (s.buffer.role === "state") written.add(s.buffer.id);
      }
    }
  });
  test("swapped states wait in temporaries", () => {
    const [a, b] = [leaf("state", "a", { i: 5 }, "f32"), leaf("state", "b", { i: 5 }, "f32")];
    const rotate = (x: Node): Node => asNode(map({ x: x as never }, ({ x }: { x: number }) => x * 2));
    const p = planOf({}, {}, [
      { leaf: a, value: rotate(b) },
      { leaf: b, value: rotate(a) },
    ]);
    expect(p.buffers.filter((x) => x.name.startsWith("new_"))).toHaveLength(1);
    expect(nests(p.steps).map((n) => storesOf(n).map((x) => x.buffer.role))).toEqual([["temp"], ["state"], ["state"]]);
  });
  test("a product that replaces a matrix is computed into it, unless the old one is still needed", () => {
    const [a, b] = [leaf("state", "a", { i: 5, k: 5 }, "f32"), leaf("state", "b", { k: 5, j: 5 }, "f32")];
    const c = leaf("state", "c", { i: 5, j: 5 }, "f32");
    const product = asNode(dot(a as never, b as never, "k")); // handles are nodes
    const roles = (p: Plan) => nests(p.steps).map((n) => [n.form, ...storesOf(n).map((x) => x.buffer.role)]);
    expect(roles(planOf({}, {}, [{ leaf: c, value: product }]))).toEqual([["contract", "state"]]);
    // The product itself reads what it would replace.
    const square = leaf("state", "s", { k: 5, j: 5 }, "f32");
    const own = asNode(rename(dot(a as never, square as never, "k") as never, { i: "k" } as never));
    expect(roles(planOf({}, {}, [{ leaf: square, value: own }]))).toEqual([
      ["contract", "temp"],
      ["map", "state"],
    ]);
    // Its old value is wanted after the product.
    const old = asNode(sum(c as never, "i"));
    const p = planOf({ old }, {}, [{ leaf: c, value: product }]);
    const written = nests(p.steps).findIndex((n) => storesOf(n).some((x) => x.buffer.role === "state"));
    const read = nests(p.steps).findIndex((n) => loadsOf(expressionsOf(n)).some((x) => x.buffer.name === "c"));
    expect(read).toBeLessThan(written);
  });
});

describe("memory", () => {
  test("a run-time extent sizes memory by its maximum", () => {
    const x = input({ row: upTo(40, "rows"), col: 6 });
    const p = planOf({ y: sum(softmax(x, "col"), "row") }, { x });
    expect(p.extents.map((e) => [e.name, e.max])).toEqual([["rows", 40]]);
  });
});

describe("the verifier", () => {
  const x = input({ row: 100, col: 33 });
  const good = planOf({ y: softmax(x, "col") }, { x });
  const withNest = (f: (n: Nest) => Nest): Plan => ({
    ...good,
    steps: good.steps.map((s) => (s.step === "nest" ? { step: "nest", nest: f(s.nest) } : s)),
  });
  const changed =
    (e: (x: Expr) => Expr) =>
    (n: Nest): Nest =>
      n.form === "row"
        ? { ...n, stages: n.stages.map((s) => (s.stage === "map" ? { ...s, stores: s.stores.map((st) => ({ ...st, index: st.index.map(e) })) } : s)) }
        : n;
  test("takes what lowering makes", () => verifyPlan(good));
  test("refuses an index out of bounds", () => {
    expect(() => verifyPlan(withNest(changed(() => int(100))))).toThrow(PlanBug);
    expect(() => verifyPlan(withNest(changed(() => int(-1))))).toThrow(/the axis has/);
  });
  test("refuses a missing index, an unknown buffer, an unbound variable, a temporary without a place", () => {
    expect(() => verifyPlan(withNest((n) => (n.form === "row" ? { ...n, rows: [] } : n)))).toThrow(/not bound/);
    expect(() => verifyPlan({ ...good, buffers: good.buffers.filter((b) => b.role !== "input") })).toThrow(/not of this plan/);
    const w = input({ col: 33, out: 3 });
    const two = planOf({ y: dot(softmax(x, "col"), w, "col") }, { x, w });
    expect(() => verifyPlan({ ...two, offsets: new Map() })).toThrow(/no place/);
  });
});
