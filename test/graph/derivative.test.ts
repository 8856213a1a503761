import { describe, expect, it } from "vitest";
import * as build from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { compare, compute, type Env, fill, input, numbers, worst } from "./harness.js";
import { loose, type R } from "./loose.js";

const {
  at,
  argMax,
  cast,
  concat,
  cumprod,
  cumsum,
  dot,
  fold,
  logSumExp,
  map,
  max,
  merge,
  min,
  monoid,
  pad,
  prod,
  rename,
  scan,
  sizes,
  slice,
  softmax,
  split,
  stack,
  stopGradient,
  sum,
  taps,
  top,
  view,
} = loose;

function check(
  make: (x: readonly R[]) => Node,
  shapes: readonly R[],
  o: { seed?: number; set?: (env: Env, xs: readonly Leaf[]) => void } = {},
): number {
  const env: Env = new Map();
  const random = numbers(o.seed ?? 3);
  const xs = shapes.map((s) => input(s));
  for (const x of xs) env.set(x, fill(x, random));
  o.set?.(env, xs);
  return worst(compare(make(xs), xs, env));
}
const bar = 2e-8;

describe("map", () => {
  it("broadcasts, and reads indices and sizes", () => {
    const f = ({ a, b, c }: R, { i, j }: R, { i: m }: R) => a * Math.exp(b) + c * (i - j) * m;
    for (const [m, k] of [
      [3, 2],
      [1, 1],
      [5, 1],
      [2, 7],
    ] as const)
      expect(check(([a, b, c]) => map({ a: a, b: b, c: c }, f), [{ i: m, j: k }, { j: k }, {}])).toBeLessThan(bar);
  });
  it("does not meet the branch that was not taken", () => {
    const f = ({ x }: R) => (x > 0 ? Math.log(x) : x * x);
    expect(check(([x]) => map({ x: x }, f), [{ i: 6 }])).toBeLessThan(bar);
  });
  it("an input named ct does not collide with the cotangent", () => {
    const f = ({ ct, y }: R) => ct * ct * y;
    expect(check(([a, b]) => map({ ct: a, y: b }, f), [{ i: 3 }, { i: 3 }])).toBeLessThan(bar);
  });
});

describe("view", () => {
  const cases: Record<string, readonly [(x: R) => Node, R]> = {
    rename: [(x) => rename(x, { i: "k" }), { i: 3, j: 2 }],
    slice: [(x) => slice(x, "i", { from: 1, size: 2 }), { i: 4, j: 2 }],
    pad: [(x) => pad(x, "i", { before: 2, size: 7 }), { i: 3, j: 2 }],
    split: [(x) => split(x, "i", { p: 2, q: 3 }), { i: 6, j: 2 }],
    splitThree: [(x) => split(x, "i", { p: 2, q: 3, r: 2 }), { i: 12 }],
    merge: [(x) => merge(x, ["i", "j"], "m"), { i: 3, j: 2, k: 2 }],
    mergeThree: [(x) => merge(x, ["i", "j", "k"], "m"), { i: 3, j: 2, k: 5 }],
    mergeOnes: [(x) => merge(x, ["i", "j", "k"], "m"), { i: 1, j: 1, k: 3 }],
    taps: [(x) => taps(x, "i", { tap: 3 }), { i: 5, j: 2 }],
    tapsDilated: [(x) => taps(x, "i", { tap: 3 }, { dilate: 2, centre: true }), { i: 7 }],
    rotate: [(x) => view(x, { i: 6 }, ({ i }: R) => ({ i: (i + 4) % 6 })), { i: 6, j: 2 }],
    diagonal: [(x) => view(x, sizes(x, "i"), ({ i }: R) => ({ i, j: i })), { i: 4, j: 4 }],
    constant: [(x) => view(x, { k: 3 }, () => ({ i: 2 })), { i: 4, j: 2 }],
    outside: [(x) => view(x, { k: 3 }, () => ({ i: 9 })), { i: 4 }],
    flip: [(x) => view(x, { k: 4 }, ({ k }: R) => ({ i: 3 - k })), { i: 4, j: 2 }],
    stride: [(x) => view(x, { k: 3 }, ({ k }: R) => ({ i: 2 * k + 1 })), { i: 6, j: 2 }],
    repeatEach: [(x) => view(x, { i: 6 }, ({ i }: R) => ({ i: Math.floor(i / 2) })), { i: 3, j: 2 }],
    tile: [(x) => view(x, { i: 7 }, ({ i }: R) => ({ i: i % 3 })), { i: 3, j: 2 }],
    bucket: [
      (x) => view(x, { p: 4, q: 5 }, ({ p, q }: R, { b: m }: R) => ({ b: Math.min(m - 1, Math.max(p - q, 0) + Math.floor(Math.log(1 + q))) })),
      { b: 4 },
    ],
    windows: [(x) => view(x, { p: 3, q: 3 }, ({ p, q }: R) => ({ i: 2 * p + q })), { i: 7 }],
    gaps: [(x) => view(x, { p: 3, q: 2 }, ({ p, q }: R) => ({ i: 3 * p + q - 1 })), { i: 7 }],
    skew: [(x) => view(x, { p: 3, q: 4 }, ({ p, q }: R) => ({ i: p + q, j: q - p })), { i: 4, j: 4 }],
    clamp: [(x) => view(x, { p: 6 }, ({ p }: R) => ({ i: Math.min(p, 3) })), { i: 4 }],
    negativeRemainder: [(x) => view(x, { p: 6 }, ({ p }: R) => ({ i: (p - 2) % 3 })), { i: 3 }],
  };
  for (const [name, [make, shape]] of Object.entries(cases)) it(name, () => expect(check(([x]) => make(x), [shape])).toBeLessThan(bar));
  it("concat and stack", () => {
    expect(
      check(
        ([a, b]) => concat(a, b, "i"),
        [
          { i: 2, j: 2 },
          { i: 3, j: 2 },
        ],
      ),
    ).toBeLessThan(bar);
    expect(check(([a, b]) => stack("k", a, b), [{ i: 2 }, { i: 2 }])).toBeLessThan(bar);
  });
});

