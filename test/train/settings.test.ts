// Everything that a run can name, together: decoding gives the logits of the whole for every intervention and attention; a
// run that was stopped and continued is the unbroken one, bit by bit, whatever state its rules keep; schedules fit their
// steps; what cannot be is refused before the first step.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createLanguageModel, rateOf } from "../../cli/language-model.js";
import { each, type Optimizer, pointwise } from "../../index.js";
import { interventions, transformer } from "../../models/index.js";
import { precisionOf } from "../../runtime/precision.js";
import { createRun, openRun } from "../../runtime/train/run-folder.js";
import { train } from "../../runtime/train/trainer.js";
import { defaultsOf, languageModels, type ModelConfig, type ProgramConfig, type TrainingProgram } from "../../trainer.js";
import { needs } from "../require.js";
import { corpus, fault, program, runConfig, temporary, trainer, value } from "./fixtures.js";

const sizes: ModelConfig = { vocab: 256, model: 16, layer: 2, head: 4, ff: 24, time: 8, batch: 2, attention: { kind: "mha" } };
const attentions = {
  mha: { kind: "mha" },
  gqa: { kind: "gqa", group: 2 },
  mla: { kind: "mla", cq: 6, latent: 5, nope: 4, rope: 2, value: 4 },
} as const satisfies Readonly<Record<string, ModelConfig["attention"]>>;
const HALF = { compute: "bf16", state: "bf16" } as const;
type Named = Partial<ProgramConfig> & { readonly attention?: keyof typeof attentions };
const model = (n: Named): ModelConfig => ({ ...sizes, attention: attentions[n.attention ?? "mha"] });
const options = ({ attention: _, ...o }: Named): ProgramConfig => ({ ...program, ...defaultsOf(o.intervention ?? "none"), accumulate: 1, ...o });
const create = async (n: Named, purpose: "training" | "generation" = "training"): Promise<TrainingProgram> =>
  value(await createLanguageModel(model(n), options(n), purpose));

describe("decoding gives the logits of the whole", () => {
  /** The others leave the decoder as it is. */
  const decoders = ["none", "qk-norm", "soft-cap", "sigma-reparam", "mup"] as const;
  const cases = decoders.flatMap((intervention) =>
    (["mha", "gqa", "mla"] as const).filter((a) => a !== "mla" || intervention !== "qk-norm").map((attention) => [intervention, attention] as const),
  );
  test.each(cases)("%s, %s", async (intervention, attention) => {
    using m = await create({ intervention, attention, limit: 0.01 }, "generation");
    const text = Int32Array.from({ length: sizes.time }, (_, i) => (i * 37 + 11) % 256);
    const want: Float32Array[] = [];
    for (let n = 1; n <= sizes.time; n++) want.push(await m.decode(text.subarray(0, n), 0));
    let at = 0;
    for (const n of [3, 1, 4]) {
      const got = await m.decode(text.subarray(at, at + n), at);
      at += n;
      expect(Math.max(...got.map((g, i) => Math.abs(g - want[at - 1]![i]!)))).toBeLessThan(2e-6);
    }
  });
});

const missing = !(await needs("compiler"));
describe.skipIf(missing)("a run that was stopped and continued is the unbroken one", () => {
  const runs: readonly (readonly [string, Named])[] = [
    ["Muon under QuacK, clipped gradients, grouped queries", { optimizer: "muon", partner: 0.1, intervention: "quack", clip: 1, attention: "gqa" }],
    ["Lion with QK clip and decay, latent attention", { optimizer: "lion", intervention: "qk-clip", limit: 1e-3, decay: 0.1, attention: "mla" }],
    ["AdamW under QuacK, all of half width with masters", { intervention: "quack", precision: precisionOf({ ...HALF, params: "bf16" }) }],
    [
      "Lion, rounded stochastically",
      { optimizer: "lion", precision: precisionOf({ params: "f16", state: "f16", compute: "f16", update: "stochastic" }) },
    ],
    ["clipped gradient descent with σReparam", { optimizer: "sgd", clipStep: 0.5, intervention: "sigma-reparam" }],
  ];
  test.each(runs)("%s", async (_, named) => {
    using folder = temporary();
    const config = { ...runConfig, model: model(named), program: { ...options(named), device: "native" as const, threads: 2 } };
    const schedule = { ...trainer, steps: 6, schedule: "wsd" as const, warmup: 2, cooldown: 2, evalEvery: 2, probeEvery: 0 };
    const run = async (m: TrainingProgram, record: Parameters<typeof train>[0]["record"], from: number, stopAt: number) => {
      const controller = new AbortController();
      return value(
        await train({
          program: m,
          corpus,
          model: config.model,
          config: schedule,
          rate: value(rateOf(schedule)),
          accumulate: 1,
          probeSequences: 1,
          seed: 7,
          record,
          from,
          stop: controller.signal,
          report: ({ step }) => void (step === stopAt && controller.abort()),
        }),
      );
    };
    const make = async (seed = 7) => value(await createLanguageModel(config.model, { ...config.program, seed }, "training"));
    using whole = value(await createRun(folder.path, config));
    {
      using m = await make();
      expect((await run(m, whole, 0, -1)).steps).toBe(6);
    }
    using first = value(await createRun(folder.path, config));
    {
      using m = await make();
      expect(await run(m, first, 0, 3)).toMatchObject({ steps: 3, interrupted: true });
    }
    const opened = value(await openRun(first.path, folder.path));
    expect(opened.config).toEqual(config);
    const checkpoint = value(await opened.readCheckpoint());
    using again = value(await opened.resume(config, checkpoint.step));
    using m = await make(99); // what it began with does not count
    value(await m.load(checkpoint.weights, checkpoint.state));
    expect(await run(m, again, 3, -1)).toMatchObject({ steps: 6, interrupted: false });
    const bytes = (path: string): Buffer => readFileSync(join(path, "checkpoint.safetensors"));
    expect(bytes(again.path).equals(bytes(whole.path))).toBe(true);
  });
});

