// Decoding, derived from the training expression: the logits after any chunks of tokens are those of the whole forward
// pass, on one compilation; and the caches hold what the architecture promises: keys and values a key head, or for latent
// attention c_kv and k_R alone, nothing a head.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { input, type Tensor } from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { type GroupedConfig, grouped, type LatentConfig, latentTransformer, transformer } from "../../models/index.js";
import { cachedNumbers, decodingProgram } from "../../runtime/decoding.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { openSession } from "../../runtime/program.js";
import { leavesOf } from "../../runtime/training.js";
import { needs } from "../require.js";

const common = { model: 24, layer: 2, head: 4, ff: 40, vocab: 31, std: 0.3 } as const;
const heads: GroupedConfig = { ...common, dim: 8, group: 2 };
const latents: LatentConfig = { ...common, cq: 20, latent: 12, nope: 8, rope: 6, value: 10 };
interface Model {
  readonly params: unknown;
  readonly bound: (x: { readonly tokens: Tensor<{ time: number }, "i32"> }) => Tensor<{ time: number; vocab: number }>;
}
/** With the numbers that a token's caches hold in each layer. */
const models: Readonly<Record<string, readonly [model: Model, numbers: number]>> = {
  "multi-head": [transformer(heads), 4 * (8 + 8)],
  "multi-head, QK norm": [transformer({ ...heads, qkNorm: true }), 4 * (8 + 8)],
  grouped: [grouped(heads), 2 * (8 + 8)],
  latent: [latentTransformer(latents), 12 + 6],
  "latent, normed": [latentTransformer({ ...latents, latentNorm: true }), 12 + 6],
  "latent, soft cap": [latentTransformer({ ...latents, softCap: 2 }), 12 + 6],
};
const TIME = 12;
const text = Int32Array.from({ length: TIME }, (_, i) => (7 * i * i + 3 * i + 5) % common.vocab);
const missing = !(await needs("compiler"));

/** Greatest difference between the logits of decoding in these chunks and of the forward pass, over the greatest logit. */
async function difference(device: DeviceName, m: Model, chunkings: readonly (readonly number[])[]): Promise<number> {
  const opened = await openSession(device);
  if (isLeft(opened)) throw opened.left;
  using s = opened.right;
  await s.initialise(leavesOf(m.params), 5);
  const tokens = input({ time: TIME }, "i32");
  const forward = await s.program({
    name: "forward",
    inputs: { tokens: tokens as unknown as Leaf }, // an input is a leaf
    outputs: { logits: m.bound({ tokens }) as unknown as Node },
  });
  const want = (await forward.run({ tokens: text })).logits as ArrayLike<number>;
  const decode = await s.program(decodingProgram((t) => m.bound({ tokens: t }), TIME).spec);
  const scale = Math.max(...Array.from(want, Math.abs));
  let worst = 0;
  for (const chunks of chunkings) {
    let at = 0;
    for (const n of chunks) {
      const out = await decode.run({ tokens: text.subarray(at, at + n), start: [at], count: [n] }, { fresh: n, whole: at + n });
      at += n;
      const got = out.logits as ArrayLike<number>;
      for (let v = 0; v < common.vocab; v++)
        worst = Math.max(worst, Math.abs((got[v] as number) - (want[(at - 1) * common.vocab + v] as number)) / scale);
    }
  }
  return worst;
}

describe.each(Object.entries(models))("%s", (name, [model, numbers]) => {
  test(`the caches hold ${numbers} numbers a token and layer`, () => {
    const d = decodingProgram((tokens) => model.bound({ tokens }), TIME);
    expect(cachedNumbers(d, TIME)).toBe(common.layer * numbers);
  });
  const chunkings = [Array.from({ length: TIME }, () => 1), [5, 1, 1, 4, 1], [3, 9], [TIME]];
  test("every chunking gives the forward pass's logits, in f64", async () => {
    expect(await difference("js", model, chunkings)).toBeLessThan(1e-12);
  });
  // Multi-head decoding runs natively in the trainer's tests.
  test.skipIf(missing || name.startsWith("multi-head") || name.endsWith("cap"))("and natively", async () => {
    expect(await difference("native", model, chunkings)).toBeLessThan(2e-5);
  });
});

test("the paper's latent model decodes from 320 numbers a token and layer; DeepSeek-V2's from 576", () => {
  const deepseek: LatentConfig = { ...common, model: 5120, head: 128, cq: 1536, latent: 512, nope: 128, rope: 64, value: 128 };
  for (const [c, numbers] of [
    [{ ...latents, model: 2048, head: 32, cq: 512, latent: 256, nope: 64, rope: 64, value: 128 }, 320],
    [deepseek, 576],
  ] as const)
    expect(
      cachedNumbers(
        decodingProgram((tokens) => latentTransformer(c).bound({ tokens }), 64),
        64,
      ),
    ).toBe(c.layer * numbers);
});

test("a weight stays where it is if the query would have more to do than is saved: wide heads over a narrow stream", () => {
  const wide = transformer({ ...common, head: 32, dim: 2, vocab: 5 });
  expect(
    cachedNumbers(
      decodingProgram((tokens) => wide.bound({ tokens }), 8),
      8,
    ),
  ).toBe(common.layer * 32 * (2 + 2));
});
