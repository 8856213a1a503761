import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseRunConfig } from "../../runtime/train/run-config.js";
import { createRun, openRun } from "../../runtime/train/run-folder.js";
import { fault, runConfig, temporary, value } from "./fixtures.js";

const now = new Date("2026-03-04T05:06:07.890Z");
const arrays = new Map([["a.w", { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] }]]);

describe("run folders", () => {
  test("are named by run and time, and never shared", async () => {
    using folder = temporary();
    for (let i = 0; i < 3; i++) value(await createRun(folder.path, runConfig, now))[Symbol.dispose]();
    expect(readdirSync(folder.path).sort()).toEqual(["test-20260304-050607", "test-20260304-050607-2", "test-20260304-050607-3"]);
  });
  test("give back configuration and checkpoint", async () => {
    using folder = temporary();
    using run = value(await createRun(folder.path, runConfig, now));
    value(await run.save(12, arrays, new Map([["a.w.m", { data: Float32Array.of(5), shape: [] }]])));
    const opened = value(await openRun("test-20260304-050607", folder.path));
    expect(opened.config).toEqual(runConfig);
    const checkpoint = value(await opened.readCheckpoint());
    expect(checkpoint.step).toBe(12);
    expect(Array.from(checkpoint.weights.get("a.w")!.data)).toEqual([1, 2, 3, 4]);
    expect(checkpoint.state.get("a.w.m")).toEqual({ dtype: "f32", data: Float32Array.of(5), shape: [] });
  });
  test("say what is wrong with them", async () => {
    using folder = temporary();
    using run = value(await createRun(folder.path, runConfig, now));
    const said = (p: { readonly message: string; readonly hint: string }): string => `${p.message} → ${p.hint}`.replaceAll(folder.path, "DIR");
    const opened = value(await openRun(run.path, folder.path));
    const none = said(fault(await opened.readCheckpoint()));
    const unknown = said(fault(await openRun(join(folder.path, "other"), folder.path)));
    value(await run.save(3, arrays, new Map()));
    const path = join(run.path, "checkpoint.safetensors");
    writeFileSync(path, readFileSync(path).subarray(0, 90));
    const torn = said(fault(await opened.readCheckpoint()));
    expect([none, unknown, torn]).toMatchInlineSnapshot(`
      [
        "the run DIR/test-20260304-050607 has no checkpoint: it ended before its first one → start a new run; --eval-every N writes a checkpoint every N steps",
        "there is no run "DIR/other": neither DIR/other nor DIR/other has a config.json → runs in DIR: test-20260304-050607",
        "DIR/test-20260304-050607/checkpoint.safetensors is not a safetensors file that can be read: it has 90 bytes and needs 128. It was cut off: copy or download it again → restore the file, or start a new run",
      ]
    `);
  });
  test("lose the lines after the checkpoint when they are continued", async () => {
    using folder = temporary();
    const run = value(await createRun(folder.path, runConfig, now));
    for (let step = 0; step < 6; step++) value(run.append({ step, loss: step }));
    run[Symbol.dispose]();
    writeFileSync(join(run.path, "metrics.jsonl"), '{"step":6,"lo', { flag: "a" });
    const opened = value(await openRun(run.path, folder.path));
    using again = value(await opened.resume({ ...runConfig, trainer: { ...runConfig.trainer, steps: 99 } }, 3));
    value(again.append({ step: 4, loss: 0.5 }));
    const lines = readFileSync(join(run.path, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines).toEqual(['{"step":0,"loss":0}', '{"step":1,"loss":1}', '{"step":2,"loss":2}', '{"step":3,"loss":3}', '{"step":4,"loss":0.5}']);
    expect(value(await openRun(run.path, folder.path)).config.trainer.steps).toBe(99);
  });
});

test("a configuration that was edited wrongly names the field", () => {
  const said = (change: object): string => fault(parseRunConfig(JSON.stringify({ ...runConfig, ...change }), "config.json")).message;
  expect([
    said({ model: { ...runConfig.model, head: 2.5 } }),
    said({ program: { ...runConfig.program, optimizer: "adam" } }),
    said({ trainer: { ...runConfig.trainer, lr: undefined } }),
    said({ data: null }),
    said({ format: 9 }),
    fault(parseRunConfig("{", "config.json")).message.replace(/json: .*/, "json: …"),
  ]).toMatchInlineSnapshot(`
    [
      "config.json is no run's config.json: "model.head" is 2.5 and should be a whole number of at least 1",
      "config.json is no run's config.json: "program.optimizer" is "adam" and should be one of adamw, sgd, lion, muon",
      "config.json is no run's config.json: "trainer.lr" is missing and should be a number above 0",
      "config.json is no run's config.json: "data" is no object",
      "config.json is no run's config.json: "format" is 9, this version reads 3 and what came before: use a newer one",
      "config.json is no run's config.json: …",
    ]
  `);
});

test("a file of the first format is read as what its run was; one of a later format is not", () => {
  const { attention: _, ...model } = runConfig.model;
  const { optimizer, intervention, tau, clip, accumulate, probeSequences, device, threads, seed } = runConfig.program;
  const { schedule: _s, cooldown: _c, ...trainer } = runConfig.trainer;
  const first = {
    ...runConfig,
    format: 1,
    model,
    program: { optimizer, intervention, tau, clip, accumulate, probeSequences, device, threads, seed },
    trainer,
  };
  expect(value(parseRunConfig(JSON.stringify(first), "config.json"))).toEqual(runConfig);
  const lacking = fault(parseRunConfig(JSON.stringify({ ...first, format: 2 }), "config.json"));
  expect(lacking.message).toContain('"model.attention" is no object');
  // The second could store nothing but f32.
  const { precision: _p, ...second } = runConfig.program;
  expect(value(parseRunConfig(JSON.stringify({ ...runConfig, format: 2, program: second }), "config.json"))).toEqual(runConfig);
  expect(fault(parseRunConfig(JSON.stringify({ ...runConfig, program: second }), "config.json")).message).toContain(
    '"program.precision" is no object',
  );
});
test("sizes of an attention that cannot be built are named", () => {
  const said = (attention: object): string =>
    fault(parseRunConfig(JSON.stringify({ ...runConfig, model: { ...runConfig.model, attention } }), "config.json")).message;
  expect(said({ kind: "gqa", group: 3 })).toContain('"model.attention.group" is 3 and should divide "model.head", which is 2');
  expect(said({ kind: "mla", cq: 4, latent: 4, nope: 4, rope: 3, value: 4 })).toContain('"model.attention.rope" is 3 and should be even');
  expect(said({ kind: "linear" })).toContain('"model.attention.kind" is "linear" and should be one of mha, gqa, mla');
});
