import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createRun, openRun, type WritableRun } from "../../runtime/train/run-folder.js";
import { changeOf, type Metrics, type Outcome, train } from "../../runtime/train/trainer.js";
import { type Fake, type FakeOptions, fakeProgram as fake } from "./fake-program.js";
import { corpus, fault, model, rate, runConfig, temporary, trainer, value } from "./fixtures.js";

interface Options extends FakeOptions {
  readonly steps?: number;
  readonly stop?: AbortSignal;
  readonly from?: number;
}
const never = new AbortController().signal;
const run = (program: Fake, record: WritableRun, o: Options = {}) =>
  train({
    program,
    corpus,
    model,
    config: { ...trainer, steps: o.steps ?? trainer.steps },
    rate,
    accumulate: 2,
    probeSequences: 1,
    seed: 7,
    record,
    from: o.from ?? 0,
    stop: o.stop ?? never,
    report: () => {},
  });
const metricsOf = (path: string): Metrics[] =>
  readFileSync(join(path, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line): Metrics => JSON.parse(line));
const timeless = (lines: readonly Metrics[]): Metrics[] => lines.map(({ tokensPerSecond: _, ...line }) => line);

describe.each([
  ["results at once", 0],
  ["results three steps late", 3],
])("a run, %s", (_, ahead) => {
  const fakeProgram = (o: FakeOptions = {}) => fake({ ahead, ...o });
  test("writes one line a step, with validation, probes and logits where they are due", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    const program = fakeProgram();
    const outcome: Outcome = value(await run(program, record));
    const lines = metricsOf(record.path);
    expect(lines.map((l) => l.step)).toEqual(Array.from({ length: 21 }, (_, i) => i));
    const stepsWith = (key: keyof Metrics): number[] => lines.filter((l) => key in l).map((l) => l.step);
    expect(stepsWith("validationLoss")).toEqual([0, 8, 16, 20]);
    expect(stepsWith("deltaLogitFree")).toEqual([1, 5, 10, 15, 20]);
    expect(stepsWith("deltaLogitFrozen")).toEqual([1, 5, 10, 15, 20]);
    expect(Object.keys(lines[5]!)).toEqual([
      "step",
      "loss",
      "lr",
      "tokensPerSecond",
      "gradNorm",
      "maxLogit",
      "maxLogits",
      "deltaLogitFrozen",
      "maxDeltaLogitFrozen",
      "deltaLogitFree",
      "maxDeltaLogitFree",
    ]);
    expect(lines[5]!.maxLogits!.map((row) => row.length)).toEqual([2, 2]);
    expect(lines[5]!.deltaLogitFree!).toBeGreaterThan(lines[5]!.deltaLogitFrozen!);
    expect(program.asked.map((a) => a.lr)).toEqual(Array.from({ length: 20 }, (_, i) => 0.01 * Math.min(1, (i + 1) / 5)));
    expect(program.asked.every((a) => a.tokens.length === 2 * 2 * 8)).toBe(true);
    expect(outcome).toMatchObject({ steps: 20, interrupted: false, loss: lines[20]!.loss, validationLoss: lines[20]!.validationLoss });
  });

  test("continued from its checkpoint is the unbroken run: same batches, same metrics, same final checkpoint", async () => {
    using folder = temporary();
    using whole = value(await createRun(folder.path, runConfig));
    const unbroken = fakeProgram();
    value(await run(unbroken, whole));

    // Broken off in step 11, three steps behind its last checkpoint, with the line of step 12 torn.
    const first = value(await createRun(folder.path, runConfig));
    const broken = fakeProgram({
      onStep: (t) => {
        if (t === 12) throw new Error("power cut");
      },
    });
    await expect(run(broken, first)).rejects.toThrow("power cut");
    first[Symbol.dispose]();
    expect(metricsOf(first.path).at(-1)!.step).toBe(11);

    const opened = value(await openRun(first.path, folder.path));
    const checkpoint = value(await opened.readCheckpoint());
    expect(checkpoint.step).toBe(8);
    using again = value(await opened.resume(opened.config, checkpoint.step));
    const program = fakeProgram();
    value(await program.load(checkpoint.weights, checkpoint.state));
    value(await run(program, again, { from: 8 }));

    expect(program.asked).toEqual(unbroken.asked.slice(8));
    expect(timeless(metricsOf(again.path))).toEqual(timeless(metricsOf(whole.path)));
    const bytes = (path: string): Buffer => readFileSync(join(path, "checkpoint.safetensors"));
    expect(bytes(again.path).equals(bytes(whole.path))).toBe(true);
  });

  test("stopped, it ends after the running step with a checkpoint of that step", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    const controller = new AbortController();
    const program = fakeProgram({ onStep: (t) => void (t === 6 && controller.abort()) });
    const outcome = value(await run(program, record, { stop: controller.signal }));
    expect(outcome).toMatchObject({ steps: 6, interrupted: true, validationLoss: null });
    expect(metricsOf(record.path).at(-1)).toMatchObject({ step: 6, stopped: "interrupted" });
    expect(value(await value(await openRun(record.path, folder.path)).readCheckpoint()).step).toBe(6);
  });
  test("stopped before its first step, it keeps the initial weights", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    expect(value(await run(fakeProgram(), record, { stop: AbortSignal.abort() }))).toMatchObject({ steps: 0, interrupted: true });
    expect(value(await value(await openRun(record.path, folder.path)).readCheckpoint()).step).toBe(0);
  });

  test("a loss that is NaN ends it with an error and keeps the checkpoint before", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    const problem = fault(await run(fakeProgram({ nanLossAt: 11 }), record));
    expect(problem).toMatchInlineSnapshot(`
      {
        "hint": "the checkpoint of step 8 is kept; try a smaller --lr, a longer --warmup, --clip 1 or --intervention quack",
        "kind": "diverged",
        "message": "training diverged at step 11: the loss is NaN; in the step before, the greatest gradient was that of layer.w (norm 1230), the greatest attention logit was -0.531",
      }
    `);
    expect(metricsOf(record.path).at(-1)).toMatchObject({ step: 11, loss: "NaN", stopped: "diverged" });
    expect(value(await value(await openRun(record.path, folder.path)).readCheckpoint()).step).toBe(8);
  });
  test("so does a gradient that is not finite, which names its weight", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    const { kind, message, hint } = fault(await run(fakeProgram({ faultAt: 12 }), record));
    expect([kind, message]).toEqual([
      "diverged",
      "training diverged at step 12: the gradient of layer.w has the norm NaN; in the step before, the greatest gradient was that of layer.w (norm 1230), the greatest attention logit was -0.637",
    ]);
    expect(hint).toContain("the checkpoint of step 8 is kept");
    expect(metricsOf(record.path).at(-1)).toMatchObject({ step: 12, stopped: "diverged" });
    expect(value(await value(await openRun(record.path, folder.path)).readCheckpoint()).step).toBe(8);
  });
  test("and a validation loss, which names the weight that the step left", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    const { kind, message, hint } = fault(await run(fakeProgram({ nanWeightAt: 16 }), record));
    expect([kind, message]).toEqual([
      "diverged",
      expect.stringMatching(
        /^training diverged at step 16: the validation loss is NaN: the weight layer\.w has elements that are not finite; in the step /,
      ),
    ]);
    expect(hint).toContain("the checkpoint of step 8 is kept");
    expect(metricsOf(record.path).at(-1)).toMatchObject({ step: 16, validationLoss: "NaN", stopped: "diverged" });
  });
  test("weights that are not finite are never saved", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    const controller = new AbortController();
    const program = fakeProgram({ nanWeightAt: 3, onStep: (t) => void (t === 3 && controller.abort()) });
    const problem = fault(await run(program, record, { stop: controller.signal }));
    expect(problem.kind).toBe("diverged");
    expect(problem.message).toContain("layer.w");
    expect(existsSync(join(record.path, "checkpoint.safetensors"))).toBe(false);
  });
  test("a device that is lost ends it with an error; continued from the checkpoint before, it is the unbroken run", async () => {
    using folder = temporary();
    using whole = value(await createRun(folder.path, runConfig));
    value(await run(fakeProgram(), whole));
    const first = value(await createRun(folder.path, runConfig));
    const problem = fault(await run(fakeProgram({ lostAt: 12 }), first));
    first[Symbol.dispose]();
    expect(problem).toEqual({
      kind: "device",
      message: expect.stringMatching(/^the fake device was lost: the driver was reset\. Weights and states on it are gone/),
      hint: "the checkpoint of step 8 is kept: continue from it with --resume",
    });
    expect(metricsOf(first.path).at(-1)!.step).toBe(11);
    const opened = value(await openRun(first.path, folder.path));
    const checkpoint = value(await opened.readCheckpoint());
    using again = value(await opened.resume(opened.config, checkpoint.step));
    const program = fakeProgram();
    value(await program.load(checkpoint.weights, checkpoint.state));
    value(await run(program, again, { from: checkpoint.step }));
    expect(timeless(metricsOf(again.path))).toEqual(timeless(metricsOf(whole.path)));
  });
  test("a checkpoint that cannot be written is an error, and the one before stays", async () => {
    using folder = temporary();
    using record = value(await createRun(folder.path, runConfig));
    let saves = 0;
    const failing: WritableRun = {
      ...record,
      path: record.path,
      append: (line) => record.append(line),
      save: (step, weights, state) =>
        ++saves === 2 ? Promise.resolve({ _tag: "Left", left: { kind: "run", message: "disk full", hint: "" } }) : record.save(step, weights, state),
      [Symbol.dispose]: () => {},
    };
    expect(fault(await run(fakeProgram(), failing)).message).toBe("disk full");
    expect(value(await value(await openRun(record.path, folder.path)).readCheckpoint()).step).toBe(8);
  });
});

test("the change of logits: mean and greatest, masked pairs left out, NaN visible", () => {
  expect(changeOf(Float32Array.of(1, -Infinity, 2), Float32Array.of(2, -Infinity, -1))).toEqual({ mean: 2, greatest: 3 });
  expect(changeOf(Float32Array.of(1), Float32Array.of(Number.NaN))).toEqual({ mean: Number.NaN, greatest: Number.NaN });
  expect(() => changeOf(new Float32Array(2), new Float32Array(3))).toThrow(RangeError);
});
