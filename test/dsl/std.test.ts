// What the compositions compute, against their definitions written out.
import { describe, expect, test } from "vitest";
import {
  type AnyTensor,
  argMax,
  at,
  attend,
  attention,
  concat,
  crossEntropy,
  cumprod,
  cumsum,
  dot,
  grid,
  input,
  layerNorm,
  logSumExp,
  map,
  max,
  mean,
  merge,
  min,
  norm,
  pad,
  prod,
  repeat,
  rms,
  rope,
  sigmoid,
  silu,
  slice,
  softmax,
  split,
  stack,
  sum,
  taps,
  top,
  view,
} from "../../dsl/index.js";
import { causal } from "../../models/attention/05-causal.js";
import { evaluate, numbers } from "./evaluate.js";

const n = (x: AnyTensor, ...given: readonly (readonly [AnyTensor, readonly (number | boolean)[]])[]) =>
  evaluate(x, new Map(given)) as readonly number[];
const x = input({ i: 3, j: 4 });
const v = numbers(12);
const rows = [v.slice(0, 4), v.slice(4, 8), v.slice(8)];
const close = (a: readonly number[], b: readonly number[]) => {
  expect(a).toHaveLength(b.length);
  a.forEach((y, i) => void expect(y).toBeCloseTo(b[i] as number, 12));
};
const total = (r: readonly number[]) => r.reduce((a, b) => a + b, 0);

describe("reductions", () => {
  test("sum, mean, max, min, prod, norm", () => {
    close(n(sum(x, "j"), [x, v]), rows.map(total));
    close(
      n(mean(x, "j"), [x, v]),
      rows.map((r) => total(r) / 4),
    );
    close(n(mean(x, "i", "j"), [x, v]), [total(v) / 12]);
    close(
      n(max(x, "j"), [x, v]),
      rows.map((r) => Math.max(...r)),
    );
    close(
      n(min(x, "i"), [x, v]),
      [0, 1, 2, 3].map((j) => Math.min(...rows.map((r) => r[j] as number))),
    );
    close(
      n(prod(x, "j"), [x, v]),
      rows.map((r) => r.reduce((a, b) => a * b, 1)),
    );
    close(
      n(norm(x, "j"), [x, v]),
      rows.map((r) => Math.hypot(...r)),
    );
  });
  test("argMax takes the lowest index among equals", () => {
    expect(n(argMax(x, "j"), [x, [1, 5, 5, 0, 2, 2, 2, 2, -Infinity, -Infinity, -Infinity, -Infinity]])).toEqual([1, 0, 0]);
  });
  test("logSumExp of rows that are −∞ throughout is −∞", () => {
    const masked = [...v.slice(0, 8), -Infinity, -Infinity, -Infinity, -Infinity];
    const out = n(logSumExp(x, "j"), [x, masked]);
    close(
      out.slice(0, 2),
      rows.slice(0, 2).map((r) => Math.log(total(r.map(Math.exp)))),
    );
    expect(out[2]).toBe(-Infinity);
  });
  test("softmax of huge and of masked rows", () => {
    const out = n(softmax(x, "j"), [x, [1000, 1001, -Infinity, -Infinity, ...v.slice(4, 8), -Infinity, -Infinity, -Infinity, -Infinity]]);
    close(out.slice(0, 4), [1 / (1 + Math.E), Math.E / (1 + Math.E), 0, 0]);
    expect(total(out.slice(4, 8))).toBeCloseTo(1, 12);
    expect(out.slice(8)).toEqual([0, 0, 0, 0]);
  });
  test("cumsum and cumprod, exclusive and from the end", () => {
    close(
      n(cumsum(x, "j"), [x, v]).slice(0, 4),
      [0, 1, 2, 3].map((j) => total(v.slice(0, j + 1))),
    );
    close(
      n(cumsum(x, "j", { exclusive: true, reverse: true }), [x, v]).slice(0, 4),
      [0, 1, 2, 3].map((j) => total(v.slice(j + 1, 4))),
    );
    expect(n(cumprod(x, "j", { exclusive: true }), [x, v])[0]).toBe(1);
  });
});