test("schedules rise, stay and fall over the run's steps, and are refused where they do not fit", () => {
  const at = (schedule: "constant" | "cosine" | "wsd", warmup = 4, cooldown = 4): number[] => {
    const rate = value(rateOf({ ...trainer, steps: 12, lr: 1, schedule, warmup, cooldown }));
    return [1, 2, 4, 8, 10, 12].map((t) => Number(rate(t).toFixed(6)));
  };
  expect(at("constant")).toEqual([0.25, 0.5, 1, 1, 1, 1]);
  expect(at("constant", 0)).toEqual([1, 1, 1, 1, 1, 1]);
  expect(at("cosine")).toEqual([0.25, 0.5, 1, 0.5, 0.146447, 0]);
  expect(at("wsd")).toEqual([0.25, 0.5, 1, 1, 0.5, 0]);
  expect(fault(rateOf({ ...trainer, steps: 12, schedule: "wsd", warmup: 10, cooldown: 4 }))).toMatchObject({ kind: "usage" });
  expect(fault(rateOf({ ...trainer, steps: 12, schedule: "cosine", warmup: 12 })).message).toMatch(/does not fit 12 steps/);
});

test("z-loss is trained with, and left out of the validation loss", async () => {
  const batch = { tokens: Int32Array.from({ length: 16 }, (_, i) => i), next: Int32Array.from({ length: 16 }, (_, i) => i + 1) };
  using with_ = await create({ zLoss: 0.1 });
  using without = await create({});
  const plain = await without.evaluate(batch);
  expect(await with_.evaluate(batch)).toBe(plain);
  // Log-sum-exp of 256 logits near 0 is near log 256.
  expect((await with_.step(batch, 0.1, 1)).loss - plain).toBeCloseTo(0.1 * Math.log(256) ** 2, 1);
  expect((await without.step(batch, 0.1, 1)).loss).toBeCloseTo(plain, 6);
});

describe("refused before the first step, as a problem that says what to do", () => {
  const still = pointwise({}, {}, ({ w }) => ({ w }));
  const make = async (optimizer: () => Optimizer, std = 0.02) => {
    const decoder = () => transformer({ ...sizes, dim: 4, std });
    return fault(await languageModels({ decoder, optimizer })(sizes, options({}), "training"));
  };
  test("a pattern without match, a rule that forgets a state", async () => {
    const idle = await make(() => each({ "*.wz": still, "*": still }));
    expect(idle).toMatchObject({ kind: "expression", message: 'each: pattern "*.wz" matches no weight' });
    expect(idle.hint).toContain("the weights are");
    const forgetful = (({ w }: { readonly w: number }) => ({ w })) as never; // what the types refuse
    expect((await make(() => each({ "*": pointwise({ m: 0 }, {}, forgetful) }))).message).toMatch(/the rule forgets its state "m"/);
  });
  test("a partner whose first values are zero", async () => {
    const refused = await make(() => interventions.quack.optimizer(each({ "*": still }), {}), 1e-200); // below what f32 holds
    expect(refused.kind).toBe("expression");
    expect(refused.message).toMatch(
      /^the rate of blocks\.0\.attention\.wq, head 0 cannot be derived: its partner blocks\.\*\.attention\.wk begins at zero/,
    );
    expect(refused.hint).toContain("a floor under its norms");
  });
  test("τ that a configuration should not have", async () => {
    for (const tau of [0, -1, Number.NaN])
      for (const intervention of ["quack", "fixed"] as const)
        expect(fault(await createLanguageModel(sizes, options({ intervention, tau }), "training")).message).toBe(
          `${intervention}: τ is ${tau}; a finite number above 0 is wanted`,
        );
  });
});
