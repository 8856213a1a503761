// The matchers themselves: what is right passes, what is wrong fails with a text that says what, what has no bound is
// refused with the reason. And the arbitraries: that their matrices are what they are called.
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  apart,
  at,
  CompileError,
  DeviceError,
  dot,
  each,
  formula,
  gain,
  input,
  label,
  map,
  model,
  pointwise,
  RuleError,
  rename,
  softmax,
  stopGradient,
  weight,
} from "../../index.js";
import { adamw, block, causal, clipStep, lion, logits, mha, mhaNormed, mla, muon, quack, sgd } from "../../models/index.js";
import { greatestSingularValue } from "../../runtime/check/slices.js";
import { alignedSteps, boundedLogitChange, even, inputs, rankDeficient, shapes, weights } from "../../testing.js";
import { needs } from "../require.js";
import { unitRule } from "./harness.js";

const sizes = { layer: 1, ff: 1, vocab: 1 };
const attention = (s: { readonly model: number; readonly head: number; readonly dim: number }) => mha({ ...sizes, ...s });
const some = { shapes: shapes({ model: [1, 4], head: [1, 2], dim: even(2, 4) }), shapeCount: 2, runs: 100, seed: 3 };
const [tau, eta] = [0.1, 0.02];
const messageOf = async (f: () => unknown): Promise<string> => {
  try {
    await f();
  } catch (e) {
    return e instanceof Error ? e.message : String(e);
  }
  return "";
};

