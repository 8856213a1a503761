// The 1B models of QuacK's paper as expressions: their parameters are counted, their logits built, and nothing allocated.
import { expect, test } from "vitest";
import { crossEntropy, deriveRates, find, input, mean, type Scalar } from "../../dsl/index.js";
import { latentTransformer, PAPER_MHA, PAPER_MLA, parameterCount, transformer } from "../../models/index.js";

test("the paper's models have the paper's numbers of parameters", () => {
  const start = performance.now();
  expect(parameterCount(transformer(PAPER_MHA))).toBe(1_040_246_784);
  expect(parameterCount(transformer({ ...PAPER_MHA, qkNorm: true }))).toBe(1_040_246_784 + 1_792);
  expect(parameterCount(latentTransformer(PAPER_MLA))).toBe(998_041_600);
  expect(parameterCount(latentTransformer({ ...PAPER_MLA, latentNorm: true }))).toBe(998_041_600 + 14 * (512 + 256));
  // Layers repeat: a deep model is as quickly made as a shallow one.
  expect(parameterCount(transformer({ ...PAPER_MHA, layer: 1400 }))).toBe(100 * (1_040_246_784 - 49_153 * 2048) + 49_153 * 2048);
  expect(performance.now() - start).toBeLessThan(5_000);
});

test("their losses and QuacK's factors are expressions, built in no time", () => {
  const start = performance.now();
  const tokens = input({ batch: 96, time: 2048 }, "i32");
  const losses = [transformer(PAPER_MHA).bound({ tokens }), latentTransformer(PAPER_MLA).bound({ tokens })].map(
    (logits): Scalar => mean(crossEntropy(logits, tokens, "vocab"), "batch", "time"),
  );
  expect(losses.map((l) => Object.keys(deriveRates(find(l, "logits"))).map((path) => path.split(".").at(-1)))).toEqual([
    ["wq", "wk"],
    ["dq", "uq", "qr", "dkv", "uk", "kr"],
  ]);
  expect(performance.now() - start).toBeLessThan(5_000);
});
