// Runs of half width: what a checkpoint stores, that another precision is refused and, asked for, converted; decoding from one;
// what is kept between the passes; and how far the loss is from f32's.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createLanguageModel } from "../../cli/language-model.js";
import type { DType } from "../../dsl/node.js";
import { constant, crossEntropy, each, input, mean, train as own } from "../../index.js";
import { adamw, transformer } from "../../models/index.js";
import { type Precision, precisionOf } from "../../runtime/precision.js";
import { readSafetensors } from "../../runtime/safetensors.js";
import { createRun, openRun } from "../../runtime/train/run-folder.js";
import { defaultsOf, loadCorpus, MODEL_SIZES, type ModelConfig, type ProgramConfig, type TrainingProgram, trainingBatch } from "../../trainer.js";
import { needs } from "../require.js";
import { fault, program, runConfig, temporary, value } from "./fixtures.js";

const model: ModelConfig = { vocab: 256, model: 16, layer: 2, head: 2, ff: 24, time: 8, batch: 2, attention: { kind: "mha" } };
const options = (precision: Partial<Precision>, o: Partial<ProgramConfig> = {}): ProgramConfig => ({
  ...program,
  ...defaultsOf("quack"),
  intervention: "quack",
  accumulate: 1,
  precision: precisionOf(precision),
  ...o,
});
const create = async (precision: Partial<Precision>, o: Partial<ProgramConfig> = {}, purpose: "training" | "generation" = "training") =>
  value(await createLanguageModel(model, options(precision, o), purpose));
const bytes = (n: number, seed: number) => Int32Array.from({ length: n }, (_, i) => (i * 37 + seed * 101 + ((i * i) % 13)) % 256);
const batch = { tokens: bytes(16, 0), next: bytes(16, 1) };
const steps = async (m: TrainingProgram, from: number, to: number): Promise<number[]> => {
  const losses: number[] = [];
  for (let t = from; t <= to; t++) losses.push((await m.step(batch, 1e-2, t)).loss);
  return losses;
};
const HALF = { params: "bf16", state: "bf16", compute: "bf16" } as const;

test("a checkpoint's tensors have the storage of the run, and masters stand among the state", async () => {
  using folder = temporary();
  const config = { ...runConfig, model, program: options(HALF) };
  using run = value(await createRun(folder.path, config));
  using m = await create(HALF);
  await steps(m, 1, 2);
  value(await run.save(2, await m.weights(), await m.state()));
  const { tensors } = value(await readSafetensors(join(run.path, "checkpoint.safetensors")));
  const dtypes = new Map<string, Set<DType>>();
  for (const [name, { dtype }] of tensors) {
    const kind = /^(weights|state\.master|state\.optimizer\.f0|state\.optimizer\.inner)\./.exec(name)?.[1] ?? name;
    dtypes.set(kind, (dtypes.get(kind) ?? new Set()).add(dtype));
  }
  expect(Object.fromEntries([...dtypes].map(([k, v]) => [k, [...v]]))).toEqual({
    weights: ["bf16"],
    "state.master": ["f32"],
    // QuacK's first factors are references, a number a head.
    "state.optimizer.f0": ["f32"],
    "state.optimizer.inner": ["bf16"],
  });
  const bytesOf = (m: TrainingProgram) => m.info.bytes;
  using full = await create({});
  expect(bytesOf(m).params).toBe(bytesOf(full).params / 2);
  const opened = value(await openRun(run.path, folder.path));
  expect(opened.config.program.precision).toEqual(precisionOf(HALF));

  // Of another precision: refused with what to do, unless it is to be converted.
  const { weights, state } = value(await opened.readCheckpoint());
  const refused = fault(await full.load(weights, state));
  expect(refused.message).toMatch(/^the checkpoint's "embed" is bf16, the run's precision stores it as f32$/);
  expect(refused.hint).toContain("--precision");
  value(await full.load(weights, state, { convert: true }));
  const masters = [...state].filter(([name]) => name.startsWith("master."));
  expect(masters.length).toBe(weights.size);
  const moved = await full.weights();
  for (const [name, { data }] of masters) expect(moved.get(name.slice("master.".length))?.data).toEqual(data);
  await steps(full, 3, 3);

  // And back: masters begin as the weights were, the weights are those rounded, and training goes on.
  using back = await create(HALF);
  const [exact, rest] = [await full.weights(), await full.state()];
  expect(fault(await back.load(exact, rest)).message).toMatch(/^the checkpoint's "embed" is f32, the run's precision stores it as bf16$/);
  value(await back.load(exact, rest, { convert: true }));
  const restored = await back.state();
  for (const [name, { data }] of exact) expect(restored.get(`master.${name}`)?.data).toEqual(data);
  expect((await steps(back, 4, 5)).every(Number.isFinite)).toBe(true);

  // A program for generation takes weights alone.
  using speaker = await create(HALF, {}, "generation");
  expect(fault(await speaker.load(exact, null)).message).toContain('"embed" is f32');
  value(await speaker.load(weights, null));
  expect((await speaker.decode(bytes(3, 1), 0)).every(Number.isFinite)).toBe(true);
});

