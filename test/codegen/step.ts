// A training step of a small decoder as the compiler lowers it: loss, every gradient, an update in place.
import { isLeft } from "fp-ts/lib/Either.js";
import { lower } from "../../compiler/lower/lower.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Plan } from "../../compiler/plan.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { transformer } from "../../models/blocks.js";
import { loose } from "../graph/loose.js";

const { add, crossEntropy, grad, input, mean, scale } = loose;

export interface StepSizes {
  readonly model: number;
  readonly layer: number;
  readonly head: number;
  readonly dim: number;
  readonly ff: number;
  readonly vocab: number;
  readonly batch: number;
  readonly time: number;
}
export function trainingStep(s: StepSizes, o: { readonly tiles: boolean } = { tiles: false }): Plan {
  const { batch, time, ...model } = s;
  const lm = transformer({ ...model, group: 1, cq: 4, latent: 4, nope: 4, rope: 2, value: 4, std: 0.3 });
  const tokens = input({ batch, time }, "i32");
  const next = input({ batch, time }, "i32");
  const logits = (lm as typeof lm & { apply: (p: unknown, x: unknown) => Node }).apply(lm.params, { tokens });
  const loss = mean(crossEntropy(logits, next, "vocab", { z: 1e-4 }), "batch", "time");
  const weights = flatten(lm.params);
  const gradients = flatten(grad(loss, lm.params));
  const updated = weights.map(({ node }, i) => add(node, scale(gradients[i]?.node, -0.1)));
  const expanded = runGraphPasses([loss, ...updated]);
  if (isLeft(expanded)) throw new Error(expanded.left[0]?.message);
  const [root, ...rest] = expanded.right.roots;
  const plan = lower(
    {
      name: "step",
      inputs: { tokens, next },
      outputs: { loss: root as Node },
      updates: weights.map(({ node }, i) => ({ leaf: node as Leaf, value: rest[i] as Node })),
    },
    o,
  );
  if (isLeft(plan)) throw new Error(plan.left.message);
  return plan.right;
}