describe("at", () => {
  const indices = (axes: R, values: readonly number[]): readonly [Leaf, Float64Array] => [input(axes, "i32"), Float64Array.from(values)];
  const gathers = (shape: R, along: Record<string, readonly [Leaf, Float64Array]>) =>
    check(([x]) => at(x, Object.fromEntries(Object.entries(along).map(([a, [i]]) => [a, i]))), [shape], {
      set: (env) => {
        for (const [i, values] of Object.values(along)) env.set(i, values);
      },
    });
  it("gathers along its own axes, along shared ones, out of range, and twice the same", () => {
    const x = { i: 3, j: 2 };
    expect(gathers(x, { i: indices({ q: 4 }, [0, 2, 2, 1]) })).toBeLessThan(bar);
    expect(gathers(x, { i: indices({ j: 2 }, [2, 0]) })).toBeLessThan(bar);
    expect(gathers(x, { i: indices({ i: 3 }, [1, 1, 7]) })).toBeLessThan(bar);
    expect(gathers(x, { i: indices({ i: 2, j: 2 }, [0, -1, 2, 2]) })).toBeLessThan(bar);
  });
  it("constant indices, and two axes at once", () => {
    expect(check(([x]) => at(x, { i: 1 }), [{ i: 3, j: 2 }])).toBeLessThan(bar);
    expect(gathers({ i: 2, j: 2 }, { i: indices({ k: 3 }, [0, 1, 1]), j: indices({ k: 3 }, [1, 0, 1]) })).toBeLessThan(bar);
  });
});

const linear = monoid({ a: 1, b: 0 }, (x: R, y: R) => ({ a: x.a * y.a, b: x.b * y.a + y.b }));
const lse = monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
  const m = Math.max(x.m, y.m);
  return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m) };
});
const online = monoid({ m: -Infinity, l: 0, o: 0 }, (x: R, y: R) => {
  const m = Math.max(x.m, y.m);
  const p = Math.exp(x.m - m);
  const q = Math.exp(y.m - m);
  return { m, l: x.l * p + y.l * q, o: x.o * p + y.o * q };
});
const matrix = monoid({ a: 1, b: 0, c: 0, d: 1 }, (x: R, y: R) => ({
  a: x.a * y.a + x.b * y.c,
  b: x.a * y.b + x.b * y.d,
  c: x.c * y.a + x.d * y.c,
  d: x.c * y.b + x.d * y.d,
}));

