// The target's polynomials, checked for their formulas: the WGSL text is read as JavaScript and run, in f64 with f32's
// bit casts. What rounding in f32 adds is not seen here; what a wrong coefficient, sign or branch adds is.
import { describe, expect, it } from "vitest";
import { functions, type MathName } from "../../compiler/targets/wgsl/math.js";

const word = new Int32Array(1);
const float = new Float32Array(word.buffer);
const unsigned = new Uint32Array(word.buffer);
const library = {
  fma: (a: number, b: number, c: number) => a * b + c,
  clamp: (x: number, lo: number, hi: number) => Math.min(Math.max(x, lo), hi),
  select: <T>(no: T, yes: T, c: boolean) => (c ? yes : no),
  fract: (x: number) => x - Math.floor(x),
  i32: Math.trunc,
  f32: (x: number) => x,
  bits_i32: (x: number) => {
    float[0] = x;
    return word[0] as number;
  },
  bits_u32: (x: number) => {
    float[0] = x;
    return unsigned[0] as number;
  },
  bits_f32: (b: number) => {
    word[0] = b | 0;
    return float[0] as number;
  },
  min: Math.min,
  max: Math.max,
  abs: Math.abs,
  floor: Math.floor,
  sqrt: Math.sqrt,
};
const script = Object.values(functions)
  .map((f) =>
    f.source
      .replace("i32 = x / y;", "i32 = i32(x / y);") // WGSL's division of i32 truncates
      .replace(/fn (\w+)\(([^)]*)\) -> \w+/g, (_, name, params: string) => `function ${name}(${params.replace(/: \w+/g, "")})`)
      .replace(/\b(let|var) (\w+): \w+/g, "let $2")
      .replace(/bitcast<(\w+)>/g, "bits_$1")
      .replace(/\b(0x[0-9a-f]+|\d+)u\b/g, "$1"),
  )
  .join("\n");
const made = new Function(...Object.keys(library), `${script}\nreturn { ${Object.keys(functions).join(", ")} };`)(
  ...Object.values(library),
) as Record<MathName, (...x: number[]) => number>;

const spread = (lo: number, hi: number) => Array.from({ length: 400 }, (_, i) => Math.fround(lo + ((hi - lo) * (i + 0.5)) / 400));
const tiny = [1e-6, -1e-6, 3e-4, -3e-4];
const cases: readonly (readonly [MathName, (...x: number[]) => number, readonly number[]])[] = [
  ["m_exp", Math.exp, spread(-80, 80)],
  ["m_log", Math.log, [...spread(0.001, 4), ...spread(1, 1e30)]],
  ["m_sin", Math.sin, spread(-300, 300)],
  ["m_cos", Math.cos, spread(-300, 300)],
  ["m_tan", Math.tan, spread(-1.5, 1.5)],
  ["m_tanh", Math.tanh, [...spread(-12, 12), ...tiny]],
  ["m_expm1", Math.expm1, [...spread(-20, 20)]],
  ["m_log1p", Math.log1p, [...spread(-0.9, 10)]],
  ["m_cbrt", Math.cbrt, spread(-1000, 1000)],
  ["m_atan", Math.atan, [...spread(-20, 20), ...tiny]],
  ["m_asin", Math.asin, spread(-1, 1)],
  ["m_acos", Math.acos, spread(-1, 1)],
  ["m_sinh", Math.sinh, spread(-20, 20)],
  ["m_cosh", Math.cosh, spread(-20, 20)],
  ["m_asinh", Math.asinh, spread(-50, 50)],
  ["m_acosh", Math.acosh, spread(1, 50)],
  ["m_atanh", Math.atanh, spread(-0.99, 0.99)],
  ["m_round", Math.round, [...spread(-3, 3), 0.5, -0.5, 1.5, 2.5, -2.5]],
];

describe("polynomials", () => {
  for (const [name, want, points] of cases)
    it(name, () => {
      for (const x of points) {
        const w = want(x);
        expect(Math.abs(made[name](x) - w), `${name}(${x}) = ${made[name](x)}, expected ${w}`).toBeLessThanOrEqual(1e-6 * Math.abs(w) + 2e-7);
      }
    });
  it("m_atan2 and m_hypot in all quadrants", () => {
    for (const y of [-3, -0.5, 0, 0.25, 7])
      for (const x of [-2, -0.1, 0, 0.5, 9]) {
        if (x === 0 && y === 0) continue;
        expect(made.m_atan2(y, x)).toBeCloseTo(Math.atan2(y, x), 6);
        expect(made.m_hypot(y, x)).toBeCloseTo(Math.hypot(y, x), 6);
      }
  });
  it("m_pow with negative bases, zero, and zero powers", () => {
    for (const [x, y] of [
      [2, 10],
      [-2, 3],
      [-2, 2],
      [0.5, -1.5],
      [0, 2],
      [5, 0],
      [-1.5, -3],
    ] as const)
      expect(made.m_pow(x, y) / (x ** y || 1)).toBeCloseTo(x ** y === 0 ? 0 : 1, 5);
  });
  it("m_bf16 rounds to nearest, ties to even; m_idiv rounds down", () => {
    expect([1.00390625, 1.01171875, -1.00390625, Math.PI].map((x) => made.m_bf16(x))).toEqual([1, 1.015625, -1, 3.140625]);
    expect([6, 7, -6, -7, 0].map((x) => made.m_idiv(x, 3))).toEqual([2, 2, -2, -3, 0]);
  });
});
