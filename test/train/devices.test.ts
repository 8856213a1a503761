// The micro model's training step with QuacK as every device computes it: multi-head and latent attention, each over AdamW and
// over Muon. The losses follow the native device's, and the same steps again have the same bits, in losses and in weights.
//
// Nightly: twenty steps of all four, on every target. Else two steps of one, drawn by the seed of the laws, on WebGPU in this
// process and on gpu.js in WebAssembly.
import { describe, expect, it } from "vitest";
import { crossEntropy, each, input, mean, type Optimizer, type Scalar } from "../../dsl/index.js";
import type { Leaf } from "../../dsl/node.js";
import { nodeOf } from "../../dsl/tensor.js";
import { adamw, latentTransformer, muonWithAdamW, quack, transformer } from "../../models/index.js";
import { MODEL_SIZES } from "../../runtime/train/config.js";
import { leavesOf, trainingPrograms } from "../../runtime/training.js";
import { numbers } from "../graph/harness.js";
import { nightly, open, sample, type TargetName, targets } from "../laws/targets.js";
import { needs } from "../require.js";

const { vocab, model, layer, head, ff, time, batch } = MODEL_SIZES.micro;
const sizes = { vocab, model, layer, head, ff };
const models = {
  "multi-head": () => transformer({ ...sizes, dim: model / head }),
  latent: () => latentTransformer({ ...sizes, cq: model / 4, latent: model / 8, nope: model / head, rope: model / head, value: (2 * model) / head }),
};
const optimizers: Readonly<Record<string, { readonly lr: number; readonly inner: () => Optimizer }>> = {
  AdamW: { lr: 3e-3, inner: () => each({ "*": adamw() }) },
  Muon: { lr: 0.02, inner: () => muonWithAdamW({ ratio: 3e-3 / 0.02 }) },
};
const cases = Object.entries(models).flatMap(([attention, decoder]) =>
  Object.entries(optimizers).map(([over, o]) => ({ name: `${attention} attention, QuacK over ${over}`, decoder, ...o })),
);
type Case = (typeof cases)[number];
const steps = nightly ? 20 : 2;

/** Batches of words of a small language: something to learn. */
const text = (() => {
  const next = numbers(11);
  const words = ["the ", "duck ", "swims ", "over ", "a ", "lake ", "and ", "dives ", "down. "];
  return new TextEncoder().encode(Array.from({ length: steps * batch * time }, () => words[Math.floor(next() * words.length)]).join(""));
})();
const batchOf = (step: number) => {
  const tokens = Int32Array.from({ length: batch * time }, (_, i) => text[step * batch * time + i] as number);
  const following = Int32Array.from({ length: batch * time }, (_, i) => text[step * batch * time + i + 1] as number);
  return { tokens, next: following };
};

interface Run {
  readonly losses: readonly number[];
  /** The weights after the last step. */
  readonly weights: readonly ArrayLike<number>[];
}
async function train(target: TargetName, c: Case, times: number): Promise<readonly Run[]> {
  const decoder = c.decoder() as ReturnType<typeof models.latent>; // both take tokens and give logits
  const [tokens, next, t, lr] = [input({ batch, time }, "i32"), input({ batch, time }, "i32"), input({}), input({})];
  const leafOf = (x: unknown): Leaf => x as Leaf; // handles are nodes, and these are leaves
  const loss: Scalar = mean(crossEntropy(decoder.bound({ tokens }), next, "vocab", { z: 1e-4 }), "batch", "time");
  const programs = trainingPrograms({
    name: "step",
    params: decoder.params,
    inputs: { tokens: leafOf(tokens), next: leafOf(next), t: leafOf(t), lr: leafOf(lr) },
    loss: nodeOf(loss, "loss"),
    optimizer: quack(c.inner()) as unknown as Optimizer, // the state trees differ; a trainer only passes them on
    lr: leafOf(lr),
    t: leafOf(t),
  });
  using s = await open(target);
  await s.hold([...programs.params, ...programs.state]);
  const start = await s.program(programs.start);
  const step = await s.program(programs.step);
  const runs: Run[] = [];
  for (let r = 0; r < times; r++) {
    await s.initialise(programs.params, 5);
    await start.run({});
    const losses: number[] = [];
    for (let k = 0; k < steps; k++) losses.push(Number((await step.run({ ...batchOf(k), t: [k + 1], lr: [c.lr] })).loss?.[0]));
    const weights = [];
    for (const l of leavesOf(decoder.params)) weights.push(await s.read(l.name));
    runs.push({ losses, weights });
  }
  return runs;
}

const asked = targets.filter((t) => t !== "native" && (nightly || t === "webgpu" || t === "gpujs"));

describe.skipIf(!(await needs("compiler")))("a training step of micro", () => {
  const native = new Map<Case, Promise<readonly Run[]>>();
  for (const target of asked)
    for (const c of nightly ? cases : sample(target, cases, 1, "micro"))
      it(
        `${c.name}, on ${target}`,
        async () => {
          if (!native.has(c)) native.set(c, train("native", c, 1));
          const [reference] = await (native.get(c) as Promise<readonly Run[]>);
          const [first, second] = await train(target, c, 2);
          expect(first?.losses.length).toBe(steps);
          for (const [k, l] of (first?.losses ?? []).entries()) {
            const want = reference?.losses[k] as number;
            expect(Math.abs(l - want), `step ${k + 1}: a loss of ${l}, natively ${want}`).toBeLessThan(1e-3);
          }
          expect(second).toEqual(first);
          if (nightly) expect(first?.losses.at(-1)).toBeLessThan((first?.losses[0] as number) - 1);
        },
        nightly ? 1_800_000 : 300_000,
      );
});
