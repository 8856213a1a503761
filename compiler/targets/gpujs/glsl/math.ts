// The functions of GLSL kernels. GLSL promises nothing of exp, log, sin, … worth training with, so they are polynomials here:
// argument reduction by Cody and Waite, then Cephes' minimax polynomials (Moshier, "Methods and Programs for Mathematical
// Functions", 1989); expm1 by Kahan's quotient. GLSL ES 3.00 has no fma. ±∞ and NaN go where JavaScript's functions
// take them. Only what a kernel calls is printed with it, callees first.
import { PARITY, ROTATIONS, ROUNDS } from "../../../../dsl/random.js";

export type GlslName =
  | "m_read"
  | "m_inf"
  | "m_nan"
  | "m_is_nan"
  | "m_exp"
  | "m_scale"
  | "m_log_rest"
  | "m_log"
  | "m_sincos"
  | "m_sin"
  | "m_cos"
  | "m_tan"
  | "m_tanh"
  | "m_expm1"
  | "m_log1p"
  | "m_log2"
  | "m_log10"
  | "m_cbrt"
  | "m_pow"
  | "m_atan"
  | "m_atan2"
  | "m_sqrt"
  | "m_asin"
  | "m_acos"
  | "m_sinh"
  | "m_cosh"
  | "m_asinh"
  | "m_acosh"
  | "m_atanh"
  | "m_hypot"
  | "m_round"
  | "m_fma"
  | "m_mod"
  | "m_bf16"
  | "m_f16"
  | "m_int"
  | "m_floor_div"
  | "m_threefry"
  | "m_uniform"
  | "m_normal";

interface GlslFunction {
  readonly calls: readonly GlslName[];
  readonly source: string;
}

/** Word r of the three key words, for the rounds' sums. */
const keyWord = (k: number): string => ["key.x", "key.y", "last"][k % 3] as string;
const threefryRounds = Array.from({ length: ROUNDS }, (_, round) => {
  const r = ROTATIONS[round % 8] as number;
  const mix = `  x.x += x.y; x.y = ((x.y << ${r}) | (x.y >> ${32 - r})) ^ x.x;`;
  if (round % 4 !== 3) return mix;
  const n = (round + 1) / 4;
  return `${mix}\n  x.x += ${keyWord(n)}; x.y += ${keyWord(n + 1)} + ${n}u;`;
}).join("\n");

