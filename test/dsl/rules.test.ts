// Rules on weights: matrices as their axes say, patterns of paths, rates, and what does not fit.
import { describe, expect, test } from "vitest";
import {
  add,
  apart,
  constant,
  deriveRates,
  dot,
  each,
  find,
  gain,
  grad,
  input,
  leavesOf,
  map,
  mean,
  model,
  mul,
  type Optimizer,
  pace,
  pointwise,
  type Rule,
  RuleError,
  rule,
  type Scalar,
  scale,
  sum,
  weight,
} from "../../dsl/index.js";
import { nodeOf } from "../../dsl/tensor.js";
import { grouped, latentTransformer, transformer } from "../../models/blocks.js";
import { adamw, clipNorm, globalNorm, muon, sgd, warmup } from "../../models/index.js";
import { qkClip } from "../../models/qk-clip.js";
import { fixed, quack } from "../../models/quack.js";
import { evaluate, type Given, numbers } from "./evaluate.js";

const m = model({ w: weight({ i: 2 }, { a: 2, b: 3 }), b: gain({ a: 2 }) }, { x: "i" }, ({ w, b, x }) => mul(dot(x, w, "i"), b));
const loss = mean(m.bound({ x: input({ i: 2 }) }), "a", "b");
const one = constant(1);
const run = (o: Optimizer, lr: Scalar = constant(0.5)) => {
  const s = o.init({ w: m.params, loss });
  return o.update({ w: m.params, g: m.params, s, loss, lr, t: one }); // gradients: the weights themselves
};
const w = numbers(12);
const given: Given = [
  [m.params.w, w],
  [m.params.b, [1, 2]],
];

describe("one rule", () => {
  test("per element, with the numbers its states begin with", () => {
    const r = pointwise({ m: 3 }, { c: 2 }, ({ w, g, lr, m, c }) => ({ w: w - lr * c * g, m: m + g }));
    const { w: moved, s } = run(each({ "*": r }));
    expect(evaluate(moved.w, given)).toEqual(w.map((v) => v - 0.5 * 2 * v));
    const state = leavesOf(s).find((l) => l.path === "w.m")!;
    expect(state.tensor.axes).toEqual({ i: 2, a: 2, b: 3 });
    expect(evaluate(state.tensor, given)).toEqual(w.map((v) => 3 + v));
  });
  test("per matrix sees out and in, and gives the weight's own axes back in their order", () => {
    const seen: unknown[] = [];
    const r = rule("out in", { row: "out" }, ({ w, row }) => {
      seen.push(w.axes);
      const total = sum(w, "in");
      return { w: map({ w, total }, ({ w, total }, { out, in: i }) => w + total * 0 + out * 10 + i), row: add(row, total) };
    });
    const { w: moved, s } = run(each({ b: sgd(), w: r }));
    expect(seen).toEqual([{ in: 2, out: 6 }].map((axes) => expect.objectContaining(axes)));
    expect(Object.keys(moved.w.axes)).toEqual(["i", "a", "b"]);
    const want = w.map((v, k) => v + (k % 6) * 10 + Math.floor(k / 6));
    (evaluate(moved.w, given) as number[]).forEach((v, k) => void expect(v).toBeCloseTo(want[k] as number, 12));
    const row = leavesOf(s).find((l) => l.path === "w.row")!.tensor;
    expect(row.axes).toEqual({ a: 2, b: 3 });
    (evaluate(row, given) as number[]).forEach((v, k) => void expect(v).toBeCloseTo((w[k] as number) + (w[k + 6] as number), 12));
  });
  test("apart keeps an axis out of the matrix", () => {
    const seen: unknown[] = [];
    const r = rule("out in", {}, ({ w }) => {
      seen.push(Object.keys(w.axes).sort());
      return { w: scale(w, 2) };
    });
    const { w: moved } = run(each({ b: sgd(), w: apart(r, "a") }));
    expect(seen).toEqual([["a", "in", "out"]]);
    expect(Object.keys(moved.w.axes)).toEqual(["i", "a", "b"]);
    expect(evaluate(moved.w, given)).toEqual(w.map((v) => 2 * v));
    expect(() => run(each({ b: sgd(), w: apart(r, "a", "b") }))).toThrow(/is no matrix/);
  });
  test("pace multiplies the rate; rates multiply it by path, along the weight's axes", () => {
    const plain = pointwise({}, {}, ({ w, g, lr }) => ({ w: w - lr * g }));
    expect(evaluate(run(each({ "*": pace(plain, 0.5) })).w.w, given)).toEqual(w.map((v) => v - 0.25 * v));
    const matrix = rule("out in", {}, ({ w, g, lr }) => ({ w: map({ w, g, lr }, ({ w, g, lr }) => w - lr * g) }));
    const byHead = map(input({ a: 2 }), (_, { a }) => a + 1);
    for (const r of [plain, matrix] as Rule[]) {
      const o = each({ b: plain, w: r });
      const { w: moved } = o.update({
        w: m.params,
        g: m.params,
        s: o.init({ w: m.params, loss }),
        loss,
        lr: constant(0.5),
        t: one,
        rates: { w: byHead as never },
      });
      const leaf = nodeOf(byHead, "rate").op === "map" ? (nodeOf(byHead, "rate") as { args: readonly unknown[] }).args[0] : undefined;
      expect(evaluate(moved.w, [...given, [leaf as never, [0, 0]]])).toEqual(w.map((v, k) => v - 0.5 * (Math.floor((k % 6) / 3) + 1) * v));
    }
  });
});

