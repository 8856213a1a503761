// Reverse mode on scalar bodies: against central differences on random smooth bodies, and the masks that must give an
// exact 0 where forward values are infinite.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arg, call, constant, type Scalar } from "../../dsl/scalar.js";
import { cotangents } from "../../dsl/scalar-derivative.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import { show } from "../../dsl/scalar-show.js";

const [x, y, g, p] = [arg("x"), arg("y"), arg("g"), arg("p")];
const select = (c: Scalar, a: Scalar, b: Scalar) => call("select", c, a, b);
const num = constant;

const { smooth } = fc.letrec<{ smooth: Scalar }>((tie) => ({
  smooth: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 3, arbitrary: fc.constantFrom(x, y) },
    { weight: 1, arbitrary: fc.double({ min: -2, max: 2, noNaN: true }).map(constant) },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom("add", "sub", "mul"), tie("smooth"), tie("smooth")).map(([f, a, b]) => call(f, a, b)) },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom("sin", "cos", "tanh", "atan", "asinh", "neg"), tie("smooth")).map(([f, a]) => call(f, a)) },
    { weight: 2, arbitrary: fc.tuple(tie("smooth"), tie("smooth")).map(([a, b]) => call("div", a, call("add", num(2), call("mul", b, b)))) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom("gt", "le"), fc.constantFrom(x, y), tie("smooth"), tie("smooth"))
        .map(([f, c, a, b]) => select(call(f, c, num(0.123)), a, b)),
    },
  ),
}));

describe("cotangents", () => {
  test("of random bodies are their central differences", () => {
    const coordinate = fc.double({ min: -2, max: 2, noNaN: true }).filter((v) => Math.abs(v - 0.123) > 1e-3);
    fc.assert(
      fc.property(smooth, coordinate, coordinate, (body, xv, yv) => {
        const bars = cotangents(body, g, ["x", "y"]);
        const at = (dx: number, dy: number) => Number(evalScalar(body, { args: { x: xv + dx, y: yv + dy } }));
        const h = 1e-5;
        for (const [name, difference] of [
          ["x", (at(h, 0) - at(-h, 0)) / (2 * h)],
          ["y", (at(0, h) - at(0, -h)) / (2 * h)],
        ] as const) {
          const bar = bars[name];
          const got = bar ? Number(evalScalar(bar, { args: { x: xv, y: yv, g: 1.5 } })) : 0;
          if (!(Math.abs(got - 1.5 * difference) < 1e-5 * Math.max(1, Math.abs(difference)) ** 2))
            throw new Error(`d ${show(body)} / d${name} is ${difference}, not ${got / 1.5}`);
        }
      }),
      { numRuns: 500 },
    );
  });
  const text = (body: Scalar, ...wrt: string[]) => Object.fromEntries(Object.entries(cotangents(body, g, wrt)).map(([n, s]) => [n, show(s)]));
  test("of a mask: the seed goes inside", () => {
    expect(text(select(p, x, num(-Infinity)), "x")).toEqual({ x: "p ? g : 0" });
    expect(text(select(p, call("exp", x), num(0)), "x")).toEqual({ x: "p ? g * exp(x) : 0" });
    expect(text(call("exp", select(p, x, num(-Infinity))), "x")).toMatchObject({ x: expect.stringMatching(/^p \? |; p \? /) });
    expect(text(select(p, x, call("neg", x)), "x")).toEqual({ x: "p ? g : -g" });
    expect(text(select(p, x, y), "x", "y")).toEqual({ x: "p ? g : 0", y: "p ? 0 : g" });
  });
  test("an untaken branch gives 0, whatever its derivative", () => {
    const bodies = [
      select(p, call("exp", x), num(0)),
      select(p, call("sqrt", x), num(1)),
      call("mul", select(p, call("log", x), num(0)), y),
      select(p, call("div", y, x), y),
    ];
    for (const body of bodies) {
      for (const v of [0, 1e9, -1, Infinity, Number.NaN]) {
        const bar = cotangents(body, g, ["x"]).x as Scalar;
        expect(Number(evalScalar(bar, { args: { x: v, y: 3, g: Infinity, p: false } }))).toBe(0);
      }
    }
  });
  test("what does not depend, or only through a condition or a step, has none", () => {
    expect(text(call("floor", x), "x")).toEqual({});
    expect(text(select(call("gt", x, num(0)), y, num(1)), "x")).toEqual({});
    expect(text(y, "x")).toEqual({});
    expect(text(num(3), "x")).toEqual({});
  });
  test("is written plainly", () => {
    expect(text(call("div", x, y), "x")).toEqual({ x: "g / y" });
    expect(text(call("pow", x, num(2)), "x")).toEqual({ x: "g * (x * 2)" });
    expect(text(call("mul", x, x), "x")).toEqual({ x: "t0 = g * x; t0 + t0" });
    expect(text(call("max", x, num(0)), "x")).toEqual({ x: "x > 0 ? g : x === 0 ? g * 0.5 : 0" });
    expect(text(call("sub", x, y), "x", "y")).toEqual({ x: "g", y: "-g" });
  });
});
