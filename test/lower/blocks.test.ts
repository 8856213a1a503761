// Row blocks in whole programs: a decoder's training step, layer after layer in a loop, whose attention needs rows of scores.
import { describe, expect, it } from "vitest";
import { lower } from "../../compiler/lower/lower.js";
import type { Step } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import { grad as gradNode } from "../../dsl/build.js";
import type { Leaf } from "../../dsl/node.js";
import { type AnyTensor, crossEntropy, dot, each, input, inputLeaves, leavesOf, mean, model, rename, trainingPrograms, weight } from "../../index.js";
import { stickBreaking, talkingHeads } from "../../models/attention/index.js";
import { adamw, decoder } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import { count, numbers, right } from "../graph/harness.js";
import { type Case, judge, show } from "../laws/judge.js";
import { targets } from "../laws/targets.js";

type Spec = Parameters<typeof trainingPrograms>[0];
const nodeOf = (t: AnyTensor) => t as unknown as Spec["loss"]; // a handle is the graph's node seen by its axes

const config = { model: 32, layer: 3, head: 2, dim: 16, ff: 64, vocab: 64 };
const parts = {
  wq: weight({ model: 32 }, { head: 2, dim: 16 }),
  wk: weight({ model: 32 }, { head: 2, dim: 16 }),
  wv: weight({ model: 32 }, { head: 2, value: 16 }),
  wo: weight({ head: 2, value: 16 }, { model: 32 }),
};
const stick = model(parts, { x: "time model" }, ({ wq, wk, wv, wo, x }) => {
  const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
  const o = stickBreaking({ q: dot(xi, wq, "model"), k: dot(xj, wk, "model"), v: dot(xj, wv, "model") });
  return rename(dot(o, wo, "head", "value"), { query: "time" });
});
const talking = model(
  { ...parts, L: weight({ head: 2 }, { map: 3 }), M: weight({ map: 3 }, { head: 2 }) },
  { x: "time model" },
  ({ wq, wk, wv, wo, L, M, x }) => {
    const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
    const o = talkingHeads({ q: dot(xi, wq, "model"), k: dot(xj, wk, "model"), v: dot(xj, wv, "model"), L, M });
    return rename(dot(o, wo, "head", "value"), { query: "time" });
  },
);

function stepOf(attention: Parameters<typeof decoder>[1], time: number): Plan {
  const made = decoder(config, attention);
  const inputs = { tokens: input({ batch: 2, time }, "i32"), following: input({ batch: 2, time }, "i32"), lr: input({}), t: input({}) };
  const loss = mean(crossEntropy(made.apply(made.params, { tokens: inputs.tokens }), inputs.following, "vocab"), "batch", "time");
  const programs = trainingPrograms({
    name: "step",
    params: made.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(loss),
    optimizer: each({ "*": adamw({}) }),
    lr: nodeOf(inputs.lr),
    t: nodeOf(inputs.t),
  });
  return right(lower(right(passed({ updates: [], ...programs.step })).program, { tiles: true }));
}
const loops = (steps: readonly Step[]): readonly (Step & { step: "loop" })[] =>
  steps.flatMap((s) => (s.step === "loop" ? [s, ...loops(s.body)] : []));

describe.each([
  ["stick-breaking", stick],
  ["talking heads", talking],
] as const)("a decoder with %s", (_, attention) => {
  const time = 512;
  const plan = stepOf(attention, time);
  it("keeps rows of scores in blocks, forward and backward, in each layer's turn", () => {
    const scores = plan.buffers.filter((b) => b.role === "temp" && b.axes.filter((a) => a.extent === time).length > 1);
    expect(scores.map((b) => `${b.name} [${b.axes.map((a) => a.name)}]`)).toEqual([]);
    const inside = loops(plan.steps).flatMap((l) => (l.blocks ? [] : l.body.filter((s) => s.step === "loop" && s.blocks)));
    expect(inside.length).toBeGreaterThanOrEqual(2);
  });
  it.runIf(targets.includes("native"))("has the oracle's loss and gradients", { timeout: 120_000 }, async () => {
    const made = decoder({ ...config, layer: 2 }, attention);
    const ends = { batch: 2, time: 150 };
    const [tokens, following] = [input(ends, "i32"), input(ends, "i32")];
    const loss = mean(crossEntropy(made.apply(made.params, { tokens }), following, "vocab"), "batch", "time");
    const params = leavesOf(made.params).map(({ tensor }) => nodeOf(tensor) as Leaf);
    const next = numbers(11);
    const values = (l: Leaf, f: () => number) => [l, Float64Array.from({ length: count(l.axes) }, f)] as const;
    const inputs = new Map([
      ...params.map((l) => values(l, () => Math.fround(next() - 0.5))),
      ...[tokens, following].map((t) => values(nodeOf(t) as Leaf, () => Math.floor(next() * config.vocab))),
    ]);
    const gradients = Object.fromEntries(params.map((l) => [l.name, gradNode(nodeOf(loss), l)]));
    const c: Case = { name: "decoder", inputs, outputs: { loss: nodeOf(loss) }, gradients, extents: new Map() };
    expect(show(await judge([c], "native", { threads: 2 }))).toBe("");
  });
  it("grows as its tokens do", () => {
    expect(stepOf(attention, 2 * time).arenaBytes / plan.arenaBytes).toBeLessThan(2.1);
  });
});