describe("what does not fit", () => {
  const bad = (f: () => unknown, text: RegExp) => {
    expect(f).toThrow(RuleError);
    expect(f).toThrow(text);
  };
  test("patterns", () => {
    bad(() => run(each({ w: sgd() })), /no rule for weight "b"/);
    bad(() => run(each({ "*": sgd(), c: sgd() })), /"c" matches no weight/);
    bad(() => run(each({ "*": sgd(), b: sgd() })), /comes after others/);
    bad(() => each({ "{a,b": sgd() }), /do not close/);
    bad(() => run(each({ b: sgd(), w: apart(muon(), "haed") })), /apart by "haed", an axis that no weight of that rule has/);
    expect(() => run(each({ "*": apart(sgd(), "b") }))).not.toThrow(); // w has it
  });
  test("rules", () => {
    bad(() => run(each({ "*": muon() })), /"b" is no matrix/);
    bad(() => run(each({ "*": rule("", { m: "" }, ({ w }) => ({ w }) as never) })), /forgets its state "m"/);
    bad(() => run(each({ b: sgd(), w: rule("out in", { m: "out in" }, ({ w, m }) => ({ w, m: sum(m, "in") as never })) })), /"m" comes back as/);
    bad(() => pointwise({ g: 0 }, {}, ({ w }) => ({ w, g: 0 })), /"g" is used twice/);
    bad(() => rule("rows" as never, {}, ({ w }) => ({ w })), /is no form/);
    bad(() => rule("", { m: "out" }, ({ w, m }) => ({ w, m: m as never })), /state "m" has axis "out"/);
    bad(() => deriveRates([]), /no logits/);
    expect(() => each({ "*": 3 as never })).toThrow(/a number is no rule/);
    expect(() => quack(each({ "*": sgd() }), { tau: 0 })).toThrow(/τ is 0/);
  });
  test("rates and states of other weights", () => {
    const o = each({ "*": sgd() });
    const x = { w: m.params, g: m.params, s: o.init({ w: m.params, loss }), loss, lr: one, t: one };
    bad(() => o.update({ ...x, rates: { v: one } }), /"v", which is no weight/);
    bad(() => o.update({ ...x, rates: { w: input({ c: 2 }) as never } }), /axis "c", which the weight lacks/);
    bad(() => o.update({ ...x, s: {} }), /the state lacks "m" of/);
  });
});