export const functions: Readonly<Record<GlslName, GlslFunction>> = {
  m_read: {
    calls: [],
    source: `float m_read(sampler2D array, int shift, int at) {
  return texelFetch(array, ivec2(at & ((1 << shift) - 1), at >> shift), 0).x;
}`,
  },
  m_inf: { calls: [], source: "float m_inf() { return uintBitsToFloat(0x7f800000u); }" },
  m_nan: { calls: [], source: "float m_nan() { return uintBitsToFloat(0x7fc00000u); }" },
  m_is_nan: {
    calls: [],
    source: "bool m_is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }\nbool m_is_nan(int x) { return false; }",
  },
  // p·2^k for |k| ≤ 252: two factors, each of them a normal number.
  m_scale: {
    calls: [],
    source: `float m_scale(float p, int k) {
  int h = k >> 1;
  return p * intBitsToFloat((h + 127) << 23) * intBitsToFloat((k - h + 127) << 23);
}`,
  },
  m_exp: {
    calls: ["m_scale", "m_is_nan"],
    source: `float m_exp(float x) {
  float c = clamp(x, -104.0, 89.0);
  float k = floor(c * 1.44269504 + 0.5);
  float r = (c - k * 0.693359375) + k * 2.12194440e-4;
  float p = 1.9875691500e-4 * r + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  p = p * r + 5.0000001201e-1;
  float y = m_scale((p * (r * r) + r) + 1.0, int(k));
  return m_is_nan(x) ? x : y;
}`,
  },
  // log(1 + f) = f − f²/2 + f³·p(f) for √½ ≤ 1 + f < √2. In two parts: what is added to f, and f.
  m_log_rest: {
    calls: [],
    source: `float m_log_rest(float f) {
  float z = f * f;
  float p = 7.0376836292e-2 * f - 1.1514610310e-1;
  p = p * f + 1.1676998740e-1;
  p = p * f - 1.2420140846e-1;
  p = p * f + 1.4249322787e-1;
  p = p * f - 1.6668057665e-1;
  p = p * f + 2.0000714765e-1;
  p = p * f - 2.4999993993e-1;
  p = p * f + 3.3333331174e-1;
  return p * z * f;
}`,
  },
  m_log: {
    calls: ["m_log_rest", "m_inf", "m_nan"],
    source: `float m_log(float x) {
  int b = floatBitsToInt(x);
  int e = (b - 0x3f3504f3) >> 23;
  float f = intBitsToFloat(b - (e << 23)) - 1.0;
  float k = float(e);
  float s = (m_log_rest(f) + k * -2.12194440e-4) - 0.5 * (f * f);
  float y = k * 0.693359375 + (f + s);
  if (b == 0x7f800000) return x;
  return b > 0x7f800000 ? m_nan() : b >= 0x00800000 ? y : (b & 0x7fffffff) < 0x00800000 ? -m_inf() : m_nan();
}`,
  },
  m_sincos: {
    calls: ["m_nan"],
    source: `float m_sincos(float x, int shift) {
  if ((floatBitsToUint(x) & 0x7fffffffu) >= 0x7f800000u) return m_nan();
  float k = floor(x * 0.636619772 + 0.5);
  float r = ((x - k * 1.5703125) - k * 4.8375129699707031e-4) - k * 7.54978995489e-8;
  int q = (int(k) + shift) & 3;
  float z = r * r;
  float s = -1.9515295891e-4 * z + 8.3321608736e-3;
  s = s * z - 1.6666654611e-1;
  s = s * z * r + r;
  float c = 2.443315711809948e-5 * z - 1.388731625493765e-3;
  c = c * z + 4.166664568298827e-2;
  c = c * (z * z) + (1.0 - 0.5 * z);
  float v = (q & 1) != 0 ? c : s;
  return (q & 2) != 0 ? -v : v;
}`,
  },
  m_sin: { calls: ["m_sincos"], source: "float m_sin(float x) { return x == 0.0 ? x : m_sincos(x, 0); }" },
  m_cos: { calls: ["m_sincos"], source: "float m_cos(float x) { return m_sincos(x, 1); }" },
  m_tan: { calls: ["m_sincos"], source: "float m_tan(float x) { return m_sincos(x, 0) / m_sincos(x, 1); }" },
  m_tanh: {
    calls: ["m_exp", "m_is_nan"],
    source: `float m_tanh(float x) {
  float z = x * x;
  float p = -5.70498872745e-3 * z + 2.06390887954e-2;
  p = p * z - 5.37397155531e-2;
  p = p * z + 1.33314422036e-1;
  p = p * z - 3.33332819422e-1;
  p = p * z * x + x;
  float a = min(abs(x), 10.0);
  float big = 1.0 - 2.0 / (m_exp(a + a) + 1.0);
  if (m_is_nan(x)) return x;
  return abs(x) < 0.625 ? p : x < 0.0 ? -big : big;
}`,
  },
  m_expm1: {
    calls: ["m_exp", "m_log", "m_inf"],
    source: `float m_expm1(float x) {
  float u = m_exp(x);
  float d = u - 1.0;
  if (u == 1.0) return x;
  if (d == -1.0) return d;
  return u > 10.0 || u != u ? d : d * (x / m_log(u));
}`,
  },
  // Not by Kahan's quotient: compilers of shaders take (1 + x) − 1 for x.
  m_log1p: {
    calls: ["m_log_rest", "m_log"],
    source: `float m_log1p(float x) {
  float near = x + (m_log_rest(x) - 0.5 * (x * x));
  return abs(x) < 1.0e-9 ? x : x > -0.29 && x < 0.41 ? near : m_log(1.0 + x);
}`,
  },
  // The exponent apart, so that powers of two are exact and nothing is lost where x is far from 1.
  m_log2: {
    calls: ["m_log"],
    source: `float m_log2(float x) {
  int b = floatBitsToInt(x);
  if (b < 0x00800000 || b >= 0x7f800000) return m_log(x);
  int e = (b - 0x3f3504f3) >> 23;
  return float(e) + m_log(intBitsToFloat(b - (e << 23))) * 1.44269504;
}`,
  },
  m_log10: { calls: ["m_log"], source: "float m_log10(float x) { return m_log(x) * 0.4342944819; }" },
  m_cbrt: {
    calls: ["m_exp", "m_log"],
    source: `float m_cbrt(float x) {
  float a = abs(x);
  if (a == 0.0 || (floatBitsToUint(a) & 0x7fffffffu) >= 0x7f800000u) return x;
  float y = m_exp(m_log(a) * 0.333333333);
  y = y - (y - a / (y * y)) * 0.333333333;
  y = y - (y - a / (y * y)) * 0.333333333;
  return x < 0.0 ? -y : y;
}`,
  },
  // 2^(y·log2 x): the exponent's part of the logarithm is multiplied exactly, by y's upper bits, and its whole part goes straight
  // into the result's exponent.
  m_pow: {
    calls: ["m_exp", "m_log", "m_scale", "m_inf", "m_nan", "m_is_nan"],
    source: `float m_pow(float x, float y) {
  if (y == 0.0) return 1.0;
  if (m_is_nan(x) || m_is_nan(y)) return m_nan();
  float a = abs(x);
  bool whole = floor(y) == y;
  bool odd = whole && abs(y) < 16777216.0 && floor(y * 0.5) * 2.0 != y;
  float v;
  if (a == 1.0) v = abs(y) > 3.4028235e38 ? m_nan() : 1.0;
  else if (abs(y) > 3.4028235e38) v = (a > 1.0) == (y > 0.0) ? m_inf() : 0.0;
  else if (a == 0.0) v = y > 0.0 ? 0.0 : m_inf();
  else if (a > 3.4028235e38) v = y > 0.0 ? m_inf() : 0.0;
  else {
    int b = floatBitsToInt(a);
    int e = (b - 0x3f3504f3) >> 23;
    float k = float(e);
    float l = m_log(intBitsToFloat(b - (e << 23))) * 1.44269504;
    float upper = uintBitsToFloat(floatBitsToUint(y) & 0xfffff000u);
    float product = upper * k;
    float n = floor(product + 0.5);
    float rest = (product - n) + (y - upper) * k + y * l;
    float m = floor(rest + 0.5);
    float n2 = clamp(n, -1000.0, 1000.0) + clamp(m, -1000.0, 1000.0);
    v = m_scale(m_exp((rest - m) * 0.69314718), int(clamp(n2, -250.0, 250.0)));
  }
  if (x < 0.0 && !whole && a < 3.4028235e38) return m_nan();
  return odd && (floatBitsToUint(x) >> 31) != 0u ? -v : v;
}`,
  },
  m_atan: {
    calls: [],
    source: `float m_atan(float x) {
  float a = abs(x);
  bool far = a > 2.414213562;
  bool near = a < 0.4142135623;
  float t = far ? -1.0 / a : near ? a : (a - 1.0) / (a + 1.0);
  float base = far ? 1.5707963268 : near ? 0.0 : 0.7853981634;
  float z = t * t;
  float p = 8.05374449538e-2 * z - 1.38776856032e-1;
  p = p * z + 1.99777106478e-1;
  p = p * z - 3.33329491539e-1;
  float v = base + (p * z * t + t);
  return (floatBitsToUint(x) >> 31) != 0u ? -v : v;
}`,
  },
  m_atan2: {
    calls: ["m_atan", "m_is_nan", "m_nan"],
    source: `float m_atan2(float y, float x) {
  if (m_is_nan(x) || m_is_nan(y)) return m_nan();
  float a = abs(y);
  float b = abs(x);
  bool flat_ = a == 0.0 && b == 0.0;
  bool both = a > 3.4028235e38 && b > 3.4028235e38;
  float v = flat_ ? 0.0 : both ? 0.7853981634 : m_atan(a / b);
  float w = (floatBitsToUint(x) >> 31) != 0u ? 3.1415926536 - v : v;
  return (floatBitsToUint(y) >> 31) != 0u ? -w : w;
}`,
  },
  // GLSL leaves the square root of a negative number open.
  m_sqrt: { calls: ["m_nan"], source: "float m_sqrt(float x) { return x < 0.0 ? m_nan() : sqrt(x); }" },
  m_asin: { calls: ["m_atan2", "m_sqrt"], source: "float m_asin(float x) { return x == 0.0 ? x : m_atan2(x, m_sqrt((1.0 - x) * (1.0 + x))); }" },
  m_acos: { calls: ["m_atan2", "m_sqrt"], source: "float m_acos(float x) { return m_atan2(m_sqrt((1.0 - x) * (1.0 + x)), x); }" },
  m_sinh: {
    calls: ["m_expm1", "m_exp"],
    source: `float m_sinh(float x) {
  float a = abs(x);
  float e = m_expm1(a);
  float h = m_exp(0.5 * a);
  float v = a > 20.0 ? (0.5 * h) * h : 0.5 * (e + e / (e + 1.0));
  return x < 0.0 ? -v : v;
}`,
  },
  m_cosh: {
    calls: ["m_exp"],
    source: `float m_cosh(float x) {
  float a = abs(x);
  float e = m_exp(a);
  float h = m_exp(0.5 * a);
  return a > 20.0 ? (0.5 * h) * h : 0.5 * e + 0.5 / e;
}`,
  },
  m_asinh: {
    calls: ["m_log1p", "m_log"],
    source: `float m_asinh(float x) {
  float a = abs(x);
  float v = a > 1.0e9 ? m_log(a) + 0.69314718 : m_log1p(a + a * a / (1.0 + sqrt(a * a + 1.0)));
  return x < 0.0 ? -v : v;
}`,
  },
  m_acosh: {
    calls: ["m_log1p", "m_log", "m_nan"],
    source: `float m_acosh(float x) {
  float t = x - 1.0;
  if (t < 0.0) return m_nan();
  return x > 1.0e9 ? m_log(x) + 0.69314718 : m_log1p(t + sqrt(t * (x + 1.0)));
}`,
  },
  m_atanh: {
    calls: ["m_log1p"],
    source: `float m_atanh(float x) {
  float a = abs(x);
  float v = 0.5 * m_log1p(2.0 * a / (1.0 - a));
  return x < 0.0 ? -v : v;
}`,
  },
  m_hypot: {
    calls: ["m_inf", "m_is_nan"],
    source: `float m_hypot(float x, float y) {
  float a = abs(x);
  float b = abs(y);
  float high = max(a, b);
  float r = min(a, b) / high;
  if (a == m_inf() || b == m_inf()) return m_inf();
  if (m_is_nan(x)) return x;
  if (m_is_nan(y)) return y;
  return high == 0.0 ? 0.0 : high * sqrt(1.0 + r * r);
}`,
  },
  m_round: {
    calls: [],
    source: `float m_round(float x) {
  float low = floor(x);
  return x - low >= 0.5 ? low + 1.0 : low;
}`,
  },
  // a·b + c with the product's and the sum's rounding errors carried along (Dekker 1971, Knuth's two-sum).
  m_fma: {
    calls: [],
    source: `float m_fma(float x, float y, float z) {
  float p = x * y;
  float s = p + z;
  if (!(max(abs(x), abs(y)) < 1.0e30 && abs(p) < 1.0e38 && abs(s) < 1.0e38 && abs(p) > 1.0e-28)) return s;
  float hx = uintBitsToFloat(floatBitsToUint(x) & 0xfffff000u);
  float hy = uintBitsToFloat(floatBitsToUint(y) & 0xfffff000u);
  float lx = x - hx;
  float ly = y - hy;
  float e = ((hx * hy - p) + hx * ly + lx * hy) + lx * ly;
  float v = s - p;
  float d = (p - (s - v)) + (z - v);
  return s + (d + e);
}`,
  },
  // JavaScript's %: the dividend is reduced by the divisor times falling powers of two; every subtraction is exact.
  m_mod: {
    calls: ["m_is_nan", "m_nan"],
    source: `float m_mod(float x, float y) {
  float b = abs(y);
  float r = abs(x);
  if (m_is_nan(x) || m_is_nan(y) || r > 3.4028235e38 || b == 0.0) return m_nan();
  if (r < b) return x;
  float t = b;
  for (int i = 0; i < 300 && t <= r * 0.5; i++) t = t + t;
  for (int j = 0; j < 300 && t >= b; j++) {
    if (r >= t) r = r - t;
    t = t * 0.5;
  }
  return (floatBitsToUint(x) >> 31) != 0u ? -r : r;
}`,
  },
  m_bf16: {
    calls: ["m_is_nan"],
    source: `float m_bf16(float x) {
  uint b = floatBitsToUint(x);
  return m_is_nan(x) ? x : uintBitsToFloat((b + 0x7fffu + ((b >> 16) & 1u)) & 0xffff0000u);
}`,
  },
  m_f16: {
    calls: ["m_inf", "m_is_nan"],
    source: `float m_f16(float x) {
  float a = abs(x);
  if (m_is_nan(x) || a == 0.0) return x;
  int e = max((floatBitsToInt(a) >> 23) - 127, -14);
  float units = a * intBitsToFloat((137 - e) << 23);
  float down = floor(units);
  float rest = units - down;
  bool up = rest > 0.5 || (rest == 0.5 && (int(down) & 1) == 1);
  float v = a >= 65520.0 ? m_inf() : (up ? down + 1.0 : down) * intBitsToFloat((e + 117) << 23);
  return x < 0.0 ? -v : v;
}`,
  },
  m_int: {
    calls: ["m_is_nan"],
    source: `int m_int(float x) {
  if (m_is_nan(x)) return 0;
  return x >= 2147483648.0 ? 2147483647 : x <= -2147483648.0 ? -2147483647 - 1 : int(x);
}`,
  },
  m_floor_div: {
    calls: [],
    source: `int m_floor_div(int x, int y) {
  int q = x / y;
  return x - q * y < 0 ? q - 1 : q;
}`,
  },
  m_threefry: {
    calls: [],
    source: `uvec2 m_threefry(uvec2 key, uvec2 x) {
  uint last = ${PARITY}u ^ key.x ^ key.y;
  x += key;
${threefryRounds}
  return x;
}`,
  },
  m_uniform: { calls: [], source: `float m_uniform(uvec2 bits) { return float(bits.x >> 8) * ${2 ** -24}; }` },
  m_normal: {
    calls: ["m_log", "m_cos"],
    source: `float m_normal(uvec2 bits) {
  float u = float((bits.x >> 8) + 1u) * ${2 ** -24};
  float v = float(bits.y >> 8) * ${2 ** -24};
  return sqrt(-2.0 * m_log(u)) * m_cos(v * 6.2831855);
}`,
  },
};

/** These functions and what they call, callees first, each once. */
export function withCallees(names: Iterable<GlslName>): readonly string[] {
  const out = new Set<string>();
  const add = (name: GlslName) => {
    for (const c of functions[name].calls) add(c);
    out.add(functions[name].source);
  };
  for (const n of names) add(n);
  return [...out];
}
