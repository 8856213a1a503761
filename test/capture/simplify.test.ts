// Simplification keeps every bit, does nothing the second time, and finds the forms it is meant to find; printing.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Primitive } from "../../dsl/primitives.js";
import { arg, call, constant, index, type Scalar, size, terms } from "../../dsl/scalar.js";
import { compileScalars, evalScalar } from "../../dsl/scalar-eval.js";
import { show } from "../../dsl/scalar-show.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { corners } from "./generate.js";
import { boolean, number, point } from "./scalars.js";

const x = arg("x");
const y = arg("y");
const p = arg("p");
const [i, j, n] = [index("i"), index("j"), size("n")];
const num = constant;
const neg = (a: Scalar) => call("neg", a);
const not = (a: Scalar) => call("not", a);
const select = (c: Scalar, a: Scalar, b: Scalar) => call("select", c, a, b);
const lt = call("lt", x, y);

describe("simplify", () => {
  test("keeps the bits", () => {
    fc.assert(
      fc.property(fc.oneof(number, boolean), fc.array(point, { minLength: 12, maxLength: 12 }), (s, points) => {
        const simpler = simplify(s);
        expect(simplify(simpler)).toBe(simpler);
        expect(terms([simpler]).length).toBeLessThanOrEqual(terms([s]).length + 1);
        for (const at of points) {
          const [a, b] = [evalScalar(s, at), evalScalar(simpler, at)];
          if (!Object.is(a, b)) throw new Error(`${show(s)} is ${a}; ${show(simpler)} is ${b}`);
        }
      }),
      { numRuns: 2000 },
    );
  });
  test("keeps the bits of every small term, at every end of arithmetic", () => {
    const layout = { args: ["x", "y"], indices: ["i", "j"], sizes: ["n"] };
    const leaves = [x, y, num(0), num(-0), num(1), num(-1), num(2), num(Infinity), num(Number.NaN), i, j, n];
    const parts = [
      ...leaves,
      ...["neg", "abs", "floor", "trunc", "sqrt", "exp", "sign"].map((f) => call(f as Primitive, x)),
      call("sub", i, j),
      neg(i),
      neg(y),
      call("add", x, i),
    ];
    const numeric = parts.flatMap((a) => [
      ...(["neg", "abs", "floor", "ceil", "round", "trunc", "sign", "toF32", "toF16", "toI32", "toBool", "toReal"] as const).map((f) => call(f, a)),
      ...parts.flatMap((b) => (["add", "sub", "mul", "div", "pow", "min", "max", "mod", "lt", "ge", "eq", "ne"] as const).map((f) => call(f, a, b))),
    ]);
    const negated = numeric.filter((s) => s.kind === "call" && ["lt", "ge", "eq", "ne"].includes(s.prim)).map(not);
    const all = [...numeric, ...negated, ...numeric.map((s) => call("add", s, num(0)))];
    const [before, after] = [compileScalars(all, layout), compileScalars(all.map(simplify), layout)];
    for (const a of corners) {
      for (const b of [0, -0, 1, -1, 2.5, Infinity, -Infinity, Number.NaN]) {
        for (const at of [0, 1, 2]) {
          const [p, q] = [before([a, b], [at, 1], [3]), after([a, b], [at, 1], [3])];
          const wrong = p.findIndex((v, k) => !Object.is(v, q[k]));
          if (wrong >= 0) throw new Error(`${show(all[wrong] as Scalar)} is ${p[wrong]}; simplified ${q[wrong]}, at x = ${a}, y = ${b}, i = ${at}`);
        }
      }
    }
  });
  const rules: readonly (readonly [Scalar, Scalar])[] = [
    [call("add", num(1), num(2)), num(3)],
    [call("add", x, num(-0)), x],
    [call("sub", x, num(0)), x],
    [call("add", num(0), call("exp", x)), call("exp", x)],
    [call("add", i, num(0)), i],
    [call("mul", num(1), x), x],
    [call("mul", x, num(-1)), neg(x)],
    [call("div", x, num(1)), x],
    [call("pow", x, num(1)), x],
    [neg(neg(x)), x],
    [call("sub", x, neg(y)), call("add", x, y)],
    [call("add", neg(x), y), call("sub", y, x)],
    [call("mul", neg(x), neg(y)), call("mul", x, y)],
    [not(not(p)), p],
    [not(call("eq", x, y)), call("ne", x, y)],
    [not(call("lt", i, j)), call("ge", i, j)],
    [call("lt", num(3), x), call("gt", x, num(3))],
    [call("sub", i, i), num(0)],
    [call("floor", call("sub", i, j)), call("sub", i, j)],
    [call("eq", lt, num(true)), lt],
    [call("and", p, num(true)), p],
    [call("or", num(true), p), num(true)],
    [select(num(true), x, y), x],
    [select(lt, x, x), x],
    [select(not(p), x, y), select(p, y, x)],
    [select(lt, num(true), num(false)), lt],
    [select(p, select(p, x, y), num(2)), select(p, x, num(2))],
    [select(p, select(lt, x, num(0)), num(0)), select(call("and", p, lt), x, num(0))],
    [call("toF32", call("toF16", x)), call("toF16", x)],
    [call("toBool", lt), lt],
  ];
  for (const [before, after] of rules) test(`${show(before)}  →  ${show(after)}`, () => expect(simplify(before)).toBe(after));
  const kept = [
    call("add", x, num(0)),
    call("sub", x, x),
    call("mul", x, num(0)),
    not(lt),
    call("eq", x, x),
    call("trunc", x),
    neg(call("sub", x, y)),
  ];
  for (const s of kept) test(`${show(s)} stays`, () => expect(simplify(s)).toBe(s));
  test("a term deeper than any stack", () => {
    let deep: Scalar = x;
    for (let k = 0; k < 30_000; k++) deep = call("add", deep, num(k % 2 === 0 ? 1 : -0));
    expect(evalScalar(simplify(deep), { args: { x: 0.5 } })).toBe(15_000.5);
  });
});

