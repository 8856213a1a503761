// The C target's mathematical functions over random bit patterns (all exponents alike), special values and arguments near
// their hard places: error in units in the last place against f64, and the same bits one, eight and W at a time.
import { describe, expect, it } from "vitest";
import { ulpBounds } from "../../compiler/targets/c/math.js";
import { prelude } from "../../compiler/targets/c/prelude.js";
import { cFlags } from "../../compiler/targets/c/program.js";
import { evaluate } from "../../dsl/primitives.js";
import { keyWords, normalAt, uniformAt } from "../../dsl/random.js";
import { source } from "./generate.js";
import { compileC } from "./native.js";

type Name = keyof typeof ulpBounds;
const names = Object.keys(ulpBounds) as Name[];
const binary = new Set<Name>(["pow", "atan2", "hypot"]);
const inC = (n: Name) => (n === "sqrt" ? "sqrt" : `m_${n}`);
const storage = ["bf16", "f16"] as const;

const unit = [
  prelude,
  ...names.map(
    (n) => `
void one_${n}(const float *x, const float *y, float *z, int n) { for (int i = 0; i < n; i++) z[i] = ${inC(n)}1(x[i]${binary.has(n) ? ", y[i]" : ""}); }
void eight_${n}(const float *x, const float *y, float *z, int n) {
  for (int i = 0; i < n; i += 8) *(f32x8 *)(z + i) = ${inC(n)}8(*(const f32x8 *)(x + i)${binary.has(n) ? ", *(const f32x8 *)(y + i)" : ""});
}
void wide_${n}(const float *x, const float *y, float *z, int n) {
  for (int i = 0; i < n; i += WIDTH) st_f32_W(z + i, ${inC(n)}W(ld_f32_W(x + i)${binary.has(n) ? ", ld_f32_W(y + i)" : ""}));
}`,
  ),
  ...storage.map(
    (s) => `
void one_${s}(const float *x, const float *y, float *z, int n) { for (int i = 0; i < n; i++) { uint16_t t; st_${s}_1(&t, x[i]); z[i] = ld_${s}_1(&t); } }
void eight_${s}(const float *x, const float *y, float *z, int n) {
  for (int i = 0; i < n; i += 8) { uint16_t t[8]; st_${s}_8(t, *(const f32x8 *)(x + i)); *(f32x8 *)(z + i) = ld_${s}_8(t); }
}
void wide_${s}(const float *x, const float *y, float *z, int n) {
  for (int i = 0; i < n; i += WIDTH) { uint16_t t[16]; st_${s}_W(t, ld_f32_W(x + i)); st_f32_W(z + i, ld_${s}_W(t)); }
}`,
  ),
  `
void uniform(uint32_t k0, uint32_t k1, int32_t extend, float *one, float *eight, float *wide, int n) {
  uint64_t key = rand_extend((uint64_t)k1 << 32 | k0, extend, 0);
  for (int i = 0; i < n; i++) one[i] = rand_uniform1(key, i);
  for (int i = 0; i < n; i += 8) *(f32x8 *)(eight + i) = rand_uniform8(key, KI8(i) + lane_numbers);
  for (int i = 0; i < n; i += WIDTH) st_f32_W(wide + i, rand_uniformW(key, KIW(i) + lane_numbersW));
}
void normal(uint32_t k0, uint32_t k1, int32_t extend, float *one, float *eight, float *wide, int n) {
  uint64_t key = rand_extend((uint64_t)k1 << 32 | k0, extend, 0);
  for (int i = 0; i < n; i++) one[i] = rand_normal1(key, i);
  for (int i = 0; i < n; i += 8) *(f32x8 *)(eight + i) = rand_normal8(key, KI8(i) + lane_numbers);
  for (int i = 0; i < n; i += WIDTH) st_f32_W(wide + i, rand_normalW(key, KIW(i) + lane_numbersW));
}`,
].join("\n");
const library = compileC([{ name: "math", source: unit }], cFlags);

const special = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  2,
  -2,
  Infinity,
  -Infinity,
  NaN,
  1e-45,
  -1e-45,
  1.17549435e-38,
  3.4028235e38,
  -3.4028235e38,
  88.72,
  -87.3,
  -103.9,
  0.625,
  1e-4,
];
/** A third bit patterns, a third of moderate size, a third close to 1. */
function inputs(n: number, seed: number, first: readonly number[]): Float32Array {
  const rng = source(seed);
  const bits = new Int32Array(n).map(() => Math.floor(rng.next() * 2 ** 32) | 0);
  const x = new Float32Array(bits.buffer);
  for (let i = 0; i < n; i++) {
    if (i % 3 === 1) x[i] = (rng.next() - 0.5) * 200;
    if (i % 3 === 2) x[i] = (rng.chance(0.5) ? 1 : -1) * (1 + (rng.next() - 0.5) * 2 ** -rng.below(20));
  }
  x.set(first);
  return x;
}
function ulps(got: number, want: number): number {
  const w = Math.fround(want);
  if (Number.isNaN(want) || Number.isNaN(got)) return Number.isNaN(want) === Number.isNaN(got) ? 0 : Infinity;
  if (got === w) return 0;
  if (!Number.isFinite(w) || !Number.isFinite(got)) {
    // One may round to infinity where the other does not.
    const big = Math.min(Math.abs(w), Math.abs(got));
    return Math.sign(w) === Math.sign(got) && big >= 3.4028e38 ? 1 : Infinity;
  }
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(want))));
  return Math.abs(got - want) / 2 ** (exponent - 23);
}

