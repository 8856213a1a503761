// The mathematical functions of the C target, so that accuracy and bits depend on no library. Hot ones (exp, log, sin,
// cos, tanh) are single precision: argument reduction by Cody and Waite, then Cephes' minimax polynomials (Moshier,
// "Methods and Programs for Mathematical Functions", 1989). The others go through double-precision exp, log and atan
// and round once. Measured against f64 over random bit patterns: test/codegen/math.test.ts holds the bounds in ulp.
import { generic, halved } from "./generic.js";

/** Largest error in units in the last place, over all finite arguments. Held by the tests. */
export const ulpBounds = {
  exp: 1,
  log: 1,
  sin: 2,
  cos: 2,
  tanh: 1.5,
  pow: 1,
  cbrt: 1,
  expm1: 1,
  log1p: 1,
  log2: 1,
  log10: 1,
  tan: 1,
  asin: 1,
  acos: 1,
  atan: 1,
  atan2: 1,
  sinh: 1,
  cosh: 1,
  asinh: 1,
  acosh: 1,
  atanh: 1,
  hypot: 1,
  sqrt: 0.5,
} as const;

// 2/π to 192 bits in overlapping words, as in Payne and Hanek's reduction of arguments ≥ 2^28.
const twoOverPi = 0xa2f9836e4e441529fc2757d1f534ddc0db6295993c439041n;
const windows = Array.from({ length: 24 }, (_, i) => {
  const shift = BigInt(192 - 8 * (i + 1));
  return `0x${((twoOverPi >> shift) & 0xffffffffn).toString(16)}u`;
});

const single = generic(`
/* exp(c) = p·2^n, n whole. */
INLINE F exp_part$(F c, F *n) {
  F t = c * 1.44269504f + 12582912.0f;
  F k = t - 12582912.0f;
  *n = k;
  F r = fma$(k, K$(-0.693359375f), c);
  r = fma$(k, K$(2.12194440e-4f), r);
  F p = fma$(K$(1.9875691500e-4f), r, K$(1.3981999507e-3f));
  p = fma$(p, r, K$(8.3334519073e-3f));
  p = fma$(p, r, K$(4.1665795894e-2f));
  p = fma$(p, r, K$(1.6666665459e-1f));
  p = fma$(p, r, K$(5.0000001201e-1f));
  return fma$(p, r * r, r) + 1.0f;
}
static inline F m_exp$(F x) {
  F n;
  F p = exp_part$(atleast$(atmost$(x, K$(89.0f)), K$(-104.0f)), &n);
  return scale$(p, n);
}
static inline F m_log$(F x) {
  B small = lt$(x, K$(1.17549435e-38f));
  F y = sel$(small, x * 8388608.0f, x);
  I b = as_i$(y);
  I e = (b - 0x3f3504f3) >> 23;
  F f = as_f$(b - (e << 23)) - 1.0f;
  F k = to_f$(e) - sel$(small, K$(23.0f), K$(0.0f));
  F z = f * f;
  F p = fma$(K$(7.0376836292e-2f), f, K$(-1.1514610310e-1f));
  p = fma$(p, f, K$(1.1676998740e-1f));
  p = fma$(p, f, K$(-1.2420140846e-1f));
  p = fma$(p, f, K$(1.4249322787e-1f));
  p = fma$(p, f, K$(-1.6668057665e-1f));
  p = fma$(p, f, K$(2.0000714765e-1f));
  p = fma$(p, f, K$(-2.4999993993e-1f));
  p = fma$(p, f, K$(3.3333331174e-1f));
  F s = fma$(p * z, f, k * -2.12194440e-4f);
  s = fma$(z, K$(-0.5f), s);
  F r = fma$(k, K$(0.693359375f), f + s);
  r = sel$(gt$(x, K$(0.0f)), r, sel$(eq$(x, K$(0.0f)), K$(-INF), K$(NAN_)));
  return sel$(lt$(x, K$(INF)), r, x);
}
static inline F m_sinq$(F r, I q) {
  F z = r * r;
  F s = fma$(K$(-1.9515295891e-4f), z, K$(8.3321608736e-3f));
  s = fma$(s, z, K$(-1.6666654611e-1f));
  s = fma$(s * z, r, r);
  F c = fma$(K$(2.443315711809948e-5f), z, K$(-1.388731625493765e-3f));
  c = fma$(c, z, K$(4.166664568298827e-2f));
  c = fma$(c, z * z, fma$(K$(-0.5f), z, K$(1.0f)));
  return as_f$(as_i$(sel$(ine$(q & 1, KI$(0)), c, s)) ^ ((q & 2) << 30));
}
static inline F m_sin$(F x) {
  I q;
  F r = reduce$(x, &q);
  return sel$(eq$(x, K$(0.0f)), x, m_sinq$(r, q));
}
static inline F m_cos$(F x) {
  I q;
  F r = reduce$(x, &q);
  return m_sinq$(r, q + 1);
}
static inline F m_tanh$(F x) {
  F a = abs$(x);
  F z = x * x;
  F p = fma$(K$(-5.70498872745e-3f), z, K$(2.06390887954e-2f));
  p = fma$(p, z, K$(-5.37397155531e-2f));
  p = fma$(p, z, K$(1.33314422036e-1f));
  p = fma$(p, z, K$(-3.33332819422e-1f));
  p = fma$(p * z, x, x);
  F c = sel$(gt$(a, K$(10.0f)), K$(10.0f), a);
  F n;
  F e = exp_part$(c + c, &n);
  F big = 1.0f - 2.0f / (scale$(e, n) + 1.0f);
  return sel$(lt$(a, K$(0.625f)), p, copysign$(big, x));
}
`);