describe("views", () => {
  test("split and merge are inverses, the first axis the slowest", () => {
    const s = split(x, "j", { a: 2, b: 2 });
    expect(n(s, [x, v])).toEqual(v);
    expect(n(merge(s, ["a", "b"], "j"), [x, v])).toEqual(v);
    expect(n(merge(x, ["j", "i"], "k"), [x, v])).toEqual([0, 1, 2, 3].flatMap((j) => rows.map((r) => r[j])));
    const three = input({ a: 2, b: 3, c: 2 });
    expect(n(merge(three, ["a", "b", "c"], "m"), [three, v])).toEqual(v);
  });
  test("slice, pad, concat, stack", () => {
    expect(n(slice(x, "j", { from: 1, size: 2 }), [x, v])).toEqual(rows.flatMap((r) => r.slice(1, 3)));
    expect(n(pad(x, "j", { before: 1, size: 6 }), [x, v])).toEqual(rows.flatMap((r) => [0, ...r, 0]));
    expect(n(concat(x, slice(x, "j", { from: 0, size: 1 }), "j"), [x, v])).toEqual(rows.flatMap((r) => [...r, r[0]]));
    const three = stack(
      "branch",
      x,
      map(x, (x) => -x),
      x,
    );
    expect(n(at(three, { branch: 1 }), [x, v])).toEqual(v.map((y) => -y));
    expect(n(at(three, { branch: 2 }), [x, v])).toEqual(v);
  });
  test("taps read backwards, centred and dilated", () => {
    const s = input({ t: 5 });
    const u = [1, 2, 3, 4, 5];
    expect(n(taps(s, "t", { a: 3 }), [s, u])).toEqual(u.flatMap((_, t) => [0, 1, 2].map((a) => u[t - a] ?? 0)));
    expect(n(taps(s, "t", { a: 3 }, { centre: true, dilate: 2 }), [s, u])).toEqual(
      u.flatMap((_, t) => [0, 1, 2].map((a) => u[t - 2 * (a - 1)] ?? 0)),
    );
  });
  test("an arrow's sizes are those of x, its indices those of the result", () => {
    const reversed = view(x, { j: 4 }, ({ j }, { j: J, shift }) => ({ j: J - 1 - j + shift }), { shift: 1 });
    expect(n(reversed, [x, v])).toEqual(rows.flatMap((r) => [0, ...[...r].reverse().slice(0, 3)]));
  });
});

