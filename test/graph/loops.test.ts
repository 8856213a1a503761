import { describe, expect, it } from "vitest";
import { grad as gradNode } from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { compare, compute, type Env, fill, input, numbers, worst } from "./harness.js";
import { loose, type R } from "./loose.js";

const { add, at, dot, map, mul, rename, repeat, softmax, sum, max, cumprod, grad, rms } = loose;
const bar = 5e-8;

function leaves(shapes: readonly R[], seed = 5): { readonly xs: readonly Leaf[]; readonly env: Env } {
  const random = numbers(seed);
  const env: Env = new Map();
  const xs = shapes.map((s) => input(s));
  for (const x of xs) env.set(x, fill(x, random));
  return { xs, env };
}
/** Attention over time, then a product that does not commute: everything that a loop's derivative must save or repeat. */
const layer = (x: R, w: R, c: R): Node => {
  const q = dot(x, w, "m");
  const s = dot(rename(q, { t: "i" }), rename(q, { t: "j" }), "n");
  const o = dot(
    softmax(
      map(s, (s: R, { i, j }: R) => (j <= i ? s : -Infinity)),
      "j",
    ),
    rename(x, { t: "j" }),
    "j",
  );
  return map({ x, o: rename(o, { i: "t" }), c }, ({ x, o, c }: R) => x + Math.tanh(o * c));
};
const shapes = [{ t: 3, m: 2 }, { layer: 3, m: 2, n: 2 }, { m: 2 }];
const looped = ([x, w, c]: readonly R[], n = 3): Node =>
  repeat(n, { axis: "layer", state: { x }, xs: { w } }, ({ x }: R, { w }: R) => ({ x: layer(x, w, c) })).x;
const unrolled = ([x, w, c]: readonly R[]): Node => [0, 1, 2].reduce<R>((h, l) => layer(h, at(w, { layer: l }), c), x);

describe("loops", () => {
  it("carry, slices and captured values: central differences, and the unrolled graph", () => {
    const { xs, env } = leaves(shapes);
    expect(worst(compare(looped(xs), xs, env))).toBeLessThan(bar);
    const grads = (y: Node) => {
      const loss = sum(
        map(y, (y: R) => y * y),
        "t",
        "m",
      );
      return compute(
        xs.map((x) => gradNode(loss, x)),
        env,
      ).flatMap((g) => [...g]);
    };
    const [a, b] = [grads(looped(xs)), grads(unrolled(xs))] as const;
    a.forEach((v, i) => {
      expect(v).toBeCloseTo(b[i] as number, 11);
    });
  });
  it("once, and not at all", () => {
    const { xs, env } = leaves([shapes[0], { layer: 1, m: 2, n: 2 }, shapes[2]]);
    expect(worst(compare(looped(xs, 1), xs, env))).toBeLessThan(bar);
    const none = leaves([shapes[0], { layer: 0, m: 2, n: 2 }, shapes[2]]);
    expect(worst(compare(looped(none.xs, 0), none.xs, none.env))).toBeLessThan(bar);
  });
  it("nested, the inner one capturing from the outer", () => {
    const { xs, env } = leaves([{ m: 2 }, { layer: 2, m: 2 }, { step: 3, m: 2 }]);
    const y = ([x, w, v]: readonly R[]) =>
      repeat(2, { axis: "layer", state: { x }, xs: { w } }, ({ x }: R, { w }: R) => {
        const h = map({ x, w }, ({ x, w }: R) => Math.sin(x * w));
        const inner = repeat(3, { axis: "step", state: { z: h }, xs: { v } }, ({ z }: R, { v }: R) => ({
          z: map({ z, v, h, p: cumprod(mul(z, v), "m") }, ({ z, v, h, p }: R) => Math.tanh(z * v + h * z) + p),
        }));
        return { x: add(inner.z, x) };
      }).x;
    expect(worst(compare(y(xs), xs, env))).toBeLessThan(bar);
  });
  it("nested over axes of one name", () => {
    const { xs, env } = leaves([{ m: 2 }, { m: 2 }]);
    const y = ([x, w]: readonly R[]) =>
      repeat(2, { state: { x } }, ({ x }: R) => ({
        x: repeat(2, { state: { z: x } }, ({ z }: R) => ({ z: map({ z, w, m: max(z, "m") }, ({ z, w, m }: R) => Math.tanh(z * w) * m) })).z,
      })).x;
    expect(worst(compare(y(xs), xs, env))).toBeLessThan(bar);
  });
  it("the counter, several carries, and a carry that becomes active late", () => {
    const { xs, env } = leaves([{ m: 2 }, { m: 2 }]);
    const y = ([x, w]: readonly R[]) => {
      const out = repeat(4, { state: { a: map(x, () => 1), b: map(x, () => 0), i: map(x, () => 2) } }, ({ a, b, i }: R, _: R, counter: R) => ({
        a: map({ b, w, counter }, ({ b, w, counter }: R) => b * w + counter),
        b: map({ a, x }, ({ a, x }: R) => a * x),
        i: map({ i, a }, ({ i, a }: R) => i + a * a),
      }));
      return add(mul(out.a, out.b), out.i);
    };
    expect(worst(compare(y(xs), xs, env))).toBeLessThan(bar);
  });
  it("a gradient inside the body: accumulation over micro-batches", () => {
    const { xs, env } = leaves([{ m: 2 }, { micro: 3, b: 2, m: 2 }]);
    const [w, x] = xs as readonly [R, R];
    const loss = (x: R) =>
      sum(
        map({ x, w }, ({ x, w }: R) => Math.tanh(x * w) ** 2),
        "b",
        "m",
      );
    const total = repeat(3, { axis: "micro", state: { g: map(w, () => 0) }, xs: { x } }, ({ g }: R, { x }: R) => ({ g: add(g, grad(loss(x), w)) })).g;
    const whole = grad(
      sum(
        map({ x, w }, ({ x, w }: R) => Math.tanh(x * w) ** 2),
        "micro",
        "b",
        "m",
      ),
      w,
    );
    const [a, b] = compute([total, whole], env) as [Float64Array, Float64Array];
    a.forEach((v, i) => {
      expect(v).toBeCloseTo(b[i] as number, 12);
    });
  });
});