describe("toHaveBoundedLogitChange", () => {
  const rules = {
    Muon: muon(),
    "Muon by head": apart(muon({ moonlight: true }), "head"),
    AdamW: adamw({ decay: 0.1 }),
    Lion: lion(),
    "SGD, clipped": clipStep(sgd({ momentum: 0 }), { limit: 2 }),
  };
  for (const [name, rule] of Object.entries(rules))
    it(`QuacK with ${name}`, () => {
      // clipStep takes the step's norm from the difference of two weights: not where that has no digits left.
      const how = { ...some, optimizer: quack(each({ "*": rule }), { tau }), tau, eta, scales: 6 };
      expect(attention).toHaveBoundedLogitChange(how);
      // The step is the rule's own, decay apart, and not a difference of weights.
      let differences = 0;
      boundedLogitChange(attention, { ...how, runs: 20 }, (_, __, ___, outcomes) => {
        differences += outcomes.filter((o) => !o.exact).length;
      });
      expect(differences).toBe(0);
    });
  it("a model of given sizes; another norm", () => {
    const latent = mla({ ...sizes, model: 3, head: 2, cq: 2, latent: 2, nope: 2, rope: 2, value: 1 });
    const how = { norm: "spectral", combine: "sum" } as const;
    expect(latent).toHaveBoundedLogitChange({ ...how, optimizer: quack(each({ "*": muon() }), { tau, ...how }), tau, eta, runs: 50, seed: 3 });
  });
  it("keys summed with their values before the queries come: as many positions as there are", () => {
    const parts = { wq: weight({ model: 3 }, { dim: 2 }), wk: weight({ model: 3 }, { dim: 2 }), wv: weight({ model: 3 }, { value: 2 }) };
    const fast = model({ ...parts, wo: weight({ model: 3 }, { value: 2 }) }, { x: "time model" }, ({ wq, wk, wv, wo, x }) => {
      const state = dot(dot(x, wk, "model"), dot(x, wv, "model"), "time");
      const read = dot(dot(rename(x, { time: "query" }), wq, "model"), state, "dim");
      return label(dot(read, dot(rename(x, { time: "key" }), wo, "model"), "value"), "logits");
    });
    for (const time of [1, 2, 5])
      expect(fast).toHaveBoundedLogitChange({ optimizer: quack(each({ "*": muon() }), { tau }), tau, eta, sizes: { time }, runs: 200, seed: 3 });
  });
  it("a block, whose attention is given normed inputs; a table that keeps its rate beside the weights", () => {
    const rules = each({ "{*.g,b}": lion(), "*": unitRule });
    const how = { ...some, optimizer: quack(rules, { tau }), tau, eta };
    expect((s: Parameters<typeof attention>[0]) => block({ ...sizes, ...s })).toHaveBoundedLogitChange(how);
    const biased = ({ model: d, head, dim }: Parameters<typeof attention>[0]) => {
      const parts = {
        wq: weight({ model: d }, { head, dim }),
        wk: weight({ model: d }, { head, dim }),
        wv: weight({ model: d }, { head, value: 1 }),
        b: gain({ head, bucket: 8 }),
      };
      return model(parts, { x: "time model" }, ({ wq, wk, wv, b, x }) => {
        const [q, k] = [dot(rename(x, { time: "query" }), wq, "model"), dot(rename(x, { time: "key" }), wk, "model")];
        // Labelled again, with the bias: the table is a path of its own.
        const s = label(
          map({ s: logits({ q, k }), b: at(b, { bucket: 0 }) }, ({ s, b }) => s + b),
          "logits",
        );
        return dot(softmax(s, "key"), dot(rename(x, { time: "key" }), wv, "model"), "key");
      });
    };
    expect(biased).toHaveBoundedLogitChange({ ...how, optimizer: quack(each({ b: lion(), "*": unitRule }), { tau }) });
  });
  it("an optimizer that moves nothing tests nothing, and says so", () => {
    const still = pointwise({}, {}, ({ w }) => ({ w }), { bound: () => ({ spectral: 1, frobenius: 1 }) });
    expect(() => expect(attention).toHaveBoundedLogitChange({ ...some, optimizer: each({ "*": still }), tau, eta })).toThrow(/nothing is tested/);
  });
  it("a rule that is wrong, with the case", async () => {
    expect(attention).not.toHaveBoundedLogitChange({ ...some, optimizer: each({ "*": muon() }), tau, eta });
    expect(
      await messageOf(() => expect(attention).toHaveBoundedLogitChange({ ...some, optimizer: each({ "*": lion() }), tau, eta })),
    ).toMatchInlineSnapshot(`
      "a step moves the logits by more than their budget of the initial norms
        |Δlogit| 0.02857 > 0.004006 (7.132 times) at query 0, head 0, key 0
        τ 0.1, η 0.02
        sizes model 1, head 1, dim 2
        wq [model, head, dim]
          at the start     [[[1, 0]]]
          now              [[[1, 0]]]
          its step         [[[0.02, 0]]]
        wk [model, head, dim]
          at the start     [[[1, 0]]]
          now              [[[1, 0]]]
          its step         [[[0.02, 0]]]
        input x [[1], [1]]
        to run this case again: { seed: 3, path: "0:0:0:0:0:0:1:0:0:1:1:1:0:0:0:0:0" }"
    `);
    // The certificate holds for any rates.
    expect(attention).toHaveBoundedLogitChange({ ...some, optimizer: each({ "*": muon() }), tau, eta, bounds: ["certificate"] });
  });
  it("what has no bound is refused", async () => {
    const normed = (s: Parameters<typeof attention>[0]) => mhaNormed({ ...sizes, ...s });
    expect(() => expect(normed).toHaveBoundedLogitChange({ ...some, optimizer: quack(each({ "*": muon() })), tau, eta })).toThrow(CompileError);
    expect(await messageOf(() => expect(normed).toHaveBoundedLogitChange({ ...some, optimizer: quack(each({ "*": muon() })), tau, eta }))).toMatch(
      /divides by a value that depends on a weight \(a normalisation\)[\s\S]*no lower bound/,
    );
    const bare = { ...some, optimizer: quack(each({ "*": sgd() }), { tau }), tau, eta };
    expect(() => expect(attention).toHaveBoundedLogitChange(bare)).toThrow(RuleError);
    expect(() => expect(attention).toHaveBoundedLogitChange(bare)).toThrow(/the step of "wq" has no bound/);
  });
});

describe("toHaveRightGradient", () => {
  const lengths = { shapes: shapes({ query: [1, 4], key: [1, 4], dim: [1, 3], value: [1, 3] }), runs: 2, seed: 5 };
  it("of a formula, a model with its weights, a record", async () => {
    await expect(causal).toHaveRightGradient(lengths);
    await expect(attention({ model: 3, head: 2, dim: 2 })).toHaveRightGradient({ runs: 1, seed: 5 });
    const x = input({ time: 3 });
    await expect({ inputs: { x }, out: softmax(x, "time") }).toHaveRightGradient({ runs: 1, seed: 5 });
  });
  it("of what is not differentiated", async () => {
    const frozen = formula({ q: "query dim", k: "key dim" }, ({ q, k }) => dot(q, stopGradient(k), "dim"));
    expect(
      await messageOf(() => expect(frozen).toHaveRightGradient({ ...lengths, shapes: shapes({ query: [1, 4], key: [1, 4], dim: [1, 3] }) })),
    ).toMatchInlineSnapshot(`
      "its gradient is not the derivative
        with respect to k: the gradient is 0, by differences -0.03139023238458993
        sizes query 1, key 1, dim 1
        to run this case again: { seed: 5, path: "0:0:0:0:0" }"
    `);
  });
});

