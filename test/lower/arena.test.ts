// The arena: how small it is, and a referee (tenants.ts) walks plans turn by turn: no nest may find another value where its own was, or touch bytes
// that a nest beside it touches; that holds of random programs, of whole training steps, and the referee sees what is broken.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { savedActivations } from "../../compiler/explain/saved.js";
import { lower } from "../../compiler/lower/lower.js";
import type { Step } from "../../compiler/lower/nest.js";
import { peakOf } from "../../compiler/lower/peak.js";
import type { Plan } from "../../compiler/plan.js";
import { leaf } from "../../dsl/build.js";
import { type AnyTensor, crossEntropy, dot, each, input, inputLeaves, mean, mul, type Optimizer, sum, trainingPrograms } from "../../index.js";
import { adamw, clipNorm, muonWithAdamW, quack, transformer } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import { MODEL_SIZES } from "../../trainer.js";
import { right } from "../graph/harness.js";
import { caseOfProgram } from "../laws/program.js";
import { drawn } from "../laws/random.js";
import { seed } from "../laws/seed.js";
import { conflictsIn } from "./tenants.js";

type Spec = Parameters<typeof trainingPrograms>[0];
// A handle is the graph's node seen by its axes: the session's side takes it as a node.
const nodeOf = (t: AnyTensor) => t as unknown as Spec["loss"];

function trained(model: ReturnType<typeof transformer>, time: number, optimizer: Optimizer, tiles = true, batch = 2) {
  const inputs = { tokens: input({ batch, time }, "i32"), following: input({ batch, time }, "i32"), lr: input({}), t: input({}) };
  const loss = mean(crossEntropy(model.bound({ tokens: inputs.tokens }), inputs.following, "vocab"), "batch", "time");
  const { step } = trainingPrograms({
    name: "step",
    params: model.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(loss),
    optimizer,
    lr: nodeOf(inputs.lr),
    t: nodeOf(inputs.t),
  });
  const { program } = right(passed({ updates: [], ...step }));
  return { program, plan: right(lower(program, { tiles })) };
}
const stepOf = (...x: Parameters<typeof trained>): Plan => trained(...x).plan;
const sizes = { model: 16, head: 2, dim: 8, ff: 40, vocab: 24 };
const optimizers: Readonly<Record<string, Optimizer>> = {
  adamw: each({ "*": adamw({}) }),
  "clipped adamw": clipNorm(each({ "*": adamw({}) })) as unknown as Optimizer, // its state's type differs
  "quack over muon": quack(muonWithAdamW({})) as unknown as Optimizer,
};

describe("no value is overwritten while it is needed", () => {
  it("in random programs, forward and backward, with kernels of tiles and without", () => {
    for (const p of drawn(seed, 80)) {
      const { case: c, text } = caseOfProgram(p);
      const inputs = Object.fromEntries([...c.inputs.keys()].filter((l) => l.role === "input").map((l, i) => [`x${i}`, l]));
      const g = passed({
        name: "p",
        inputs,
        outputs: { ...c.outputs, ...Object.fromEntries(Object.entries(c.gradients).map(([k, n]) => [`d${k}`, n])) },
        updates: [],
      });
      if (isLeft(g)) throw g.left;
      for (const tiles of [true, false]) expect(conflictsIn(right(lower(g.right.program, { tiles }))), text).toEqual([]);
    }
  });
  it.each(Object.keys(optimizers))("in a decoder's step with %s, of one layer and of several", (name) => {
    for (const layer of [1, 2, 5])
      for (const tiles of [true, false])
        expect(conflictsIn(stepOf(transformer({ ...sizes, layer }), 12, optimizers[name] as Optimizer, tiles)), `${layer} layers`).toEqual([]);
  });
  it("and the referee sees a place that is a little too low", () => {
    const plan = stepOf(transformer({ ...sizes, layer: 3 }), 12, optimizers.adamw as Optimizer);
    // Each buffer that lies on others, moved by one line: most of these plans are wrong.
    const moved = [...plan.offsets]
      .filter(([, at]) => at >= 64)
      .map(([id, at]) => conflictsIn({ ...plan, offsets: new Map([...plan.offsets, [id, at - 64]]) }).length);
    expect(moved.filter((n) => n > 0).length).toBeGreaterThan(moved.length / 3);
    expect(conflictsIn({ ...plan, offsets: new Map([...plan.offsets].map(([id]) => [id, 0])) }).length).toBeGreaterThan(0);
  });
});

