// A training step in one call, and by hand: everything is a value.
import { compile, crossEntropy, each, grad, input, mean, train } from "../../index.js";
import { transformer } from "../../models/blocks.js";
import { adamw } from "../../models/optimizers/elementwise.js";
import { muon } from "../../models/optimizers/muon.js";
import { quack } from "../../models/quack.js";
import { warmup } from "../../models/schedules.js";

const lm = transformer({ model: 128, layer: 4, head: 4, group: 2, dim: 32, ff: 512, vocab: 256, cq: 64, latent: 32, nope: 32, rope: 16, value: 32 });
const tokens = input({ batch: 16, time: 128 }, "i32"),
  next = input({ batch: 16, time: 128 }, "i32");

export const training = () =>
  train({
    model: lm,
    inputs: { tokens, next },
    loss: (f, { tokens, next }) => mean(crossEntropy(f({ tokens }), next, "vocab", { z: 1e-4 }), "batch", "time"),
    optimizer: quack(each({ "blocks.*.{attention,mlp}.*": muon(), "*": adamw() }), { tau: 0.1 }),
    lr: warmup(3e-3, 20),
  });
export const lossOf = async (x: Int32Array): Promise<number> => (await (await training()).run({ tokens: x, next: x })).loss;

const loss = mean(crossEntropy(lm.bound({ tokens }), next, "vocab", { z: 1e-4 }), "batch", "time");
const optimizer = quack(each({ "blocks.*.{attention,mlp}.*": muon(), "*": adamw() }), { tau: 0.1 });
const t = input({});
export const first = optimizer.init({ w: lm.params, loss });
export const step = optimizer.update({ w: lm.params, g: grad(loss, lm.params), s: first, loss, lr: warmup(3e-3, 20)(t), t });
step.w.blocks[0]!.attention.wq.axes.head satisfies number;
step.s.f0 satisfies { readonly [path: string]: { readonly axes: object } };

// with these weights, or any tree like them
const logits = lm.apply(lm.params, { tokens });
const again = mean(crossEntropy(logits, next, "vocab", { z: 1e-4 }), "batch", "time");
const g = grad(again, lm.params);
export const gq: number = g.blocks[0]!.attention.wq.axes.head;
export const gradients = () => compile({ tokens, next }, { loss, g });
