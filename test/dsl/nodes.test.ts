// Handles are nodes: equal expressions are one object, whatever wrote them.
import { expect, test } from "vitest";
import {
  add,
  at,
  constant,
  dot,
  input,
  keys,
  MallardError,
  map,
  max,
  merge,
  mul,
  normal,
  rename,
  silu,
  size,
  softmax,
  split,
  sum,
  uniform,
  upTo,
  view,
} from "../../dsl/index.js";
import { placesOf } from "../../dsl/places.js";
import { nodeOf } from "../../dsl/tensor.js";

const x = input({ time: 8, model: 6 });
const w = input({ model: 6, out: 4 });

test("equal compositions are one node", () => {
  expect(add(x, x)).toBe(add(x, x));
  expect(dot(x, w, "model")).toBe(dot(x, w, "model"));
  expect(softmax(dot(x, w, "model"), "out")).toBe(softmax(dot(x, w, "model"), "out"));
  expect(silu(x)).toBe(silu(x));
  expect(rename(x, { time: "query" })).toBe(rename(x, { time: "query" }));
  expect(split(x, "model", { a: 2, b: 3 })).toBe(split(x, "model", { a: 2, b: 3 }));
  expect(constant(3)).toBe(constant(3));
});
test("what differs in meaning differs", () => {
  expect(input({ time: 8 })).not.toBe(input({ time: 8 }));
  expect(add(x, x)).not.toBe(mul(x, x));
  expect(max(x, "time")).not.toBe(sum(x, "time"));
  expect(constant(0)).not.toBe(constant(-0));
  expect(uniform(keys("a"), { i: 3 })).not.toBe(uniform(keys("b"), { i: 3 }));
  expect(uniform(keys("a"), { i: 3 })).not.toBe(normal(keys("a"), { i: 3 }));
});
test("one arrow with other captured numbers is another node", () => {
  const f = ({ x, c }: { x: number; c: number }) => x * c;
  expect(map({ x, c: 2 }, f)).toBe(map({ x, c: 2 }, f));
  expect(map({ x, c: 2 }, f)).not.toBe(map({ x, c: 3 }, f));
});
test("a rename that changes nothing is no node", () => expect(rename(x, { time: "time" })).toBe(x));
test("an arrow that returns a record makes one node a field", () => {
  const { p, q } = map({ x }, ({ x }) => ({ p: x + 1, q: x > 0 }));
  expect(p.dtype).toBe("f32");
  expect(q.dtype).toBe("bool");
  expect(p).not.toBe(q);
});
test("a node knows the author's line, and every author of it", () => {
  const a = mul(x, x);
  const b = mul(x, x);
  expect(a).toBe(b);
  const places = placesOf(nodeOf(a, "a")).filter((p) => p.file.endsWith("nodes.test.ts"));
  expect(places.length).toBeGreaterThanOrEqual(2);
});
test("extents at run time pass through, and refuse arithmetic while building", () => {
  const n = upTo(128, "prompt");
  const t = input({ time: n, model: 6 });
  expect(size(t, "time")).toBe(n);
  expect(map(t, (v, { time }, { time: T }) => v * (time / T)).axes.time).toBe(n);
  expect(sum(t, "time").axes).toEqual({ model: 6 });
  expect(() => n * 2).toThrow(/known only when the program runs/);
  expect(() => split(t, "time", { a: 2, b: 64 })).toThrow(MallardError);
  expect(() => add(t, input({ time: upTo(128) }))).toThrow(MallardError); // two extents, though of one maximum
});
test("sizes that no tensor can have, and names that no arrow can read", () => {
  for (const axes of [{ i: -1 }, { i: 1.5 }, { i: Number.NaN }, { "a b": 2 }, { "0": 2 }]) expect(() => input(axes)).toThrow(MallardError);
  expect(() => at(x, { time: 8 })).toThrow(/no index/);
  expect(() => view(x, { i: 3 }, ({ i }) => ({ time: i }), { model: 2 } as never)).toThrow(/name of an axis/);
  expect(() => merge(x, ["time", "time"], "m")).toThrow(/twice/);
});
