// Schedules against what their papers write, as expressions on devices and as numbers; and what is refused.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { each, input, pace, RuleError } from "../../dsl/index.js";
import type { Leaf } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { lion, type Schedule, scheduled, schedules } from "../../models/index.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { openSession } from "../../runtime/program.js";
import { needs } from "../require.js";

const { constant, cosine, joined, schedule, times, warmup, wsd } = schedules;
const rise = (t: number, n: number) => (t < n ? t / n : 1);
const half = (t: number, from: number, to: number) => 0.5 + 0.5 * Math.cos((Math.PI * Math.min(Math.max(t - from, 0), to - from)) / (to - from));
const fall = (t: number, total: number, n: number) => Math.min(Math.max(t - (total - n), 0), n) / n;
const cases: Readonly<Record<string, readonly [Schedule, (t: number) => number]>> = {
  constant: [constant(0.3), () => 0.3],
  warmup: [warmup(3e-3, 7), (t) => 3e-3 * rise(t, 7)],
  "warm-up of no steps": [warmup(3e-3, 0), () => 3e-3],
  cosine: [cosine(2, 5, 20), (t) => (t < 5 ? (2 * t) / 5 : 2 * half(t, 5, 20))],
  "cosine to a floor, no warm-up": [cosine(2, 0, 20, 0.5), (t) => 0.5 + 1.5 * half(t, 0, 20)],
  wsd: [wsd(2, { warmup: 4, total: 20, decay: 6 }), (t) => 2 * rise(t, 4) * (1 - fall(t, 20, 6))],
  "wsd by the root": [
    wsd(2, { warmup: 4, total: 20, decay: 6, floor: 0.25, shape: "sqrt" }),
    (t) => 2 * rise(t, 4) - 1.75 * Math.sqrt(fall(t, 20, 6)),
  ],
  "wsd without decay": [wsd(2, { warmup: 4, total: 20, decay: 0 }), (t) => 2 * rise(t, 4)],
  own: [schedule(1, { half: 3 }, ({ t, half }) => 0.5 ** (t / half)), (t) => Math.exp((-Math.LN2 * t) / 3)],
  product: [times(warmup(0.5, 3), cosine(2, 0, 20)), (t) => 0.5 * rise(t, 3) * 2 * half(t, 0, 20)],
  joined: [joined(warmup(2, 8), 6, cosine(1, 2, 10)), (t) => (t <= 6 ? (2 * t) / 8 : t - 6 < 2 ? (t - 6) / 2 : half(t - 6, 2, 10))],
};
const STEPS = 25;
const devices: readonly (readonly [DeviceName, number, boolean])[] = [
  ["js", 1e-12, false],
  ["native", 2e-6, !(await needs("compiler"))],
];
test.each(devices)("as expressions on %s", async (device, relative, missing) => {
  if (missing) return;
  const s = await openSession(device, { threads: 1 });
  if (isLeft(s)) throw s.left;
  using session = s.right;
  const t = input({});
  const outputs = Object.fromEntries(Object.values(cases).map(([s], i) => [`s${i}`, nodeOf(s(t), "schedule")]));
  const program = await session.program({ name: "schedules", inputs: { t: handle<Leaf>(t) }, outputs });
  for (let step = 1; step <= STEPS; step++) {
    const out = await program.run({ t: [step] });
    for (const [i, [name, [s, want]]] of Object.entries(cases).entries()) {
      const what = `${name}, step ${step}`;
      expect(Math.abs((out[`s${i}`]?.[0] as number) - want(step)), what).toBeLessThanOrEqual(relative * s.peak);
      expect(Math.abs(s.at(step) - want(step)), `${what}, as a number`).toBeLessThanOrEqual(1e-12 * s.peak);
    }
  }
});
test("no value is above the peak", () => {
  for (const [name, [s]] of Object.entries(cases)) for (let t = 1; t <= 60; t++) expect(s.at(t), name).toBeLessThanOrEqual(s.peak * (1 + 1e-12));
});

describe("what is refused", () => {
  test.each<[string, () => unknown, RegExp]>([
    ["a negative rate", () => constant(-1), /the rate is -1/],
    ["no number", () => warmup(Number.NaN, 3), /the peak is NaN/],
    ["half a step", () => warmup(1, 2.5), /steps is 2.5/],
    ["a floor above the peak", () => cosine(1, 2, 10, 3), /floor 3 is above the peak 1/],
    ["a warm-up that fills the run", () => cosine(1, 10, 10), /fills all of 10/],
    ["more than the run", () => wsd(1, { warmup: 6, total: 10, decay: 5 }), /are more than 10/],
    ["a constant that is no number", () => schedule(1, { k: Number.POSITIVE_INFINITY }, ({ k }) => k), /"k" is Infinity/],
    ["a function without a peak", () => scheduled(each({ "*": lion() }), handle<Schedule>(constant(1).at)), /peak is undefined/],
    ["the same of one rule", () => pace(lion(), handle<Schedule>(constant(1).at)), /peak is undefined/],
    ["a factor that is no number", () => pace(lion(), Number.POSITIVE_INFINITY), /factor is Infinity/],
  ])("%s", (_, f, text) => {
    expect(f).toThrow(RuleError);
    expect(f).toThrow(text);
  });
});
