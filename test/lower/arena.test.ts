// The arena: a referee (tenants.ts) walks plans turn by turn. No nest may find another value where its own was, or touch bytes
// that a nest beside it touches; that holds of random programs, of whole training steps, and the referee sees what is broken.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { lower } from "../../compiler/lower/lower.js";
import type { Step } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import { type AnyTensor, crossEntropy, each, input, inputLeaves, mean, type Optimizer, trainingPrograms } from "../../index.js";
import { adamw, clipNorm, muonWithAdamW, quack, transformer } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import { right } from "../graph/harness.js";
import { caseOfProgram } from "../laws/program.js";
import { drawn } from "../laws/random.js";
import { seed } from "../laws/seed.js";
import { conflictsIn } from "./tenants.js";

type Spec = Parameters<typeof trainingPrograms>[0];
// A handle is the graph's node seen by its axes: the session's side takes it as a node.
const nodeOf = (t: AnyTensor) => t as unknown as Spec["loss"];

function stepOf(model: ReturnType<typeof transformer>, time: number, optimizer: Optimizer, tiles = true): Plan {
  const inputs = { tokens: input({ batch: 2, time }, "i32"), following: input({ batch: 2, time }, "i32"), lr: input({}), t: input({}) };
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
  return right(lower(right(passed({ updates: [], ...step })).program, { tiles }));
}
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
