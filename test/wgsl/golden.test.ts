// The update of a weight whose rate QuacK derives from norms, as WGSL: the same kernel writes the weight, scales its update by
// what the partners' norms allow and leaves the norm of what it wrote, so that no pass over the weights computes norms.
import { isLeft } from "fp-ts/lib/Either.js";
import { expect, it } from "vitest";
import type { Buffer } from "../../compiler/lower/expr.js";
import { lower } from "../../compiler/lower/lower.js";
import { storesOf, touched } from "../../compiler/lower/memory.js";
import { nestsOf } from "../../compiler/lower/turns.js";
import type { Plan } from "../../compiler/plan.js";
import { lowering, wgsl } from "../../compiler/targets/wgsl/index.js";
import { nodeOf } from "../../dsl/tensor.js";
import { crossEntropy, each, input, inputLeaves, mean, type Optimizer } from "../../index.js";
import { adamw, latentTransformer, muon, quack, transformer } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import { trainingPrograms } from "../../runtime/training.js";

const sizes = { model: 64, layer: 2, head: 4, dim: 16, ff: 256, vocab: 256 };
const decoders = {
  mha: () => transformer(sizes),
  mla: () => latentTransformer({ ...sizes, cq: 16, latent: 8, nope: 16, rope: 16, value: 32 }),
};
const rules = {
  adamw: () => each({ "*": adamw({ eps: 1e-8 }) }),
  muon: () => each({ "{embed,*.g}": adamw({ eps: 1e-8 }), "*": muon() }),
};
function planOf(kind: keyof typeof decoders, rule: keyof typeof rules): Plan {
  const decoder = decoders[kind]();
  const inputs = { tokens: input({ batch: 2, time: 16 }, "i32"), next: input({ batch: 2, time: 16 }, "i32"), lr: input({}), t: input({}) };
  const loss = mean(crossEntropy(decoder.bound({ tokens: inputs.tokens }), inputs.next, "vocab"), "batch", "time");
  const optimizer = quack(rules[rule](), { tau: 0.1 }) as unknown as Optimizer; // only handed on
  const programs = trainingPrograms({
    name: "step",
    params: decoder.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(loss, "the loss"),
    optimizer,
    lr: nodeOf(inputs.lr, "lr"),
    t: nodeOf(inputs.t, "t"),
  });
  const p = passed({ updates: [], ...programs.step });
  if (isLeft(p)) throw p.left;
  const plan = lower(p.right.program, lowering);
  if (isLeft(plan)) throw new Error(plan.left.message);
  return plan.right;
}

it.each([
  ["mha", "adamw"],
  ["mla", "muon"],
] as const)("%s with %s: norms come from the kernels that write the weights", (kind, rule) => {
  const plan = planOf(kind, rule);
  const nests = nestsOf(plan.steps).map(({ nest }) => nest);
  const kept = Object.entries(plan.state).filter(([path]) => path.startsWith("kept."));
  expect(kept.length).toBe(kind === "mla" ? 6 : 2);
  const weights = new Set(Object.entries(plan.state).flatMap(([path, b]) => (path.startsWith("blocks.") ? [b] : [])));
  const updates = kept.map(([path, norm]) => {
    const writers = nests.filter((n) => storesOf(n).some((s) => s.buffer === norm));
    expect(writers.length, path).toBe(1);
    const [writer] = writers as [(typeof nests)[number]];
    // It writes a weight, or reads no weight at all: what it folds, the update has left beside it.
    const { reads, writes } = touched(writer);
    const own = [...weights].filter((w) => writes.has(w));
    expect(own.length > 0 || [...reads].every((b: Buffer) => !weights.has(b)), path).toBe(true);
    return writer;
  });
  const made = wgsl().compile(plan);
  if (isLeft(made)) throw new Error(made.left.message);
  const names = new Set(updates.map((n) => n.name));
  const texts = made.right.kernels.filter((k) => names.has(k.name));
  expect(texts.length).toBe(names.size);
  if (kind === "mha") expect(texts.find((k) => k.source.includes("attention_wq"))?.source).toMatchSnapshot();
});