const series = (terms: readonly number[]) => {
  const [last, ...rest] = [...terms].reverse();
  return rest.reduce((inner, c) => `fmad$(${inner}, z, KD$(${c}))`, `KD$(${last})`);
};
const factorials = Array.from({ length: 13 }, (_, i) => 1 / Array.from({ length: i }, (_x, j) => j + 1).reduce((a, b) => a * b, 1));
const odd = (n: number, alternate: boolean) => Array.from({ length: n }, (_, i) => (alternate && i % 2 ? -1 : 1) / (2 * i + 1));
const sine = Array.from({ length: 8 }, (_, i) => (i % 2 ? -1 : 1) / Array.from({ length: 2 * i + 1 }, (_x, j) => j + 1).reduce((a, b) => a * b, 1));
const cosine = Array.from({ length: 8 }, (_, i) => (i % 2 ? -1 : 1) / Array.from({ length: 2 * i }, (_x, j) => j + 1).reduce((a, b) => a * b, 1));

const double = halved(`
static inline D d_exp$(D x) {
  D c = seld$(x > 200.0, KD$(200.0), x);
  c = seld$(c < -200.0, KD$(-200.0), c);
  D t = c * 1.4426950408889634 + 6755399441055744.0;
  D k = t - 6755399441055744.0;
  D z = fmad$(k, KD$(-1.9082149292705877e-10), fmad$(k, KD$(-0.6931471803691238), c));
  return ${series(factorials)} * as_d$((as_l$(t) + 1023) << 52);
}
static inline D d_log$(D x) {
  L b = as_l$(x);
  L e = ((b - 0x3fe6a09e667f3bcd) >> 52);
  D m = as_d$(b - (e << 52));
  D s = (m - 1.0) / (m + 1.0);
  D z = s * s;
  D k = whole$(e);
  D r = fmad$(k, KD$(0.6931471805599453), 2.0 * s * ${series(odd(11, false))});
  r = seld$(x > 0.0, r, seld$(x == 0.0, KD$(-INF), KD$(NAN_)));
  return seld$(x < INF, r, x);
}
static inline D d_atan2$(D y, D x) {
  D a = absd$(y), b = absd$(x);
  D lo = seld$(a < b, a, b), hi = seld$(a < b, b, a);
  D t = seld$(lo == hi, seld$(hi == 0.0, KD$(0.0), KD$(1.0)), lo / hi);
  L far = t > 0.41421356237309503;
  D u = seld$(far, (t - 1.0) / (t + 1.0), t);
  D z = u * u;
  D r = u * ${series(odd(15, true))} + seld$(far, KD$(0.7853981633974483), KD$(0.0));
  r = seld$(a > b, 1.5707963267948966 - r, r);
  r = seld$((as_l$(x) < 0), 3.141592653589793 - r, r);
  r = as_d$(as_l$(r) ^ (as_l$(y) & SIGN64));
  return seld$((x == x) & (y == y), r, KD$(NAN_));
}
static inline F m_expm1$(F x) {
  D d = widen$(x);
  return sel$(abs$(x) < 1e-5f, narrow$(fmad$(d, 0.5 * d, d)), narrow$(d_exp$(d) - 1.0));
}
static inline F m_log1p$(F x) {
  D d = widen$(x);
  return sel$(abs$(x) < 1e-5f, narrow$(fmad$(d, d * fmad$(d, KD$(0.3333333333333333), KD$(-0.5)), d)), narrow$(d_log$(1.0 + d)));
}
static inline F m_log2$(F x) { return narrow$(d_log$(widen$(x)) * 1.4426950408889634); }
static inline F m_log10$(F x) { return narrow$(d_log$(widen$(x)) * 0.4342944819032518); }
static inline F m_cbrt$(F x) {
  return sel$((x == 0.0f) | (abs$(x) == INF), x, copysign$(narrow$(d_exp$(d_log$(widen$(abs$(x))) * 0.3333333333333333)), x));
}
static inline F m_pow$(F x, F y) {
  F r = narrow$(d_exp$(widen$(y) * d_log$(widen$(abs$(x)))));
  F half = y * 0.5f;
  I integer = (trunc$(y) == y) | (abs$(y) == INF);
  I isodd = (trunc$(y) == y) & (trunc$(half) != half);
  I negative = as_i$(x) < 0;
  r = sel$(negative & isodd, -r, r);
  r = sel$(negative & (integer == 0) & (x != 0.0f) & (x != -INF), K$(NAN_), r);
  return sel$(y == 0.0f, K$(1.0f), r);
}
static inline F m_tan$(F x) {
  I q;
  D r = reduced$(x, &q);
  D z = r * r;
  D s = r * ${series(sine)};
  D c = ${series(cosine)};
  return sel$(x == 0.0f, x, sel$((q & 1) != 0, narrow$(-c / s), narrow$(s / c)));
}
static inline F m_atan2$(F y, F x) { return narrow$(d_atan2$(widen$(y), widen$(x))); }
static inline F m_atan$(F x) { return narrow$(d_atan2$(widen$(x), KD$(1.0))); }
static inline F m_asin$(F x) {
  D d = widen$(x);
  return narrow$(d_atan2$(d, sqrtd$((1.0 - d) * (1.0 + d))));
}
static inline F m_acos$(F x) {
  D d = widen$(x);
  return narrow$(d_atan2$(sqrtd$((1.0 - d) * (1.0 + d)), d));
}
static inline F m_sinh$(F x) {
  D d = widen$(x), e = d_exp$(d);
  return sel$(abs$(x) < 0.01f, narrow$(fmad$(d * d, d * 0.16666666666666666, d)), narrow$((e - 1.0 / e) * 0.5));
}
static inline F m_cosh$(F x) {
  D e = d_exp$(widen$(x));
  return narrow$((e + 1.0 / e) * 0.5);
}
static inline F m_asinh$(F x) {
  D d = widen$(abs$(x));
  F r = sel$(abs$(x) < 1e-4f, narrow$(fmad$(d * d, d * -0.16666666666666666, d)), narrow$(d_log$(d + sqrtd$(fmad$(d, d, KD$(1.0))))));
  return copysign$(r, x);
}
static inline F m_acosh$(F x) {
  D d = widen$(x);
  return sel$(x >= 1.0f, narrow$(d_log$(d + sqrtd$(fmad$(d, d, KD$(-1.0))))), K$(NAN_));
}
static inline F m_atanh$(F x) {
  D d = widen$(x);
  return sel$(abs$(x) < 1e-4f, narrow$(fmad$(d * d, d * 0.3333333333333333, d)), narrow$(0.5 * d_log$((1.0 + d) / (1.0 - d))));
}
static inline F m_hypot$(F x, F y) {
  D a = widen$(x), b = widen$(y);
  return sel$((abs$(x) == INF) | (abs$(y) == INF), K$(INF), narrow$(sqrtd$(fmad$(a, a, b * b))));
}
`);

