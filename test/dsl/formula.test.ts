// A formula lifts over every axis it does not name, and refuses what would not be a lift.
import { expect, test } from "vitest";
import { AxisError, dot, formula, input, ints, map, mul, rename, softmax, sum } from "../../dsl/index.js";
import { causal } from "../../models/attention/05-causal.js";
import { documents } from "../../models/attention/08-documents.js";
import { alibi } from "../../models/attention/09-alibi.js";
import { evaluate, type Given, numbers } from "./evaluate.js";

const q = input({ batch: 2, query: 3, dim: 2 });
const k = input({ batch: 2, key: 3, dim: 2 });
const v = input({ batch: 2, key: 3, value: 2 });

test("lifted over an axis it is the formula of each index", () => {
  const out = causal({ q, k, v });
  expect(out.axes).toEqual({ batch: 2, query: 3, value: 2 });
  const given: Given = [
    [q, numbers(12)],
    [k, numbers(12, Math.cos)],
    [v, numbers(12, (i) => i)],
  ];
  const all = evaluate(out, given);
  for (const b of [0, 1]) {
    const [q1, k1, v1] = [input({ query: 3, dim: 2 }), input({ key: 3, dim: 2 }), input({ key: 3, value: 2 })] as const;
    const half = (x: readonly number[]) => x.slice(6 * b, 6 * b + 6);
    const one = evaluate(causal({ q: q1, k: k1, v: v1 }), [
      [q1, half(numbers(12))],
      [k1, half(numbers(12, Math.cos))],
      [v1, half(numbers(12, (i) => i))],
    ]);
    expect(all.slice(6 * b, 6 * b + 6)).toEqual(one);
  }
});
test("an input that has the axis alone gives it to the result", () => {
  expect(alibi({ q, k, v, m: input({ head: 5 }) }).axes).toEqual({ batch: 2, head: 5, query: 3, value: 2 });
});
test("a number stands for an input without axes", () => {
  const x = input({ i: 2 });
  expect(evaluate(formula({ x: "i", c: "" }, ({ x, c }) => mul(x, c))({ x, c: 3 }), [[x, [1, -2]]])).toEqual([3, -6]);
});
test("an extra axis that the body uses up is captive, also where the body renames it", () => {
  expect(() => causal({ q: input({ query: 3, dim: 2, value: 2 }), k, v })).not.toThrow(); // value is in the result: aligned, not captured
  const doc = input({ batch: 2, time: 3 }, "i32");
  const bad = input({ batch: 2, time: 3, query: 3, dim: 2 });
  expect(() => documents({ q: bad as never, k, v, doc })).toThrow(AxisError);
  expect(() => documents({ q: bad as never, k, v, doc })).toThrow('input "q": the formula uses up "time" itself');
});
test("the body sees the actual tensors", () => {
  const seen: unknown[] = [];
  const f = formula({ x: "i" }, ({ x }) => {
    seen.push(x.axes);
    return sum(x, "i");
  });
  f({ x: input({ batch: 4, i: 3 }) });
  expect(seen).toEqual([{ batch: 4, i: 3 }]);
});
test("results by name", () => {
  const both = formula({ x: "i" }, ({ x }) => ({ p: softmax(x, "i"), total: sum(x, "i") }));
  const { p, total } = both({ x: input({ b: 2, i: 3 }) });
  expect(p.axes).toEqual({ b: 2, i: 3 });
  expect(total.axes).toEqual({ b: 2 });
});
test("what is no input, no spec, no result", () => {
  expect(() => formula({ x: 3 as never }, ({ x }) => x)).toThrow(/names in one string/);
  expect(() => formula({ x: "i i" }, ({ x }) => x)).toThrow(/twice/);
  expect(() => formula({ x: "i" }, () => 3 as never)({ x: input({ i: 2 }) })).toThrow(/its body gives a number/);
  expect(() => causal(q as never)).toThrow(/one tensor/);
  expect(() => formula({ i: ints("a") }, ({ i }) => i)({ i: map(input({ a: 2 }), (x) => x > 0) as never })).toThrow(/bool; i32/);
  expect(() => dot(rename(q, { query: "key" }) as never, 3 as never, "key")).toThrow(/right side is a number/);
});