const missing = !(await needs("compiler"));
describe.each(["js", "native"] as const)("on %s", (device) => {
  test.skipIf(device === "native" && missing)(
    "decoding in chunks rounds what training rounds: the loss from its logits is the evaluation's",
    async () => {
      using m = await create(HALF, { device });
      await steps(m, 1, 3);
      const evaluated = await m.evaluate(batch);
      let loss = 0;
      for (let s = 0; s < model.batch; s++)
        for (let i = 0; i < model.time; i++) {
          const at = s * model.time + i;
          const logits = await m.decode(batch.tokens.subarray(at, at + 1), i);
          const top = logits.reduce((a, b) => Math.max(a, b));
          loss += (top + Math.log(logits.reduce((sum, l) => sum + Math.exp(l - top), 0)) - (logits[batch.next[at] as number] as number)) / 16;
        }
      expect(Math.abs(loss - evaluated)).toBeLessThan(2e-5);
      if (device === "native") return;
      // Rounding is no accident of the comparison: without it the loss is another.
      using full = await create({}, { device });
      value(await full.load(await m.weights(), await m.state(), { convert: true }));
      expect(Math.abs((await full.evaluate(batch)) - evaluated)).toBeGreaterThan(2e-5);
    },
  );
});

describe.skipIf(missing)("natively", () => {
  test("a step of one's own takes a policy, and says what is stored as what", async () => {
    const lm = transformer({ model: 16, layer: 2, head: 2, dim: 8, ff: 24, vocab: 256 });
    const inputs = { tokens: input({ batch: 2, time: 8 }, "i32"), next: input({ batch: 2, time: 8 }, "i32") };
    using training = await own({
      model: lm,
      inputs,
      loss: (f, x) => mean(crossEntropy(f({ tokens: x.tokens }), x.next, "vocab"), "batch", "time"),
      optimizer: each({ "*": adamw() }),
      lr: () => constant(1e-3),
      precision: { ...HALF, update: "stochastic" },
    });
    const losses = [await training.run(batch), await training.run(batch), await training.run(batch)].map((r) => r.loss);
    expect(losses[2]).toBeLessThan(losses[0] as number);
    const said = training.explain();
    expect(said).toContain("precision: params bf16, rounded stochastically, state bf16, compute bf16");
    // Of each layer the results of its projections are kept rounded, the residual stream is not.
    const kept = said.split("\n").filter((line) => /^ *temp .*\[blocks: 2, batch/.test(line));
    expect(kept.filter((line) => /: bf16 \[/.test(line)).length).toBeGreaterThanOrEqual(5);
    expect(said).toMatch(/state +blocks_attention_wq: bf16 \[/);
    expect(said).toMatch(/carry_\w+: f32 \[/);
    await expect(
      own({
        model: lm,
        inputs,
        loss: () => constant(0),
        optimizer: each({ "*": adamw() }),
        lr: () => constant(1),
        precision: { state: "fp8" as never },
      }),
    ).rejects.toThrow('precision: state is "fp8"');
  });

  test("bounds of the logits' change hold for the weights as they are stored", async () => {
    using m = await create(HALF, { device: "native", bounds: true });
    const probe = await m.probe({ tokens: bytes(model.time, 4), next: bytes(model.time, 5) });
    const before = await m.probeFrozen(probe.inputs);
    const { bounds } = await m.step(batch, 1e-2, 1, { norms: probe.norms ?? [] });
    const after = await m.probeFrozen(probe.inputs);
    // The logits are scaled scores: what they moved, by layer and head, the changes of the stored weights certify, up to the
    // rounding of queries and keys themselves.
    const certified = bounds?.certificateActual as Float32Array;
    const size = before.length / certified.length;
    for (const [i, limit] of certified.entries()) {
      const greatest = Math.max(...Array.from({ length: size }, (_, k) => Math.abs((after[i * size + k] ?? 0) - (before[i * size + k] ?? 0)) || 0));
      expect(greatest).toBeLessThan(limit + 2e-3);
      expect(greatest).toBeGreaterThan(0);
    }
  });

  test("after 50 steps of micro the loss is that of f32, to 0.005 nats a byte", { timeout: 300_000 }, async () => {
    const micro = MODEL_SIZES.micro;
    const { train } = value(await loadCorpus(null, micro.time + 1));
    const last = async (precision: Partial<Precision>): Promise<number> => {
      using m = value(await createLanguageModel(micro, options(precision, { device: "native", threads: 2 }), "training"));
      let sum = 0;
      for (let t = 1; t <= 50; t++) {
        const { loss } = await m.step(trainingBatch(train, { sequences: micro.batch, time: micro.time }, 1, t), 3e-3 * Math.min(1, t / 20), t);
        if (t > 45) sum += loss / 5;
      }
      return sum;
    };
    const full = await last({});
    expect(full).toBeLessThan(3.3);
    for (const p of [HALF, { ...HALF, update: "stochastic" }] as const)
      expect(Math.abs((await last(p)) - full), JSON.stringify(p)).toBeLessThan(0.005);
  });
});