describe("optimizers on a decoder", () => {
  const config = { model: 6, layer: 2, head: 4, group: 2, dim: 4, ff: 8, vocab: 5, cq: 4, latent: 3, nope: 2, rope: 2, value: 3 };
  const tokens = input({ batch: 2, time: 4 }, "i32");
  const groups = { "blocks.*.{attention,mlp}.*": muon(), "*": adamw() };
  const step = (lm: ReturnType<typeof transformer>, o: Optimizer) => {
    const loss = mean(mean(lm.bound({ tokens }), "batch", "time"), "vocab") as Scalar;
    const s = o.init({ w: lm.params, loss });
    return { loss, first: s, ...o.update({ w: lm.params, g: grad(loss, lm.params), s, loss, lr: warmup(3e-3, 20)(one), t: one }) };
  };
  test("weights and states keep the axes, in order, and the paths", () => {
    const lm = transformer(config);
    const before = leavesOf(lm.params);
    const wrapped: Optimizer = qkClip(quack(clipNorm(each(groups)))) as Optimizer;
    const first = wrapped.init({ w: lm.params, loss: mean(mean(lm.bound({ tokens }), "batch", "time"), "vocab") as Scalar });
    const { w: moved, s } = step(lm, wrapped);
    const shapes = (t: Parameters<typeof leavesOf>[0]) => leavesOf(t).map((l) => [l.path, Object.entries(l.tensor.axes)]);
    expect(shapes(moved)).toEqual(before.map((l) => [l.path, Object.entries(l.tensor.axes)]));
    expect(shapes(s)).toEqual(shapes(first));
  });
  test("rates: one a layer and head, for the weights of the logits alone", () => {
    const rates = (lm: { bound: unknown }, paths: Record<string, object>) => {
      const loss = mean(mean((lm as ReturnType<typeof transformer>).bound({ tokens }), "batch", "time"), "vocab");
      const r = deriveRates(find(loss, "logits"));
      expect(Object.fromEntries(Object.entries(r).map(([p, t]) => [p.replace("blocks.*.attention.", ""), t.axes]))).toEqual(paths);
      for (const t of Object.values(r)) expect(nodeOf(t, "rate").op).toBe("rate");
    };
    rates(transformer(config), { wq: { blocks: 2, head: 4 }, wk: { blocks: 2, head: 4 } });
    rates(grouped(config), { wq: { blocks: 2, group: 2, member: 2 }, wk: { blocks: 2, group: 2 } });
    const head = { blocks: 2, head: 4 };
    rates(latentTransformer(config), { dq: { blocks: 2 }, uq: head, qr: head, dkv: { blocks: 2 }, uk: head, kr: { blocks: 2 } });
  });
  test("fixed slows the weights of the logits alone", () => {
    let seen: unknown;
    const spy: Optimizer = {
      init: () => ({}),
      update: (x) => {
        seen = x.rates;
        return { w: x.w, s: x.s };
      },
    };
    step(transformer(config), fixed(spy, { tau: 0.25 }) as Optimizer);
    expect(Object.entries(seen as object).map(([p, t]) => [p, nodeOf(t, "t")])).toEqual([
      ["blocks.*.attention.wq", nodeOf(constant(0.25), "c")],
      ["blocks.*.attention.wk", nodeOf(constant(0.25), "c")],
    ]);
  });
  test("clipping scales all gradients by one number", () => {
    const [a, b] = [input({ i: 2 }), input({ j: 1 })];
    expect(
      evaluate(globalNorm({ a, b }), [
        [a, [3, 0]],
        [b, [4]],
      ]),
    ).toEqual([5]);
    const out: number[][] = [];
    const given: Given = [
      [a, [3, 0]],
      [b, [4]],
    ];
    const spy: Optimizer = {
      init: () => ({}),
      update: (x) => {
        for (const { tensor } of leavesOf(x.g)) out.push(evaluate(tensor, given) as number[]);
        return { w: x.w, s: x.s };
      },
    };
    clipNorm(spy, { limit: 1 }).update({ w: { a, b }, g: { a, b }, s: {}, loss: one, lr: one, t: one });
    expect(out.flat().map((v) => Number(v.toFixed(12)))).toEqual([0.6, 0, 0.8]);
  });
  test("muon's step has singular values near one, times the rate and its scale", () => {
    const s = 4;
    const p = model({ w: weight({ i: s }, { o: s }) }, { x: "i" }, ({ w, x }) => dot(x, w, "i"));
    const o = each({ "*": muon() });
    const g = input({ i: s, o: s });
    const moved = o.update({ w: p.params, g: { w: g }, s: o.init({ w: p.params, loss }), loss, lr: one, t: one });
    const d = evaluate(moved.w.w, [
      [p.params.w, numbers(16, () => 0)],
      [g, numbers(16, (i) => Math.sin(i * i + 1))],
    ]) as number[];
    const square = [...Array(s).keys()].map((r) =>
      [...Array(s).keys()].map((c) => [...Array(s).keys()].reduce((t, k) => t + (d[r * s + k] as number) * (d[c * s + k] as number), 0)),
    );
    const trace = square.reduce((t, row, i) => t + (row[i] as number), 0);
    expect(trace / s).toBeGreaterThan(0.4);
    expect(trace / s).toBeLessThan(1.5);
  });
});