describe("order", () => {
  const contractions = (steps: readonly Step[]): readonly string[] =>
    steps.flatMap((s) => (s.step === "loop" ? contractions(s.body) : s.nest.form === "contract" ? [s.nest.name] : []));
  it("the gradients of a layer's feed-forward weights come before its attention's backward pass", () => {
    const plan = stepOf(transformer({ ...sizes, ff: 400, layer: 3 }), 64, optimizers.adamw as Optimizer);
    const body = plan.steps.flatMap((s) => (s.step === "loop" && s.reverse ? [s.body] : []))[0] as readonly Step[];
    const tiles = body.findIndex((s) => s.step === "nest" && s.nest.form === "tiles");
    const early = contractions(body.slice(0, tiles));
    for (const weight of ["fold_model_ff", "fold_ff_model"]) expect(early.filter((n) => n.startsWith(weight)).length, weight).toBeGreaterThan(0);
  });
});

describe("memory", () => {
  const config = { vocab: 256, model: 128, head: 4, ff: 512 };
  const of = (layer: number): { readonly arena: number; readonly peak: number; readonly saved: number } => {
    const { plan, program } = trained(transformer({ ...config, layer, dim: 32 }), 128, optimizers.adamw as Optimizer, true, 4);
    return { arena: plan.arenaBytes, peak: peakOf(plan).bytes, saved: savedActivations(program).bytes };
  };
  const tokens = 4 * 128;
  it("grows with layers by what a layer must save, and by nothing else", () => {
    const [three, six, nine] = [of(3), of(6), of(9)] as const;
    // Two states of the residual stream (one is the loop's), queries, keys, values and what attention gives; gate and up; of
    // each head the greatest logit and the sum, of each norm the sum of squares.
    const layer = 4 * tokens * (6 * config.model + 2 * config.ff + 2 * config.head + 2);
    expect(six.saved - three.saved).toBe(3 * layer);
    expect(nine.saved - six.saved).toBe(3 * layer);
    for (const [more, less] of [
      [six, three],
      [nine, six],
    ] as const) {
      expect((more.arena - less.arena) / (3 * layer)).toBeLessThan(1.03);
      expect((more.peak - less.peak) / (3 * layer)).toBeLessThan(1.03);
    }
  });
  it.each(["tiny", "small"] as const)("of %s is within 1.3 of what must be saved", (size) => {
    const s = MODEL_SIZES[size];
    const made = transformer({ model: s.model, layer: s.layer, head: s.head, dim: s.model / s.head, ff: s.ff, vocab: s.vocab });
    const { plan, program } = trained(made, s.time, optimizers.adamw as Optimizer, true, s.batch);
    const { bytes: saved, values } = savedActivations(program);
    expect(values.reduce((n, v) => n + v.bytes, 0)).toBe(saved);
    expect(peakOf(plan).bytes).toBeGreaterThanOrEqual(saved / 1.05); // x₀ of the loop and the loss's statistics may be gone by then
    expect(plan.arenaBytes / saved).toBeLessThan(1.3);
    expect(plan.arenaBytes / peakOf(plan).bytes).toBeLessThan(1.06);
  });
  it("what must be saved is a minimum cut: a product that is needed as it is costs one value, not two", () => {
    const [a, b, c] = [input({ i: 9, k: 100 }), input({ i: 9, k: 100 }), input({ k: 100, n: 40 })];
    const [p, q] = [dot(a, c, "k"), dot(b, c, "k")];
    const x = mul(p, q);
    const state = leaf("state", "s", {}, "f32");
    const cut = (...reads: readonly AnyTensor[]) =>
      savedActivations({
        outputs: { loss: nodeOf(sum(x, "i", "n")) },
        updates: reads.map((r) => ({ leaf: state, value: nodeOf(sum(mul(r as typeof x, r as typeof x), "i", "n")) })),
      }).bytes;
    const one = 4 * 9 * 40;
    expect(cut(x)).toBe(one);
    expect(cut(p)).toBe(one);
    expect(cut(x, p)).toBe(2 * one);
    expect(cut(x, p, q)).toBe(2 * one);
    expect(cut(mul(x, q))).toBe(2 * one);
  });
});