// π/2 in a part of 25 bits and the rest: exact products with whole numbers below 2^28.
const reduction = `
static const uint32_t two_over_pi[24] = {${windows.join(", ")}};
static double reduce_large(float x, int32_t *q) {
  uint32_t b = (uint32_t)as_i1(x);
  const uint32_t *w = two_over_pi + ((b >> 26) & 15);
  int shift = (b >> 23) & 7;
  uint32_t m = ((b & 0xffffffu) | 0x800000u) << shift;
  uint64_t r0 = m * w[0], r1 = (uint64_t)m * w[4], r2 = (uint64_t)m * w[8];
  r0 = (r2 >> 32) | (r0 << 32);
  r0 += r1;
  uint64_t n = (r0 + (1ull << 61)) >> 62;
  r0 -= n << 62;
  double r = (double)(int64_t)r0 * 0x1.921fb54442d18p-62;
  *q = (int32_t)((int32_t)b < 0 ? -(int64_t)n : (int64_t)n);
  return (int32_t)b < 0 ? -r : r;
}
static inline double reduced1(float x, int32_t *q) {
  double d = x;
  double t = d * 0.6366197723675814 + 6755399441055744.0;
  double n = t - 6755399441055744.0;
  *q = (int32_t)as_l1(t);
  if (!(abs1(x) < 268435456.0f) && abs1(x) < INF) return reduce_large(x, q);
  return d - n * 1.57079631090164184570 - n * 1.58932547735281966916e-08;
}
static inline f64x8 reduced8(f32x8 x, i32x8 *q) {
  f64x8 d = widen8(x);
  f64x8 t = d * 0.6366197723675814 + 6755399441055744.0;
  f64x8 n = t - 6755399441055744.0;
  *q = __builtin_convertvector(as_l8(t), i32x8);
  f64x8 r = d - n * 1.57079631090164184570 - n * 1.58932547735281966916e-08;
  if (!all8(abs8(x) < 268435456.0f))
    for (int l = 0; l < 8; l++)
      if (!(abs1(x[l]) < 268435456.0f) && abs1(x[l]) < INF) { int32_t k; r[l] = reduce_large(x[l], &k); (*q)[l] = k; }
  return r;
}
INLINE float reduce1(float x, int32_t *q) { return narrow1(reduced1(x, q)); }
INLINE f32x8 reduce8(f32x8 x, i32x8 *q) { return narrow8(reduced8(x, q)); }
#ifdef WIDE
static inline f32xW reduceW(f32xW x, i32xW *q) {
  i32x8 a, b;
  f32x8 r = reduce8(loW(x), &a), s = reduce8(hiW(x), &b);
  *q = joinW(a, b);
  return joinW(r, s);
}
#else
#define reduceW reduce8
#endif
`;

