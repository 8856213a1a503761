// A run that asks for bounds: every probed step says, by layer and head, how far it can move the logits of the probe batch,
// and the measured change stays below; the step itself is the one that is taken without them.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { createLanguageModel } from "../../cli/language-model.js";
import type { ModelConfig, ProgramConfig, TrainingProgram } from "../../trainer.js";
import { needs } from "../require.js";
import { program } from "./fixtures.js";

const model: ModelConfig = { vocab: 256, model: 16, layer: 2, head: 4, ff: 24, time: 8, batch: 2, attention: { kind: "mha" } };
const options: ProgramConfig = { ...program, intervention: "quack", tau: 0.5, accumulate: 1, probeSequences: 2, bounds: true, seed: 3 };
const create = async (o: Partial<ProgramConfig>, c: Partial<ModelConfig> = {}): Promise<TrainingProgram> => {
  const made = await createLanguageModel({ ...model, ...c }, { ...options, ...o }, "training");
  if (isLeft(made)) throw new Error(`${made.left.kind}: ${made.left.message}`);
  return made.right;
};
const bytes = (n: number, seed: number) => Int32Array.from({ length: n }, (_, i) => (i * 37 + seed * 101 + ((i * i) % 13)) % 256);
const batch = (sequences: number, seed = 0) => ({ tokens: bytes(sequences * model.time, seed), next: bytes(sequences * model.time, seed + 1) });

const gqa = { kind: "gqa", group: 2 } as const;
const mla = { kind: "mla", cq: 6, latent: 5, nope: 4, rope: 2, value: 4 } as const;
const cases: readonly (readonly [string, Partial<ProgramConfig>, Partial<ModelConfig>])[] = [
  ["Muon under QuacK by spectral norms", { optimizer: "muon", norm: "spectral" }, {}],
  ["AdamW with decay under QuacK by the paths' sum, grouped queries", { decay: 0.5, combine: "sum" }, { attention: gqa }],
  ["Lion under QuacK, latent attention, two micro-batches", { optimizer: "lion", accumulate: 2 }, { attention: mla }],
  ["Muon at fixed rates, with decay", { optimizer: "muon", intervention: "fixed", decay: 1 }, {}],
  ["AdamW under a soft cap", { intervention: "soft-cap", limit: 5 }, {}],
  ["clipped gradient descent", { optimizer: "sgd", clipStep: 0.5, norm: "spectral" }, {}],
  ["QK clip, which moves weights beside the step", { optimizer: "muon", intervention: "qk-clip", limit: 1e-3 }, {}],
];
test.each(cases)("%s", async (_, o, c) => {
  using m = await create(o, c);
  const quacked = (o.intervention ?? "quack") === "quack";
  const heads = model.layer * model.head;
  for (let t = 1; t <= 3; t++) {
    const before = await m.probe(batch(options.probeSequences));
    const { bounds } = await m.step(batch(model.batch * (o.accumulate ?? 1), t), 0.05, t, { norms: before.norms ?? [] });
    const after = await m.probeFrozen(before.inputs);
    const clipped = o.intervention === "qk-clip";
    expect(Object.keys(bounds ?? {})).toEqual([...(clipped ? [] : ["certificate"]), "certificateActual", ...(quacked ? ["budget"] : [])]);
    const pairs = after.length / heads;
    for (let h = 0; h < heads; h++) {
      let moved = 0;
      for (let i = h * pairs; i < (h + 1) * pairs; i++) if (after[i] !== -Infinity) moved = Math.max(moved, Math.abs(after[i]! - before.logits[i]!));
      expect(moved).toBeGreaterThan(0);
      expect(moved).toBeLessThan(bounds!.certificateActual![h]! * (1 + 1e-5));
      // The first gradients give Lion and AdamW steps of their full size.
      if (!clipped) expect(bounds!.certificateActual![h]).toBeLessThan(bounds!.certificate![h]! * (1 + 1e-5));
      if (quacked) expect(moved).toBeLessThan(bounds!.budget![h]! * (1 + 1e-5));
    }
  }
});
test.each([
  ["gradient descent, whose step has no bound", { optimizer: "sgd" }, /the step of "blocks\.\*\.attention\.wq" has no bound/],
  ["normalised queries and keys", { intervention: "qk-norm" }, /expression: logitCertificate: .*normalisation/],
] as const)("refused before the first step: %s", async (_, o, message) => {
  await expect(create(o)).rejects.toThrow(message);
});

describe.skipIf(!(await needs("compiler")))("natively", () => {
  test("a step that is asked for bounds leaves the weights and the state that it leaves otherwise, bit by bit", async () => {
    const run = async (bounds: boolean) => {
      using m = await create({ device: "native", optimizer: "muon", bounds });
      for (let t = 1; t <= 3; t++) {
        const { norms } = await m.probe(batch(options.probeSequences));
        expect(norms !== undefined).toBe(bounds);
        const { bounds: told } = await m.step(batch(model.batch, t), 0.05, t, norms && { norms });
        expect(told !== undefined).toBe(bounds);
      }
      return [...(await m.weights()), ...(await m.state())];
    };
    expect(await run(true)).toEqual(await run(false));
  });
});
