// The table of primitives: values and roundings, derivatives against central differences, ranges that contain.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluate, type Primitive, primitiveNames, primitives, type Value } from "../../dsl/primitives.js";
import { arg, call } from "../../dsl/scalar.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import { everything, type Interval, intervalOf, intervalOfCall } from "../../dsl/scalar-interval.js";
import { partials } from "../../dsl/scalar-partials.js";
import { typeOf } from "../../dsl/scalar-type.js";
import { anyNumber } from "./generate.js";
import { boolean, number, parametersOf, point } from "./scalars.js";

describe("values", () => {
  test("are those of Math", () => {
    const same = primitiveNames.filter((p): p is Primitive & keyof Math => p in Math);
    expect(same.length).toBeGreaterThan(28);
    fc.assert(
      fc.property(fc.constantFrom(...same), anyNumber, anyNumber, (p, x, y) => {
        const args = primitives[p].arity === 1 ? [x] : [x, y];
        expect(evaluate(p, args)).toBe((Math[p] as (...x: number[]) => number)(...args));
      }),
      { numRuns: 500 },
    );
  });
  test("arity is the number of parameters, and commuting means so", () => {
    for (const p of primitiveNames) {
      expect(primitives[p].value.length).toBe(primitives[p].arity);
      if (!primitives[p].commutative) continue;
      const values: readonly Value[] = p === "and" || p === "or" ? [true, false] : [0, -0, 1.5, -3, Infinity, Number.NaN];
      for (const a of values) for (const b of values) expect(evaluate(p, [a, b])).toBe(evaluate(p, [b, a]));
    }
  });

  const word = new DataView(new ArrayBuffer(4));
  /** The bfloat16 neighbours of x by bits of f32, nearest with ties to even: written another way than the table's. */
  function bf16(x: number): number {
    word.setFloat32(0, x);
    const low = word.getUint32(0) & 0xffff0000;
    word.setUint32(0, low >>> 0);
    const a = word.getFloat32(0);
    word.setUint32(0, (low + 0x10000) >>> 0);
    const b = word.getFloat32(0);
    const [da, db] = [Math.abs(x - a), Math.abs(b - x)];
    return da < db || (da === db && (low & 0x10000) === 0) ? a : b;
  }
  test("toBf16 rounds to nearest even", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true, max: Math.fround(3e38), min: Math.fround(-3e38) }), (x) => {
        expect(evaluate("toBf16", [x])).toBe(bf16(x));
      }),
      { numRuns: 500 },
    );
    expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, 3.3953e38, -0, 2 ** -133, 2 ** -134, -(2 ** -135)].map((x) => evaluate("toBf16", [x]))).toEqual([
      1,
      1 + 2 ** -6,
      Infinity,
      3.3895313892515355e38,
      -0,
      2 ** -133,
      0,
      -0,
    ]);
  });
  test("toF16 rounds to nearest even, with subnormals and overflow", () => {
    const cases: readonly (readonly [number, number])[] = [
      [1 + 2 ** -11, 1],
      [1 + 3 * 2 ** -11, 1 + 2 ** -9],
      [65504, 65504],
      [65519.99, 65504],
      [65520, Infinity],
      [-70000, -Infinity],
      [2 ** -24, 2 ** -24],
      [2 ** -25, 0],
      [1.5 * 2 ** -25, 2 ** -24],
      [-(2 ** -26), -0],
      [0.1, 0.0999755859375],
      [1e-310, 0],
      [1e300, Infinity],
      [Number.NaN, Number.NaN],
    ];
    for (const [x, y] of cases) expect(evaluate("toF16", [x])).toBe(y);
  });
  test("toI32 truncates and saturates", () => {
    expect([2.9, -2.9, -0.5, Number.NaN, 1e300, -Infinity].map((x) => evaluate("toI32", [x]))).toEqual([2, -2, 0, 0, 2147483647, -2147483648]);
  });
  test("fma rounds once", () => {
    const e = 2 ** -52;
    expect(evaluate("fma", [1 + e, 1 + e, -(1 + 2 * e)])).toBe(e * e);
    expect(evaluate("fma", [1e308, 10, -Infinity])).toBe(-Infinity);
    expect(evaluate("fma", [2 ** 1000, 2 ** 100, -(2 ** 1023)])).toBe(Infinity);
    expect(evaluate("fma", [2 ** 600, 2 ** 424, -(2 ** 1023)])).toBe(2 ** 1023);
    expect(evaluate("fma", [2 ** -600, 2 ** -474, 0])).toBe(5e-324);
    expect(evaluate("fma", [2 ** -600, -(2 ** -476), 0])).toBe(-0);
    expect(evaluate("fma", [-0, 5, 0])).toBe(0);
    expect(evaluate("fma", [-0, 5, -0])).toBe(-0);
    expect(evaluate("fma", [3, 5, -15])).toBe(0);
    const whole = fc.integer({ min: -(2 ** 26), max: 2 ** 26 }); // where a product and a sum are exact, it is plain arithmetic
    fc.assert(fc.property(whole, whole, whole, (a, b, c) => evaluate("fma", [a, b, c]) === a * b + c));
  });
});