describe("the rest", () => {
  test("top, at and gathered values", () => {
    const { value, index, chosen } = top(x, "j", { slot: 2 });
    const best = rows.map((r) =>
      r
        .map((y, i) => [y, i] as const)
        .sort((a, b) => b[0] - a[0])
        .slice(0, 2),
    );
    close(
      n(value, [x, v]),
      best.flatMap((b) => b.map(([y]) => y)),
    );
    expect(n(index, [x, v])).toEqual(best.flatMap((b) => b.map(([, i]) => i)));
    expect(n(at(x, { j: index }), [x, v])).toEqual(n(value, [x, v]));
    expect(evaluate(chosen, [[x, v]]).filter(Boolean)).toHaveLength(6);
  });
  test("rms, layerNorm, silu, sigmoid", () => {
    close(
      n(rms(x, "j"), [x, v]),
      rows.flatMap((r) => r.map((y) => y / Math.sqrt(total(r.map((z) => z * z)) / 4 + 1e-6))),
    );
    close(
      n(layerNorm(x, "j", { eps: 0 }), [x, v]),
      rows.flatMap((r) => {
        const m = total(r) / 4;
        return r.map((y) => (y - m) / Math.sqrt(total(r.map((z) => (z - m) ** 2)) / 4));
      }),
    );
    close(
      n(silu(x), [x, v]),
      v.map((y) => y / (1 + Math.exp(-y))),
    );
    close(
      n(sigmoid(x), [x, v]),
      v.map((y) => 1 / (1 + Math.exp(-y))),
    );
  });
  test("crossEntropy with z-loss", () => {
    const target = input({ i: 3 }, "i32");
    const lse = rows.map((r) => Math.log(total(r.map(Math.exp))));
    close(
      n(crossEntropy(x, target, "j", { z: 0.1 }), [x, v], [target, [3, 0, 2]]),
      rows.map((r, i) => (lse[i] as number) - (r[[3, 0, 2][i] as number] as number) + 0.1 * (lse[i] as number) ** 2),
    );
  });
  test("rope turns pairs by position, keeps their length, and turns back", () => {
    const q = input({ t: 3, d: 4 });
    const turned = rope(q, "t", "d", { base: 100 });
    const angle = (t: number, i: number) => t * 100 ** ((-2 * i) / 4);
    const want = [0, 1, 2].flatMap((t) => {
      const r = v.slice(4 * t, 4 * t + 4) as [number, number, number, number];
      const turn = (i: 0 | 1) =>
        [r[i] * Math.cos(angle(t, i)) - r[i + 2]! * Math.sin(angle(t, i)), r[i + 2]! * Math.cos(angle(t, i)) + r[i] * Math.sin(angle(t, i))] as const;
      const [a, b] = [turn(0), turn(1)];
      return [a[0], b[0], a[1], b[1]];
    });
    close(n(turned, [q, v]), want);
    close(n(rope(turned, "t", "d", { base: 100, inverse: true }), [q, v]), v);
    const from = input({}, "i32");
    close(n(rope(q, "t", "d", { base: 100, from }), [q, v], [from, [2]]).slice(0, 4), turnOne(v.slice(0, 4), 2, angle));
  });
  test("the one-call forms are the variant written out", () => {
    const q = input({ query: 3, dim: 2 });
    const k = input({ key: 3, dim: 2 });
    const o = input({ key: 3, value: 2 });
    const given = [
      [q, numbers(6)],
      [k, numbers(6, Math.cos)],
      [o, numbers(6, (i) => i - 2)],
    ] as const;
    const want = n(causal({ q, k, v: o }), ...given);
    close(
      n(
        attention({ q, k, v: o }, ({ s }, { query: i, key: j }) => (j <= i ? s : -Infinity)),
        ...given,
      ),
      want,
    );
    close(n(attend({ q, k, v: o, mask: ({ i, j }) => j <= i }), ...given), want);
    close(n(attend({ q, k, v: o, with: { c: 1 }, score: ({ s, i, j, c }) => (j <= i ? c * s : -Infinity) }), ...given), want);
  });
  test("grid and repeat", () => {
    expect(n(grid({ i: 2, j: 3 }, ({ i, j }, { j: J }) => i * J + j))).toEqual([0, 1, 2, 3, 4, 5]);
    const xs = input({ step: 3, i: 2 });
    const start = repeat(0, { state: { s: xs } }, (s) => s).s;
    expect(n(start, [xs, v.slice(0, 6)])).toEqual(v.slice(0, 6));
    const sums = dot(
      xs,
      grid({ step: 3 }, ({ step }) => 2 ** (2 - step) * (step + 1)),
      "step",
    );
    const zero = repeat(3, { state: { s: map(sums, (v) => v * 0) }, xs: { x: xs } }, ({ s }, { x }, k) => ({
      s: map({ s, x, k }, ({ s, x, k }) => 2 * s + x * (k + 1)),
    }));
    close(n(zero.s, [xs, v.slice(0, 6)]), n(sums, [xs, v.slice(0, 6)]));
  });
});
const turnOne = (r: readonly number[], t: number, angle: (t: number, i: number) => number): readonly number[] =>
  [0, 1, 2, 3].map((d) => {
    const a = angle(t, d % 2);
    return (r[d] as number) * Math.cos(a) + (d < 2 ? -(r[d + 2] as number) : (r[d - 2] as number)) * Math.sin(a);
  });