describe("toAgreeOnTargets", async () => {
  const native = await needs("compiler");
  it.skipIf(!native)("right; and where the oracle's own arithmetic is another", async () => {
    const of = { shapes: shapes({ query: [1, 9], key: [1, 9], dim: [1, 5], value: 3 }), runs: 1, seed: 2, devices: ["native"] } as const;
    await expect(causal).toAgreeOnTargets(of);
    const angles = formula({ x: "time", y: "time" }, ({ x, y }) => map({ x, y }, ({ x, y }) => Math.atan(x * y)));
    const right = Math.atan;
    Math.atan = (x) => 1.01 * right(x);
    try {
      const message = await messageOf(() => expect(angles).toAgreeOnTargets({ ...of, shapes: shapes({ time: [1, 5] }) }));
      expect(message).toMatch(
        /a target does not agree with the f64 oracle\n {2}native, .*error .* > .*\n {2}sizes time 1\n {2}to run this case again: \{ seed: 2/,
      );
    } finally {
      Math.atan = right;
    }
  });
  it("a device that there is not is its own error", async () => {
    await expect((async () => expect(causal).toAgreeOnTargets({ devices: ["cuda" as "native"], runs: 1 }))()).rejects.toThrow(DeviceError);
  });
});

describe("arbitraries", () => {
  const check = <T>(a: fc.Arbitrary<T>, holds: (x: T) => boolean) => fc.assert(fc.property(a, holds), { numRuns: 200, seed: 6 });
  const square = { rows: 4, columns: 3 };
  it("matrices of less than full rank, over twelve orders of magnitude", () => {
    const norms: number[] = [];
    check(rankDeficient({ ...square, rank: 2 }), ({ data, rows, columns }) => {
      norms.push(greatestSingularValue(data, rows, columns));
      // Every 3 × 3 minor vanishes.
      const det = (r: readonly number[]) => {
        const [a, b, c] = r.map((i) => [...data.subarray(i * 3, i * 3 + 3)]) as [number[], number[], number[]];
        const [x, y, z] = [0, 1, 2].map(
          (k) => (b[(k + 1) % 3] as number) * (c[(k + 2) % 3] as number) - (b[(k + 2) % 3] as number) * (c[(k + 1) % 3] as number),
        ) as [number, number, number];
        return (a[0] as number) * x + (a[1] as number) * y + (a[2] as number) * z;
      };
      return [
        [0, 1, 2],
        [0, 1, 3],
        [0, 2, 3],
        [1, 2, 3],
      ].every((r) => Math.abs(det(r)) <= 1e-12 * Math.hypot(...data) ** 3);
    });
    expect(Math.max(...norms) / Math.min(...norms)).toBeGreaterThan(1e11);
    check(weights(square), ({ data }) => data.length === 12 && data.every(Number.isFinite));
  });
  it("inputs of norm 1, steps that reach the first-order bound", () => {
    check(inputs({ positions: 3, features: 5 }), (x) => [0, 1, 2].every((p) => Math.abs(Math.hypot(...x.subarray(5 * p, 5 * p + 5)) - 1) < 1e-12));
    // ‖x‖‖Δ‖‖Pᵀy‖, which is ‖x‖‖Δ‖‖P‖‖y‖ for a partner of rank one that y lies along.
    const partner = rankDeficient({ rows: 4, columns: 3, range: 3 });
    check(
      partner.chain((p) =>
        fc
          .tuple(fc.constant(p), inputs({ positions: 2, features: 4 }))
          .chain(([p, x]) => fc.tuple(fc.constant(p), fc.constant(x), alignedSteps(p, x.subarray(0, 4), x.subarray(4), 2))),
      ),
      ([p, x, step]) => {
        const py = [0, 1, 2].map((c) => [0, 1, 2, 3].reduce((s, r) => s + (x[4 + r] as number) * (p.data[r * 3 + c] as number), 0));
        const change = [0, 1, 2, 3].reduce((s, r) => s + (x[r] as number) * py.reduce((t, v, c) => t + (step.data[r * 3 + c] as number) * v, 0), 0);
        const reached = Math.hypot(...step.data) * Math.hypot(...py);
        return Math.hypot(...step.data) <= 2 * (1 + 1e-12) && Math.abs(Math.abs(change) - reached) <= 1e-9 * reached + 1e-300;
      },
    );
  });
  it("shapes shrink to the least, odd sizes among them", () => {
    const s = shapes({ model: [1, 6], head: 2, dim: even(2, 8) });
    expect(
      fc.check(
        fc.property(s, () => false),
        { seed: 1 },
      ).counterexample?.[0],
    ).toEqual({ model: 1, head: 2, dim: 2 });
    expect(fc.sample(s, { seed: 1, numRuns: 50 }).some((x) => x.model % 2 === 1 && x.model > 1)).toBe(true);
  });
});
