// train, the one call: the step is counted, the loss falls the same on every device, and other programs share the weights.
import { describe, expect, test } from "vitest";
import { at, compileIn, crossEntropy, dot, each, input, ints, mean, model, rms, type Scalar, softmax, train, weight } from "../../index.js";
import { adamw, muon, quack, sgd, transformer, warmup } from "../../models/index.js";
import { needs } from "../require.js";

const bigram = model(
  { embed: weight({ vocab: 11 }, { model: 8 }), out: weight({ model: 8 }, { vocab: 11 }) },
  { tokens: ints("time") },
  ({ embed, out, tokens }) => dot(rms(at(embed, { vocab: tokens }), "model"), out, "model"),
);
const tokens = input({ batch: 3, time: 7 }, "i32");
const next = input({ batch: 3, time: 7 }, "i32");
const data = { tokens: Int32Array.from({ length: 21 }, (_, i) => (i * 5) % 11), next: Int32Array.from({ length: 21 }, (_, i) => (i * 5 + 5) % 11) };
const devices = [
  "js",
  ...((await needs("compiler")) ? (["native"] as const) : []),
  ...((await needs("gpu.js")) ? (["gpujs"] as const) : []),
] as const;

test("the loss falls alike on every device", async () => {
  const curves: number[][] = [];
  for (const device of devices) {
    using t = await train({
      model: bigram,
      inputs: { tokens, next },
      loss: (f, x): Scalar => mean(crossEntropy(f({ tokens: x.tokens }), x.next, "vocab"), "batch", "time"),
      optimizer: each({ "*": adamw() }),
      lr: warmup(3e-2, 3),
      device,
    });
    const losses: number[] = [];
    for (let i = 0; i < 12; i++) losses.push((await t.run(data)).loss);
    curves.push(losses);
    expect(Number((await t.session.read("step"))[0])).toBe(12);
    expect(losses.at(-1)).toBeLessThan(0.6 * (losses[0] as number));
    using probabilities = await compileIn(t.session, { tokens }, { p: softmax(bigram.bound({ tokens }), "vocab") });
    const { p } = await probabilities.run({ tokens: data.tokens });
    const loss = data.next.reduce((sum, n, i) => sum - Math.log(p[i * 11 + n] as number), 0) / 21;
    expect(Math.abs(loss - (await t.run(data)).loss)).toBeLessThan(1e-4);
  }
  for (const c of curves) for (const [i, l] of c.entries()) expect(Math.abs(l - (curves[0] as number[])[i]!)).toBeLessThan(1e-3);
});

describe.each(devices.filter((d) => d !== "js"))("QuacK on a small decoder on %s", (device) => {
  const lm = transformer({ model: 16, layer: 2, head: 2, dim: 8, ff: 24, vocab: 11 });
  test.each([
    ["sgd", () => each({ "*": sgd() }), 0.05],
    ["muon and adamw", () => each({ "blocks.*.{attention,mlp}.*": muon(), "*": adamw() }), 0.01],
  ] as const)("over %s follows the oracle", async (_, optimizer, lr) => {
    const run = async (device: "js" | "native" | "gpujs") => {
      using t = await train({
        model: lm,
        inputs: { tokens, next },
        loss: (f, x): Scalar => mean(crossEntropy(f({ tokens: x.tokens }), x.next, "vocab"), "batch", "time"),
        optimizer: quack(optimizer(), { tau: 0.5 }),
        lr: warmup(lr, 2),
        device,
      });
      const losses: number[] = [];
      for (let i = 0; i < 5; i++) losses.push((await t.run(data)).loss);
      return losses;
    };
    const [want, got] = [await run("js"), await run(device)];
    for (const [i, l] of got.entries()) expect(Math.abs(l - (want[i] as number)), `step ${i}`).toBeLessThan(2e-3);
    expect(new Set(got).size).toBe(5);
  });
});