test("compiled evaluation is evaluation", () => {
  const layout = { args: ["x", "y", "z", "p", "q"], indices: ["i", "j"], sizes: ["n"] };
  fc.assert(
    fc.property(number, boolean, fc.array(point, { minLength: 5, maxLength: 5 }), (a, b, points) => {
      const both = compileScalars([a, b], layout);
      for (const at of points) {
        const { x, y, z, p, q } = at.args;
        expect(both([x, y, z, p, q], [at.indices.i, at.indices.j], [at.sizes.n])).toEqual([evalScalar(a, at), evalScalar(b, at)]);
      }
    }),
    { numRuns: 200 },
  );
});

describe("show", () => {
  const cases: readonly (readonly [Scalar, string])[] = [
    [select(call("le", j, i), call("mul", x, num(0.125)), num(-Infinity)), "[j] <= [i] ? x * 0.125 : -Infinity"],
    [call("sub", x, call("sub", y, num(1))), "x - (y - 1)"],
    [call("sub", call("sub", x, y), num(1)), "x - y - 1"],
    [call("mul", call("add", x, y), neg(x)), "(x + y) * -x"],
    [call("pow", neg(x), call("pow", y, num(2))), "(-x) ** y ** 2"],
    [call("pow", call("pow", x, y), num(-2)), "(x ** y) ** -2"],
    [neg(num(-1)), "-(-1)"],
    [call("and", call("or", p, lt), not(p)), "(p || x < y) && !p"],
    [select(select(p, lt, p), x, select(p, x, y)), "(p ? x < y : p) ? x : p ? x : y"],
    [call("max", x, call("mod", i, n)), "max(x, [i] % |n|)"],
    [call("mul", call("exp", x), call("exp", x)), "t0 = exp(x); t0 * t0"],
    [arg(""), "x"],
  ];
  for (const [s, text] of cases) test(text, () => expect(show(s)).toBe(text));
  test("what it prints, executed, is the same", () => {
    const names = ["x", "y", "z", "p", "q"];
    const calls =
      "const {abs,sign,floor,ceil,round,trunc,sqrt,cbrt,exp,expm1,log,log1p,log2,log10,sin,cos,tan,asin,acos,atan,atan2,sinh,cosh,tanh,asinh,acosh,atanh,hypot,min,max}=Math;";
    const own = ["recip0", "fma", "toF32", "toBf16", "toF16", "toI32", "toBool", "toReal"];
    fc.assert(
      fc.property(number, fc.array(point, { minLength: 4, maxLength: 4 }), (s, points) => {
        if (terms([s]).some((t) => t.kind === "call" && own.includes(t.prim))) return;
        const parts = show(s).replaceAll("[i]", "i").replaceAll("[j]", "j").replaceAll("|n|", "n").split("; ");
        const text = `${calls} ${parts.map((t, k) => (k === parts.length - 1 ? `return ${t}` : `const ${t}`)).join("; ")}`;
        const run = new Function(...names, "i", "j", "n", text);
        for (const { args, indices, sizes } of points) {
          expect(run(args.x, args.y, args.z, args.p, args.q, indices.i, indices.j, sizes.n)).toBe(
            evalScalar(s, { args: { ...args }, indices: { ...indices }, sizes: { ...sizes } }),
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});