// Limits of a NaN are that NaN. p·2^n is rounded once, for a whole |n| ≤ 254.
const limits = generic(`
INLINE F scaled$(F p, F n) {
  I k = as_i$(n + 12582912.0f) - 0x4b400000;
  I h = k >> 1;
  return p * as_f$((h + 127) << 23) * as_f$((k - h + 127) << 23);
}
INLINE F below$(F x, F most) { return sel$(gt$(x, most), most, x); }
INLINE F above$(F x, F least) { return sel$(lt$(x, least), least, x); }
`);
const instructions = `
#define atmost1 below1
#define atleast1 above1
#define scale1 scaled1
#if defined(__AVX__) && !defined(__clang__)
INLINE f32x8 atmost8(f32x8 x, f32x8 most) { return __builtin_ia32_minps256((ia32_f)most, (ia32_f)x); }
INLINE f32x8 atleast8(f32x8 x, f32x8 least) { return __builtin_ia32_maxps256((ia32_f)least, (ia32_f)x); }
#else
#define atmost8 below8
#define atleast8 above8
#endif
#if defined(__AVX512VL__) && !defined(__clang__)
INLINE f32x8 scale8(f32x8 p, f32x8 n) { return __builtin_ia32_scalefps256_mask((ia32_f)p, (ia32_f)n, (ia32_f)p, -1); }
#else
#define scale8 scaled8
#endif
#ifdef WIDE
INLINE f32xW atmostW(f32xW x, f32xW most) { return __builtin_ia32_minps512_mask(most, x, x, -1, 4); }
INLINE f32xW atleastW(f32xW x, f32xW least) { return __builtin_ia32_maxps512_mask(least, x, x, -1, 4); }
INLINE f32xW scaleW(f32xW p, f32xW n) { return __builtin_ia32_scalefps512_mask(p, n, p, -1, 4); }
#else
#define atmostW atmost8
#define atleastW atleast8
#define scaleW scale8
#endif
`;

export const math = reduction + limits + instructions + single + double;
