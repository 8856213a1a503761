// Bounds of steps: which sizes a rule's bound is asked for, and what the transformations of rules make of it.
import { describe, expect, test } from "vitest";
import {
  adjusted,
  apart,
  constant,
  dot,
  each,
  gain,
  input,
  leavesOf,
  model,
  mul,
  type Optimizer,
  pace,
  pointwise,
  RuleError,
  repeat,
  rule,
  type StepSlice,
  stepsOf,
  weight,
} from "../../dsl/index.js";
import type { Constant, Node } from "../../dsl/node.js";
import { adamw, clipNorm, clipStep, muon, qkClip, sgd } from "../../models/index.js";

const inner = model({ w: weight({ i: 6 }, { head: 4, dim: 3 }), g: gain({ head: 4, dim: 3 }) }, { x: "i" }, ({ w, g, x }) => mul(dot(x, w, "i"), g));
const m = model({ layers: repeat(5, inner) }, { x: "i" }, ({ layers, x }) => layers[0]!({ x }));
const W = "layers.*.w";
const G = "layers.*.g";
const value = (x: unknown) => (x as Node as Constant).value as number;
const d = (o: Optimizer, axes: Record<string, number>, norm: "frobenius" | "spectral" = "spectral", path = W) =>
  value(stepsOf(o, m.params, { [path]: input(axes) }, norm)[path]);

describe("sizes", () => {
  const asked: StepSlice[] = [];
  const spy = (over: "" | "out in") =>
    rule(over, {}, ({ w }) => ({ w }), {
      bound: (s) => {
        asked.push(s);
        return { spectral: 2, frobenius: 3 };
      },
    });
  const ask = (r: ReturnType<typeof spy>, axes: Record<string, number>, path = W) => {
    asked.length = 0;
    const got = d(each({ "*": r }), axes, "spectral", path);
    return [got, asked[0]];
  };
  test("of one layer's matrix, and of its slices", () => {
    for (const over of ["", "out in"] as const) {
      expect(ask(spy(over), {})).toEqual([2, { rows: 12, cols: 6, out: 12, in: 6 }]);
      expect(ask(spy(over), { layers: 5 })).toEqual([2, { rows: 12, cols: 6, out: 12, in: 6 }]);
      expect(ask(spy(over), { layers: 5, head: 4 })).toEqual([2, { rows: 3, cols: 6, out: 12, in: 6 }]);
    }
    expect(ask(spy(""), { layers: 5 }, G)).toEqual([2, { rows: 12, cols: 1, out: 12, in: 1 }]);
  });
  test("a rule apart by head moves one head's matrix; a slice of several is larger by the root of their number", () => {
    const r = apart(spy("out in"), "head");
    expect(ask(r, { layers: 5, head: 4 })).toEqual([2, { rows: 3, cols: 6, out: 3, in: 6 }]);
    expect(ask(r, { layers: 5 })).toEqual([4, { rows: 3, cols: 6, out: 3, in: 6 }]);
  });
});

describe("rules", () => {
  test("pace and adjusted", () => {
    const r = rule("", {}, ({ w }) => ({ w }), { bound: () => ({ spectral: 2, frobenius: 3 }) });
    expect(d(each({ "*": pace(r, -0.5) }), {})).toBe(1);
    const slow = Object.assign(() => constant(1), { peak: 4 });
    expect(d(each({ "*": pace(r, slow) }), {}, "frobenius")).toBe(12);
    expect(
      d(
        each({
          "*": adjusted(
            r,
            (x) => x.next,
            (b) => b && { ...b, spectral: 7 },
          ),
        }),
        {},
      ),
    ).toBe(7);
  });
  test("AdamW, Muon; transformations hand the bound on; SGD and QK clip have none", () => {
    const head = { layers: 5, head: 4 };
    expect(d(each({ "*": adamw({ decay: 0.3 }) }), head)).toBeCloseTo(1.16497 * Math.sqrt(18), 4);
    expect(d(each({ "*": adamw({ b2: 0.999 }) }), {}, "frobenius")).toBeCloseTo(7.27029 * Math.sqrt(72), 3);
    const groups = { "*.w": muon(), "*": adamw() };
    for (const o of [each(groups), clipNorm(each(groups))]) {
      expect(d(o, head)).toBeCloseTo(1.2024 * Math.SQRT2, 12);
      expect(d(o, head, "frobenius")).toBeCloseTo(1.2024 * Math.SQRT2 * Math.sqrt(3), 12);
    }
    expect(d(each({ ...groups, "*.w": apart(muon(), "head") }), head)).toBeCloseTo(1.2024, 12);
    expect(d(each({ ...groups, "*.w": muon({ moonlight: true, bf16: true }) }), head)).toBeCloseTo(1.25 * 0.2 * Math.sqrt(12), 12);
    expect(() => d(each({ "*": sgd() }), {})).toThrow(/"layers\.\*\.w" has no bound/);
    expect(() => d(qkClip(each(groups)) as Optimizer, {})).toThrow(/"layers\.\*\.w" has no bound.*QK clip/);
  });
  test("what is no bound", () => {
    const of = (bound: unknown) => each({ "*": pointwise({}, {}, ({ w }) => ({ w }), { bound: bound as never }) });
    expect(() => of(3)).toThrow(RuleError);
    expect(() =>
      d(
        of(() => ({ spectral: Number.NaN, frobenius: 1 })),
        {},
      ),
    ).toThrow(/its bound in the spectral norm is NaN/);
    expect(() => d(each({ "*": adamw({ b2: 0.5 }) }), {})).toThrow(/no bound: its settings.*β₁² is not below β₂/);
    expect(d(each({ "*": clipStep(adamw({ b2: 0.5 }), { limit: 7 }) }), {})).toBe(7);
    expect(() => d({ init: () => ({}), update: (x) => ({ w: x.w, s: x.s }) }, {})).toThrow(/states no bound/);
    expect(() => stepsOf(each({ "*": adamw() }), m.params, { other: constant(1) }, "spectral")).toThrow(/"other", which is no weight/);
    expect(leavesOf(m.params).length).toBe(2);
  });
});
