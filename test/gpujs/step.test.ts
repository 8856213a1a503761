// A training step as the compiler lowers it (decoder, cross-entropy, every gradient, an update in place) on both modes.
import { isLeft } from "fp-ts/lib/Either.js";
import { expect, it } from "vitest";
import { elements } from "../../compiler/lower/expr.js";
import { lower } from "../../compiler/lower/lower.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { transformer } from "../../models/blocks.js";
import { loose } from "../graph/loose.js";
import { check, stream, values } from "./plans.js";

const { add, crossEntropy, grad, input, mean, scale } = loose;

it("a small decoder's loss, gradients and updated weights over two steps", async () => {
  const sizes = { model: 8, layer: 2, head: 2, group: 1, dim: 4, ff: 12, vocab: 11, cq: 4, latent: 4, nope: 4, rope: 2, value: 4, std: 0.3 };
  const lm = transformer(sizes);
  const tokens = input({ batch: 2, time: 5 }, "i32");
  const next = input({ batch: 2, time: 5 }, "i32");
  const logits = (lm as typeof lm & { apply: (p: unknown, x: unknown) => Node }).apply(lm.params, { tokens });
  const loss = mean(crossEntropy(logits, next, "vocab", { z: 1e-4 }), "batch", "time");
  const weights = flatten(lm.params);
  const gradients = flatten(grad(loss, lm.params));
  const updated = weights.map(({ node }, i) => add(node, scale(gradients[i]?.node, -0.1)));
  const expanded = runGraphPasses([loss, ...gradients.map((g) => g.node), ...updated]);
  if (isLeft(expanded)) throw new Error(expanded.left[0]?.message);
  const [root, ...rest] = expanded.right.roots;
  const plan = lower({
    name: "step",
    inputs: { tokens, next },
    outputs: { loss: root as Node, ...Object.fromEntries(gradients.map((g, i) => [`d ${g.path}`, rest[i] as Node])) },
    updates: weights.map(({ node }, i) => ({ leaf: node as Leaf, value: rest[weights.length + i] as Node })),
  });
  if (isLeft(plan)) throw new Error(plan.left.message);
  expect(Object.keys(plan.right.state).length).toBe(weights.length);
  const random = stream(5);
  const ids = () => Array.from({ length: 10 }, () => Math.floor(random() * sizes.vocab));
  // Weights as at initialisation, so that no softmax saturates.
  const state = Object.entries(plan.right.state).map(([path, b]) => [path, values(b.dtype, elements(b), random).map((x) => x / 4)] as const);
  await check(plan.right, { tokens: ids(), next: ids(), ...Object.fromEntries(state) }, 1, 2, 4);
});
