// Every shader of the variants, of the trainer's programs and of random programs is valid by Dawn's own parser, type checker
// and uniformity analysis, and none exceeds the limits that every WebGPU adapter has; with 16-bit floats and subgroups too.
import { isLeft } from "fp-ts/lib/Either.js";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createLanguageModel } from "../../cli/language-model.js";
import { variants } from "../../models/attention/index.js";
import { ATTENTIONS, MODEL_SIZES } from "../../runtime/train/config.js";
import { runIn } from "../laws/judge.js";
import { caseOfProgram } from "../laws/program.js";
import { drawn } from "../laws/random.js";
import { seed } from "../laws/seed.js";
import { program } from "../train/fixtures.js";
import { registered } from "../variants/cases.js";
import type { Validator } from "./dawn.js";
import { sessionOn, ValidatingDevice, validators } from "./validating.js";

/** What the trainer opens. */
let device: ValidatingDevice;
vi.mock("../../runtime/program.js", async (original) => ({
  ...(await original<object>()),
  openSession: async () => ({ _tag: "Right", right: sessionOn(device) }),
}));

let dawn: readonly Validator[];
beforeAll(async () => {
  dawn = await validators();
});
afterAll(() => {
  for (const d of dawn) d[Symbol.dispose]();
});
const fresh = (): ValidatingDevice => {
  device = new ValidatingDevice(dawn);
  return device;
};

describe("variants, forward and gradient", () => {
  it.each(variants.map((v) => v.name))("%s", async (name) => {
    const d = fresh();
    await registered(name).compile(sessionOn(d));
    expect(d.compiled.length).toBeGreaterThan(0);
    expect(d.problems).toEqual([]);
  });
});

describe("the trainer's programs of micro with QuacK", () => {
  const cases = (["mha", "mla"] as const).flatMap((attention) => (["adamw", "muon"] as const).map((optimizer) => ({ attention, optimizer })));
  it.each(cases)("$attention, $optimizer", { timeout: 60_000 }, async ({ attention, optimizer }) => {
    const d = fresh();
    const size = { ...MODEL_SIZES.micro, attention: ATTENTIONS[attention].of(MODEL_SIZES.micro) };
    const options = { ...program, device: "native" as const, intervention: "quack" as const, optimizer, clip: 1, accumulate: 1, probeSequences: 2 };
    const made = await createLanguageModel(size, options, "training");
    if (isLeft(made)) throw new Error(made.left.message);
    using m = made.right;
    const tokens = new Int32Array(size.batch * size.time);
    await m.evaluate({ tokens, next: tokens });
    await m.probe({ tokens: tokens.subarray(0, 2 * size.time), next: tokens.subarray(0, 2 * size.time) });
    await m.decode(tokens.subarray(0, 3), 0);
    expect(d.compiled.length).toBeGreaterThan(3);
    expect(d.problems).toEqual([]);
  });
});

it(`random programs of seed ${seed}`, { timeout: 60_000 }, async () => {
  const d = fresh();
  for (const p of drawn(seed, 40)) await runIn(sessionOn(d), [caseOfProgram(p).case]);
  expect(d.problems).toEqual([]);
});