describe("derivatives", () => {
  // A point inside each primitive's domain, away from its jumps and kinks.
  const at: { readonly [p in Primitive]?: readonly number[] } = {
    asin: [0.3],
    acos: [-0.4],
    atanh: [0.6],
    acosh: [1.7],
    mod: [7.3, 2.2],
    fma: [1.3, -0.7, 0.4],
    pow: [1.9, 2.3],
  };
  const names = ["a", "b", "c"] as const;
  const h = 1e-6;
  for (const p of primitiveNames) {
    test(p, () => {
      const parameters = parametersOf(p);
      const arity = primitives[p].arity;
      const value = (xs: readonly Value[]) => Number(evaluate(p, xs));
      for (const condition of p === "select" ? [true, false] : [true]) {
        for (const scale of [1, -1]) {
          if (scale === -1 && ["sqrt", "log", "log1p", "log2", "log10", "acosh", "pow"].includes(p)) continue;
          const point: Value[] = parameters.map((t, i) => (t === "boolean" ? condition : scale * (at[p]?.[i] ?? [0.83, 1.37, 0.61][i] ?? 0)));
          const args = names.slice(0, arity).map(arg);
          const env = { args: Object.fromEntries(point.map((v, i) => [names[i] as string, v])) };
          const rows = partials[p](args, call(p, ...args));
          expect(rows.length).toBe(arity);
          rows.forEach((row, i) => {
            const x = point[i];
            if (typeof x === "boolean") {
              expect(row).toBeNull();
              return;
            }
            const moved = (d: number) => value(point.map((v, k) => (k === i ? (x as number) + d : v)));
            // Roundings to storage formats count as the identity: their differences are 0 or jumps.
            const expected = p === "toF32" || p === "toBf16" || p === "toF16" ? 1 : (moved(h) - moved(-h)) / (2 * h);
            const got = row === null ? 0 : Number(evalScalar(row, env));
            expect(Math.abs(got - expected)).toBeLessThan(1e-7 * Math.max(1, Math.abs(expected)));
          });
        }
      }
    });
  }
  const partial = (p: Primitive, ...xs: number[]) => {
    const args = names.slice(0, xs.length).map(arg);
    const env = { args: Object.fromEntries(xs.map((v, i) => [names[i] as string, v])) };
    return partials[p](args, call(p, ...args)).map((r) => (r === null ? 0 : evalScalar(r, env)));
  };
  test("stated conventions", () => {
    expect(partial("abs", 0)).toEqual([0]);
    expect(partial("max", 2, 2)).toEqual([0.5, 0.5]);
    expect(partial("min", 2, 2)).toEqual([0.5, 0.5]);
    expect(partial("max", -Infinity, -Infinity)).toEqual([0.5, 0.5]);
    expect(partial("recip0", 0)).toEqual([-0]);
    expect(partial("hypot", 0, 0)).toEqual([0, 0]);
    expect(partial("pow", 0, 0)).toEqual([0, 0]);
    expect(partial("pow", 0, 2)).toEqual([0, 0]);
    expect(partial("pow", -3, 2)[0]).toBe(-6);
  });
});