describe("fold", () => {
  const shapes = [
    { i: 3, j: 2 },
    { i: 1, j: 1 },
    { i: 5, j: 3 },
  ];
  for (const s of shapes)
    it(`sum, max, min, prod, softmax on ${JSON.stringify(s)}`, () => {
      for (const f of [sum, max, min, prod, logSumExp, softmax]) {
        expect(check(([x]) => f(x, "i"), [s])).toBeLessThan(bar);
        expect(check(([x]) => f(x, "i", "j"), [s])).toBeLessThan(bar);
      }
      expect(check(([a, b]) => dot(a, b, "i"), [s, { i: s.i, k: 4 }])).toBeLessThan(bar);
    });
  it("shares the cotangent of a tie, with mass 1", () => {
    const x = input({ i: 4 });
    const env: Env = new Map([[x, Float64Array.of(2, 1, 2, 2)]]);
    const loss = max(x, "i");
    expect([...computeGrad(loss, x, env)]).toEqual([1 / 3, 0, 1 / 3, 1 / 3]);
  });
  it("is exact at zeros of a product", () => {
    const x = input({ i: 3 });
    for (const [v, g] of [
      [
        [0, 2, 3],
        [6, 0, 0],
      ],
      [
        [0, 0, 3],
        [0, 0, 0],
      ],
      [
        [2, 3, 4],
        [12, 8, 6],
      ],
    ] as const) {
      const env: Env = new Map([[x, Float64Array.from(v)]]);
      expect([...computeGrad(prod(x, "i"), x, env)]).toEqual([...g]);
    }
  });
  it("user monoids", () => {
    expect(
      check(
        ([a, b]) => fold({ a: a, b: b }, linear, "i").b,
        [
          { i: 4, j: 2 },
          { i: 4, j: 2 },
        ],
      ),
    ).toBeLessThan(bar);
    expect(check(([a, b]) => fold({ a: a, b: b }, linear, "i").b, [{ i: 4 }, { i: 4, j: 2 }])).toBeLessThan(bar);
    expect(
      check(
        ([m, l]) => fold({ m: m, l: l }, lse, "i").l,
        [
          { i: 4, j: 2 },
          { i: 4, j: 2 },
        ],
      ),
    ).toBeLessThan(bar);
    for (const key of [1, 5])
      expect(
        check(
          ([s, v]) => {
            const { l, o } = fold({ m: s, l: map(s, () => 1), o: map({ s: s, v: v }, ({ v }: R) => v) }, online, "k") as { l: Node; o: Node };
            return map({ l, o }, ({ l, o }: R) => (l > 0 ? o / l : 0));
          },
          [
            { q: 3, k: key },
            { k: key, v: 2 },
          ],
        ),
      ).toBeLessThan(bar);
    const m = { i: 3, j: 2 };
    for (const f of ["a", "b", "c", "d"])
      expect(check(([a, b, c, d]) => (fold({ a: a, b: b, c: c, d: d }, matrix, "i") as R)[f], [m, m, m, m])).toBeLessThan(bar);
  });
  it("argMax has no gradient; a stopped value has none", () => {
    expect(check(([x]) => map({ x: x, i: cast(argMax(x, "i"), "f32") }, ({ x, i }: R) => x * i), [{ i: 4 }])).toBeLessThan(bar);
    const x = input({ i: 3 });
    const env: Env = new Map([[x, Float64Array.of(1, 2, 3)]]);
    const y = map({ x: x, s: stopGradient(x) }, ({ x, s }: R) => x * s);
    expect([...computeGrad(sum(y, "i"), x, env)]).toEqual([1, 2, 3]);
  });
});

describe("scan", () => {
  for (const exclusive of [false, true])
    for (const reverse of [false, true]) {
      const o = { exclusive, reverse };
      it(`cumsum, cumprod and user monoids, ${JSON.stringify(o)}`, () => {
        for (const s of [
          { i: 4, j: 2 },
          { i: 1, j: 1 },
        ]) {
          expect(check(([x]) => cumsum(x, "i", o), [s])).toBeLessThan(bar);
          expect(check(([x]) => cumprod(x, "i", o), [s])).toBeLessThan(bar);
          for (const f of ["a", "b"]) expect(check(([a, b]) => (scan({ a: a, b: b }, linear, "i", o) as R)[f], [s, s])).toBeLessThan(bar);
          const m = { i: 3 };
          expect(check(([a, b, c, d]) => (scan({ a: a, b: b, c: c, d: d }, matrix, "i", o) as R).b, [m, m, m, m])).toBeLessThan(bar);
        }
      });
      it(`components with different axes, ${JSON.stringify(o)}`, () => {
        const inclusive = !exclusive;
        const run = (a: R, b: R) => scan({ a, b }, linear, "i", o) as R;
        expect(check(([a, b]) => run(a, b).b, [{ i: 4 }, { i: 4, j: 2 }])).toBeLessThan(bar);
        expect(
          check(
            ([a, b]) => {
              const r = run(a, b);
              return map({ a: r.a!, b: r.b! }, ({ a, b }: R) => a * b);
            },
            [{ i: 4 }, { i: 4, j: 2 }],
          ),
        ).toBeLessThan(bar);
        if (inclusive)
          expect(
            check(
              ([s, v]) => (scan({ m: s, l: map(s, () => 1), o: map({ s: s, v: v }, ({ v }: R) => v) }, online, "k", { reverse }) as R).o,
              [
                { q: 2, k: 4 },
                { k: 4, v: 2 },
              ],
            ),
          ).toBeLessThan(bar);
      });
    }
});

describe("top", () => {
  it("through the values alone", () => {
    expect(check(([x]) => top(x, "i", { slot: 2 }).value, [{ i: 5, j: 2 }])).toBeLessThan(bar);
    expect(check(([x]) => top(x, "i", { i: 2 }).value, [{ i: 5, j: 2 }])).toBeLessThan(bar);
    expect(check(([x]) => map({ x: x, c: top(x, "i", { slot: 2 }).chosen }, ({ x, c }: R) => (c ? x * x : 0)), [{ i: 5, j: 2 }])).toBeLessThan(bar);
  });
});

const computeGrad = (loss: Node, x: Leaf, env: Env): Float64Array => compute([build.grad(loss, x)], env)[0] as Float64Array;
