// Decoding, derived from the training expression: the logits after any chunks of tokens are those of the whole forward
// pass, on one compilation; and the caches hold what the architecture promises: keys and values a key head, or for latent
// attention c_kv and k_R alone, nothing a head.
import { describe, expect, test } from "vitest";
import { dot, input, map, model, mul, rename, softmax, sum, weight } from "../../dsl/index.js";
import { decoder, type GroupedConfig, grouped, type LatentConfig, latentTransformer, PAPER_MLA, transformer } from "../../models/index.js";
import { decoding, decodingProgram, type LanguageDecoder } from "../../runtime/decoding.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { compileIn } from "../../runtime/program.js";
import { needs } from "../require.js";

const common = { model: 24, layer: 2, head: 4, ff: 40, vocab: 31, std: 0.3 } as const;
const heads: GroupedConfig = { ...common, dim: 8, group: 2 };
const latents: LatentConfig = { ...common, cq: 20, latent: 12, nope: 8, rope: 6, value: 10 };
/** Latent attention by distance, −|q − k|²/2 up to the query's own square: keys are read twice, so they cannot be left to
 *  the query. */
const distance = (c: LatentConfig) =>
  model(
    {
      wq: weight({ model: c.model }, { head: c.head, nope: c.nope }, { std: 0.3 }),
      dkv: weight({ model: c.model }, { latent: c.latent }, { std: 0.3 }),
      uk: weight({ latent: c.latent }, { head: c.head, nope: c.nope }, { std: 0.3 }),
      uv: weight({ latent: c.latent }, { head: c.head, value: c.value }, { std: 0.3 }),
      wo: weight({ head: c.head, value: c.value }, { model: c.model }, { std: 0.3 }),
    },
    { x: "time model" },
    ({ wq, dkv, uk, uv, wo, x }) => {
      const q = dot(rename(x, { time: "query" }), wq, "model"),
        latent = dot(rename(x, { time: "key" }), dkv, "model"),
        k = dot(latent, uk, "latent");
      const s = map({ qk: dot(q, k, "nope"), kk: sum(mul(k, k), "nope") }, ({ qk, kk }, { query: i, key: j }) => (j <= i ? qk - kk / 2 : -Infinity));
      return rename(dot(dot(softmax(s, "key"), dot(latent, uv, "latent"), "key"), wo, "head", "value"), { query: "time" });
    },
  );
/** With the numbers that a token's caches hold in each layer. */
const models: Readonly<Record<string, readonly [model: LanguageDecoder, numbers: number]>> = {
  "multi-head": [transformer(heads), 4 * (8 + 8)],
  "multi-head, QK norm": [transformer({ ...heads, qkNorm: true }), 4 * (8 + 8)],
  grouped: [grouped(heads), 2 * (8 + 8)],
  latent: [latentTransformer(latents), 12 + 6],
  "latent, normed": [latentTransformer({ ...latents, latentNorm: true }), 12 + 6],
  "latent, soft cap; oracle alone": [latentTransformer({ ...latents, softCap: 2 }), 12 + 6],
  "latent, by distance; oracle alone": [decoder(latents, distance(latents)), 4 * 8 + 4 + 12],
};
const TIME = 12;
const text = Int32Array.from({ length: TIME }, (_, i) => (7 * i * i + 3 * i + 5) % common.vocab);
const missing = !(await needs("compiler"));

/** Numbers that the caches hold for a token; the program is built and not compiled. */
const numbersOf = (m: LanguageDecoder): number =>
  decodingProgram(m.bound, TIME).caches.reduce((n, { axes }) => n + Object.values(axes).reduce<number>((p, e) => p * Number(e), 1), 0) / TIME;
/** Greatest difference between the logits of decoding in these chunks and of the forward pass, over the greatest logit. */
async function difference(device: DeviceName, model: LanguageDecoder, chunkings: readonly (readonly number[])[]): Promise<number> {
  using decode = await decoding({ model, capacity: TIME, device, seed: 5 });
  const tokens = input({ time: TIME }, "i32");
  using forward = await compileIn(decode.session, { tokens }, model.bound({ tokens }));
  const want = (await forward.run({ tokens: text })) as ArrayLike<number>;
  const scale = Math.max(...Array.from(want, Math.abs));
  let worst = 0;
  for (const chunks of chunkings) {
    let at = 0;
    for (const n of chunks) {
      const got = await decode.run(text.subarray(at, at + n), at);
      at += n;
      for (let v = 0; v < common.vocab; v++)
        worst = Math.max(worst, Math.abs((got[v] as number) - (want[(at - 1) * common.vocab + v] as number)) / scale);
    }
  }
  return worst;
}

describe.each(Object.entries(models))("%s", (name, [model, numbers]) => {
  test(`the caches hold ${numbers} numbers a token and layer`, () => {
    expect(numbersOf(model)).toBe(common.layer * numbers);
  });
  const chunkings = [Array.from({ length: TIME }, () => 1), [5, 1, 1, 4, 1], [3, 9], [TIME]];
  test("every chunking gives the forward pass's logits, in f64", async () => {
    expect(await difference("js", model, chunkings)).toBeLessThan(1e-12);
  });
  if (name.startsWith("multi-head") || name.endsWith("alone")) return; // multi-head decoding runs natively in the trainer's tests
  test.skipIf(missing)("and natively", async () => {
    expect(await difference("native", model, chunkings)).toBeLessThan(2e-5);
  });
});

test("the paper's latent model decodes from 320 numbers a token and layer; DeepSeek-V2's from 576", () => {
  const deepseek: LatentConfig = { ...common, model: 5120, head: 128, cq: 1536, latent: 512, nope: 128, rope: 64, value: 128 };
  for (const [c, numbers] of [
    [PAPER_MLA, 320],
    [deepseek, 576],
  ] as const)
    expect(numbersOf(latentTransformer(c))).toBe(c.layer * numbers);
});

test("a weight stays where it is if the query would have more to do than is saved: wide heads over a narrow stream", () => {
  const wide = transformer({ ...common, head: 32, dim: 2, vocab: 5 });
  expect(numbersOf(wide)).toBe(common.layer * 32 * (2 + 2));
});

test("two decodings of one session have caches of their own; what does not fit is refused", async () => {
  const [a, b] = [latentTransformer(latents), latentTransformer(latents)];
  using first = await decoding({ model: a, capacity: TIME, device: "js", seed: 5 });
  using second = await decoding({ model: b, capacity: TIME, device: first.session, name: "draft" });
  await first.run(text.subarray(0, 4), 0);
  await second.run(text.subarray(5, 9), 0);
  const alone = await (await decoding({ model: a, capacity: TIME, device: "js", seed: 5 })).run(text.subarray(0, 5), 0);
  const next = await first.run(text.subarray(4, 5), 4);
  expect(Math.max(...Array.from(next, (x, i) => Math.abs(x - (alone[i] as number))))).toBeLessThan(1e-12);
  await expect(first.run(text.subarray(0, 2), TIME - 1)).rejects.toThrow(/do not fit a capacity of 12/);
  await expect(first.run([], 0)).rejects.toThrow(/at least one token/);
});