describe("gradients of gradients", () => {
  it("of point-wise values, folds and scans", () => {
    const { xs, env } = leaves([{ i: 3, j: 2 }]);
    for (const f of [
      (x: R) =>
        sum(
          map(softmax(x, "i"), (p: R) => p * p),
          "i",
          "j",
        ),
      (x: R) => sum(map(cumprod(x, "i"), Math.sin), "i", "j"),
      (x: R) =>
        sum(
          mul(
            rms(x, "i"),
            map(x, (x: R) => x ** 3),
          ),
          "i",
          "j",
        ),
    ]) {
      const g = grad(f(xs[0]), xs[0]);
      expect(worst(compare(g, xs, env, { step: 1e-5 }))).toBeLessThan(2e-7);
    }
  });
  it("through a loop", () => {
    const { xs, env } = leaves(shapes);
    const loss = sum(
      map(looped(xs), (y: R) => y * y),
      "t",
      "m",
    );
    const g = grad(loss, xs[1]);
    expect(worst(compare(g, xs, env))).toBeLessThan(2e-7);
  });
});

describe("depth and edges", () => {
  it("a graph of 100 unrolled layers", () => {
    const { xs, env } = leaves([{ m: 2 }, { m: 2 }]);
    const [x, w] = xs as readonly [R, R];
    let h = x;
    for (let i = 0; i < 100; i++) for (let k = 0; k < 20; k++) h = map({ h, w }, ({ h, w }: R) => h + 0.001 * Math.tanh(h * w));
    const g = compute([gradNode(sum(h, "m"), w)], env)[0] as Float64Array;
    expect(g.every(Number.isFinite)).toBe(true);
  });
  it("a leaf that the loss does not depend on has gradient 0; a layer's gradient is the layer of the stacked one", () => {
    const { xs, env } = leaves(shapes);
    const other = input({ k: 3 });
    const loss = sum(looped(xs), "t", "m");
    const [zero, whole, second] = compute([gradNode(loss, other), gradNode(loss, xs[1] as Leaf), gradNode(loss, at(xs[1], { layer: 1 }))], env);
    expect([...(zero as Float64Array)]).toEqual([0, 0, 0]);
    expect([...(second as Float64Array)]).toEqual([...(whole as Float64Array).slice(4, 8)]);
  });
});
