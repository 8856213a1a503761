// Trains a small model for two steps with the cache folder of its first argument, in a process of its own, for tests of what is
// found again. Prints the losses, a weight's bits, the notices, and whether kernels' texts and the plan can still be
// had.
import { createHash } from "node:crypto";
import { isLeft } from "fp-ts/lib/Either.js";
import { crossEntropy } from "../../dsl/index.js";
import type { Leaf } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { each, input, inputLeaves, mean, openSession, startTraining, trainingPrograms } from "../../index.js";
import { adamw, quack, transformer } from "../../models/index.js";

const [cacheDir, scale = "1"] = process.argv.slice(2);
const notices: string[] = [];
const opened = await openSession("native", { threads: 2, cacheDir, notice: (line) => notices.push(line) });
if (isLeft(opened)) throw opened.left;
using session = opened.right;
const decoder = transformer({ model: 16, layer: 2, head: 2, dim: 8, ff: 32, vocab: 19 });
const inputs = { tokens: input({ batch: 2, time: 8 }, "i32"), next: input({ batch: 2, time: 8 }, "i32"), lr: input({}), t: input({}) };
const loss = mean(crossEntropy(decoder.bound({ tokens: inputs.tokens }), inputs.next, "vocab"), "batch", "time");
const programs = trainingPrograms({
  name: "child",
  params: decoder.params,
  inputs: inputLeaves(inputs),
  loss: nodeOf(loss, "loss"),
  optimizer: handle(quack(each({ "*": adamw({ eps: Number(scale) * 1e-8 }) }))),
  lr: nodeOf(inputs.lr, "lr"),
  t: nodeOf(inputs.t, "t"),
});
const step = await startTraining(session, programs, 5);
const tokens = Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 19);
const losses: number[] = [];
for (let t = 1; t <= 2; t++)
  losses.push((await step.run({ tokens, next: tokens.map((x) => (x + 1) % 19), lr: [1e-2], t: [t] })).loss?.[0] ?? Number.NaN);
const hash = createHash("sha256");
for (const l of programs.params as readonly Leaf[]) hash.update(new Uint8Array((await session.read(l.name)).buffer));
const kept = step.compiled.kept?.values.length ?? 0;
const outcome = { losses, weights: hash.digest("hex"), kept, kernels: step.compiled.kernels, notices };
console.log(JSON.stringify({ ...outcome, texts: step.kernels.length > 0 && step.plan?.steps !== undefined }));
