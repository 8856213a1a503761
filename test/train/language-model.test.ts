// The compiled language model: decoding position by position gives what the whole forward pass gives, on one compilation
// for every prompt length; accumulation equals the large batch; the frozen probe moves with the weights alone; the same
// bits at any number of threads.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { createLanguageModel } from "../../cli/language-model.js";
import type { ModelConfig, ProgramConfig, TrainingProgram } from "../../trainer.js";
import { needs } from "../require.js";
import { program } from "./fixtures.js";

const model: ModelConfig = { vocab: 256, model: 24, layer: 2, head: 2, ff: 40, time: 16, batch: 4, attention: { kind: "mha" } };
const options: ProgramConfig = {
  ...program,
  intervention: "quack",
  tau: 0.5,
  clip: 1,
  accumulate: 1,
  probeSequences: 2,
  device: "native",
  threads: 2,
  seed: 3,
};
async function create(
  o: Partial<ProgramConfig> = {},
  c: Partial<ModelConfig> = {},
  purpose: "training" | "generation" = "training",
): Promise<TrainingProgram> {
  const made = await createLanguageModel({ ...model, ...c }, { ...options, ...o }, purpose);
  if (isLeft(made)) throw new Error(made.left.message);
  return made.right;
}
const bytes = (n: number, seed: number) => Int32Array.from({ length: n }, (_, i) => (i * 37 + seed * 101 + ((i * i) % 13)) % 256);
const batch = (sequences: number, seed = 0) => ({ tokens: bytes(sequences * model.time, seed), next: bytes(sequences * model.time, seed + 1) });
const missing = !(await needs("compiler"));

describe.each(["native", "js"] as const)("on %s", (device) => {
  test.skipIf(device === "native" && missing)("decoding in chunks gives the logits of the whole", async () => {
    using whole = await create({ device }, {}, "generation");
    const text = bytes(model.time, 5);
    const want: Float32Array[] = [];
    for (let n = 1; n <= model.time; n++) want.push(await whole.decode(text.subarray(0, n), 0));
    for (const chunks of [[1, 1, 1, 1, 1, 1], [5, 1, 1, 9], [3, 13], [16]]) {
      let at = 0;
      for (const n of chunks) {
        const got = await whole.decode(text.subarray(at, at + n), at);
        at += n;
        const expected = want[at - 1] as Float32Array;
        expect(Math.max(...got.map((g, i) => Math.abs(g - (expected[i] as number))))).toBeLessThan(2e-6);
      }
    }
  });
});

test("the oracle reads both probes too; the frozen one needs no tokens", async () => {
  using m = await create({ device: "js" });
  const before = await m.probe(batch(options.probeSequences));
  const frozen = await m.probeFrozen(before.inputs);
  // The inputs were rounded to f32 on the way.
  expect(frozen.length).toBe(before.logits.length);
  expect(Math.max(...frozen.map((x, i) => (x === before.logits[i] ? 0 : Math.abs(x - (before.logits[i] as number)))))).toBeLessThan(1e-7);
});

describe.skipIf(missing)("natively", () => {
  test("decoding agrees with the logits of training: the loss computed from them is the evaluation's", async () => {
    using m = await create();
    const data = batch(model.batch);
    for (let t = 1; t <= 3; t++) await m.step(data, 1e-2, t);
    let loss = 0;
    for (let s = 0; s < model.batch; s++)
      for (let i = 0; i < model.time; i++) {
        const at = s * model.time + i;
        const logits = await m.decode(data.tokens.subarray(at, at + 1), i);
        const top = logits.reduce((a, b) => Math.max(a, b));
        const lse = top + Math.log(logits.reduce((sum, l) => sum + Math.exp(l - top), 0));
        loss += (lse - (logits[data.next[at] as number] as number)) / (model.batch * model.time);
      }
    expect(Math.abs(loss - (await m.evaluate(data)))).toBeLessThan(2e-5);
  });

  test("every prompt length runs on one compilation", async () => {
    using m = await create({}, { time: 128 }, "generation");
    const before = m.info.kernels;
    for (let n = 1; n <= 128; n++) expect((await m.decode(bytes(n, n), 0)).every(Number.isFinite)).toBe(true);
    expect(m.info.kernels).toBe(before);
  });

  test("accumulation equals the large batch", async () => {
    using large = await create({}, { batch: 4 });
    using small = await create({ accumulate: 2 }, { batch: 2 });
    for (let t = 1; t <= 3; t++) {
      const data = batch(4, t);
      const [a, b] = [await large.step(data, 1e-2, t), await small.step(data, 1e-2, t)];
      expect(Math.abs(a.loss - b.loss)).toBeLessThan(2e-5);
      expect(Math.abs(a.maxLogit - b.maxLogit)).toBeLessThan(2e-5);
      expect(Math.abs((a.gradNorm as number) - (b.gradNorm as number))).toBeLessThan(1e-4);
    }
  });

  test("the frozen probe is the probe until a step, and moves with the weights after it", async () => {
    using m = await create();
    const data = batch(options.probeSequences);
    const before = await m.probe(data);
    expect(await m.probeFrozen(before.inputs)).toEqual(before.logits);
    await m.step(batch(model.batch), 1e-2, 1);
    const frozen = await m.probeFrozen(before.inputs);
    const after = await m.probe(data);
    expect(frozen).not.toEqual(before.logits);
    // The first layer's inputs change with the embedding, later ones with everything below.
    expect(after.logits).not.toEqual(frozen);
    expect(await m.probeFrozen(after.inputs)).toEqual(after.logits);
  });

  test("same bits at 1, 2 and 3 threads and on a second run", async () => {
    const run = async (threads: number) => {
      using m = await create({ threads });
      const losses: number[] = [];
      for (let t = 1; t <= 4; t++) losses.push((await m.step(batch(model.batch, t), 1e-2, t)).loss);
      return { losses, weights: [...(await m.weights())].map(([path, { data }]) => [path, [...data]]) };
    };
    const one = await run(1);
    for (const threads of [1, 2, 3]) expect(await run(threads)).toEqual(one);
  });

  test("a loaded checkpoint continues bit by bit", async () => {
    using a = await create();
    for (let t = 1; t <= 3; t++) await a.step(batch(model.batch, t), 1e-2, t);
    const [weights, state] = [await a.weights(), await a.state()];
    using b = await create({ seed: 99 });
    expect(isLeft(await b.load(weights, state))).toBe(false);
    for (let t = 4; t <= 6; t++) expect(await b.step(batch(model.batch, t), 1e-2, t)).toEqual(await a.step(batch(model.batch, t), 1e-2, t));
    const other = new Map([...weights].map(([k, v]) => [k, { ...v, shape: [1, ...v.shape] }]));
    expect(await b.load(other, null)).toMatchObject({ _tag: "Left" });
  });
});