describe("ranges", () => {
  const inside = (r: Interval, v: Value) => (Number.isNaN(v) ? r[2] === true : r[0] <= Number(v) && Number(v) <= r[1]);
  const anyRange: fc.Arbitrary<Interval> = fc
    .tuple(fc.oneof(anyNumber, fc.integer({ min: -4, max: 4 })), fc.oneof(anyNumber, fc.integer({ min: -4, max: 4 })), fc.boolean())
    .filter(([a, b]) => !Number.isNaN(a) && !Number.isNaN(b))
    .map(([a, b, nan]): Interval => (nan ? [Math.min(a, b), Math.max(a, b), true] : [Math.min(a, b), Math.max(a, b)]));
  /** A value in the range: an end, or somewhere between. */
  const within = ([lo, hi, nan]: Interval, t: number): number => {
    if (nan && t < 0.1) return Number.NaN;
    if (t < 0.3) return lo;
    if (t < 0.5) return hi;
    const [a, b] = [Math.max(lo, -Number.MAX_VALUE), Math.min(hi, Number.MAX_VALUE)];
    const v = a * (1 - t) + b * t;
    return Math.min(Math.max(v, lo), hi);
  };
  const unit = fc.double({ min: 0, max: 1, noNaN: true });
  for (const p of primitiveNames) {
    test(p, () => {
      fc.assert(
        fc.property(
          fc.array(anyRange, { minLength: 3, maxLength: 3 }),
          fc.array(fc.tuple(unit, unit, unit), { minLength: 5, maxLength: 5 }),
          (ranges, picks) => {
            const types = parametersOf(p);
            const given = types.map(
              (t, i): Interval =>
                t === "boolean"
                  ? (
                      [
                        [0, 0],
                        [0, 1],
                        [1, 1],
                      ] as const
                    )[Math.abs(Math.trunc(within(ranges[i]!, 0.7)) % 3) || 0]!
                  : ranges[i]!,
            );
            const range = intervalOfCall(p, given);
            expect(range[0]).toBeLessThanOrEqual(range[1]);
            for (const pick of picks) {
              const args = given.map((r, i): Value => (types[i] === "boolean" ? (r[0] === r[1] ? r[0] === 1 : pick[i]! < 0.5) : within(r, pick[i]!)));
              const v = evaluate(p, args);
              if (!inside(range, v)) throw new Error(`${p}(${args}) = ${v} is not in [${range}] for ${JSON.stringify(given)}`);
            }
          },
        ),
        { numRuns: 400 },
      );
    });
  }
  test("of whole expressions", () => {
    fc.assert(
      fc.property(fc.oneof(number, boolean), point, (s, at) => {
        const range = intervalOf(s, (t) =>
          t.kind === "arg" ? (t.name === "p" || t.name === "q" ? [0, 1] : everything) : t.kind === "index" ? [0, 5] : [1, 9],
        );
        expect(inside(range, evalScalar(s, { args: { ...at.args }, indices: { ...at.indices }, sizes: { ...at.sizes } }))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
  test("are of use: a causal window over a tile", () => {
    const d = call("sub", arg("i"), arg("j"));
    const mask = call("and", call("ge", d, arg("zero")), call("lt", d, arg("W")));
    const over = (i: Interval, j: Interval) =>
      intervalOf(mask, (t) => (t.kind === "arg" ? { i, j, zero: [0, 0] as const, W: [64, 64] as const }[t.name]! : everything));
    expect(over([0, 31], [32, 63])).toEqual([0, 0]);
    expect(over([32, 63], [0, 31])).toEqual([1, 1]);
    expect(over([96, 127], [0, 31])).toEqual([0, 0]);
    expect(over([64, 95], [0, 31])).toEqual([0, 1]);
  });
});

test("types", () => {
  const t = (n: string) => (n === "k" ? "int" : n === "p" ? "bool" : "real");
  const [k, x, p] = [arg("k"), arg("x"), arg("p")];
  expect(typeOf(call("mod", call("sub", k, k), call("mul", k, k)), t)).toBe("int");
  expect(typeOf(call("add", k, x), t)).toBe("real");
  expect(typeOf(call("div", k, k), t)).toBe("real");
  expect(typeOf(call("floor", k), t)).toBe("int");
  expect(typeOf(call("floor", x), t)).toBe("real");
  expect(typeOf(call("lt", x, k), t)).toBe("bool");
  expect(typeOf(call("select", p, k, k), t)).toBe("int");
  expect(typeOf(call("select", p, k, x), t)).toBe("real");
  expect(typeOf(call("select", p, p, call("not", p)), t)).toBe("bool");
  expect(typeOf(call("toI32", x), t)).toBe("int");
});