describe("mathematical functions", () => {
  const n = 1 << 16;
  const pairs = special.flatMap((a) => special.map((b) => [a, b] as const));
  it.each(names)("%s", async (name) => {
    const lib = await library;
    const x = inputs(n, 1, binary.has(name) ? pairs.map(([a]) => a) : special);
    const y = inputs(n, 2, binary.has(name) ? pairs.map(([, b]) => b) : special);
    const [one, eight, wide] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    const signature = "(const void *x, const void *y, void *z, int n)";
    lib.func(`void one_${name}${signature}`)(x, y, one, n);
    lib.func(`void eight_${name}${signature}`)(x, y, eight, n);
    lib.func(`void wide_${name}${signature}`)(x, y, wide, n);
    let worst = { ulp: 0, x: 0, y: 0, got: 0, want: 0 };
    for (let i = 0; i < n; i++) {
      const [a, b, got] = [x[i], y[i], one[i]] as [number, number, number];
      if (!Object.is(got, eight[i])) throw new Error(`${name}(${a}, ${b}): ${got} alone, ${eight[i]} of eight`);
      if (!Object.is(got, wide[i])) throw new Error(`${name}(${a}, ${b}): ${got} alone, ${wide[i]} of W`);
      const want = evaluate(name, binary.has(name) ? [a, b] : [a]) as number;
      const ulp = ulps(got, want);
      if (!(ulp <= worst.ulp)) worst = { ulp, x: a, y: b, got, want };
    }
    if (process.env.MALLARD_REPORT) console.log(name, worst);
    expect(worst.ulp, JSON.stringify(worst)).toBeLessThanOrEqual(ulpBounds[name]);
  });
  it.each(storage)("%s storage rounds to nearest even", async (name) => {
    const lib = await library;
    const x = inputs(n, 3, special);
    const [one, eight, wide] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    const signature = "(const void *x, const void *y, void *z, int n)";
    lib.func(`void one_${name}${signature}`)(x, x, one, n);
    lib.func(`void eight_${name}${signature}`)(x, x, eight, n);
    lib.func(`void wide_${name}${signature}`)(x, x, wide, n);
    const want = x.map((v) => evaluate(name === "bf16" ? "toBf16" : "toF16", [v]) as number);
    expect(one).toEqual(want);
    expect(eight).toEqual(want);
    expect(wide).toEqual(want);
  });
});

describe("random numbers", () => {
  it("are those of dsl/random.ts", async () => {
    const lib = await library;
    const n = 4096;
    const [k0, k1] = keyWords("dropout/α", []);
    const key = keyWords("dropout/α", [-7]);
    for (const [name, at] of [
      ["uniform", uniformAt],
      ["normal", normalAt],
    ] as const) {
      const [one, eight, wide] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
      lib.func(`void ${name}(uint32_t a, uint32_t b, int32_t e, void *x, void *y, void *z, int n)`)(k0, k1, -7, one, eight, wide, n);
      expect(one).toEqual(eight);
      expect(one).toEqual(wide);
      for (let i = 0; i < n; i++) expect(Math.abs((one[i] as number) - at(key, i))).toBeLessThanOrEqual(name === "uniform" ? 0 : 3e-6);
    }
  });
  it("are uniform and normal", () => {
    const key = keyWords("moments", []);
    const draws = (f: typeof uniformAt) => Array.from({ length: 20_000 }, (_, i) => f(key, i));
    const moment = (xs: number[], p: number) => xs.reduce((s, x) => s + x ** p, 0) / xs.length;
    const [u, z] = [draws(uniformAt), draws(normalAt)];
    expect(Math.abs(moment(u, 1) - 0.5)).toBeLessThan(0.01);
    expect(Math.abs(moment(u, 2) - 1 / 3)).toBeLessThan(0.01);
    expect(Math.abs(moment(z, 1))).toBeLessThan(0.03);
    expect(Math.abs(moment(z, 2) - 1)).toBeLessThan(0.04);
    expect(Math.abs(moment(z, 4) - 3)).toBeLessThan(0.3);
    expect(new Set(u).size).toBeGreaterThan(19_900);
  });
});
