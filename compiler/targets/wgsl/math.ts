// The mathematical functions of the WGSL target. WGSL's own are too weak to train with (sin and cos to 2^-11 absolute,
// atan to 4096 ulp, tanh to 1e-5), so they are polynomials here: argument reduction by Cody and Waite, then Cephes'
// minimax polynomials (Moshier, "Methods and Programs for Mathematical Functions", 1989); expm1 by Kahan's quotient.
// Only what a kernel calls is printed with it, callees first. Conditions are joined by & and |: && and || are branches, over which
// SwiftShader's compiler may take minutes.
export type MathName =
  | "m_is_nan"
  | "m_exp"
  | "m_log_rest"
  | "m_log"
  | "m_sincos"
  | "m_sin"
  | "m_cos"
  | "m_tan"
  | "m_tanh"
  | "m_expm1"
  | "m_log1p"
  | "m_cbrt"
  | "m_pow"
  | "m_atan"
  | "m_atan2"
  | "m_asin"
  | "m_acos"
  | "m_sinh"
  | "m_cosh"
  | "m_asinh"
  | "m_acosh"
  | "m_atanh"
  | "m_hypot"
  | "m_round"
  | "m_bf16"
  | "m_idiv";

export const functions: Readonly<Record<MathName, { readonly calls: readonly MathName[]; readonly source: string }>> = {
  // WGSL may take NaN to be absent, and clamps and choices lose it. What is not finite must arrive where training looks for it.
  m_is_nan: {
    calls: [],
    source: "fn m_is_nan(x: f32) -> bool {\n  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;\n}",
  },
  m_exp: {
    calls: ["m_is_nan"],
    source: `fn m_exp(x: f32) -> f32 {
  let c: f32 = clamp(x, -87.0, 88.7);
  let k: f32 = floor(c * 1.44269504 + 0.5);
  let r: f32 = fma(k, 2.12194440e-4, fma(k, -0.693359375, c));
  var p: f32 = fma(1.9875691500e-4, r, 1.3981999507e-3);
  p = fma(p, r, 8.3334519073e-3);
  p = fma(p, r, 4.1665795894e-2);
  p = fma(p, r, 1.6666665459e-1);
  p = fma(p, r, 5.0000001201e-1);
  p = fma(p, r * r, r) + 1.0;
  let h: i32 = i32(k) >> 1u;
  let y: f32 = p * bitcast<f32>((h + 127) << 23u) * bitcast<f32>((i32(k) - h + 127) << 23u);
  return select(select(y, 0.0, x < -87.3), x, m_is_nan(x));
}`,
  },
  // log(1 + f) = f − f²/2 + f³·p(f) for √½ ≤ 1 + f < √2: f³·p(f).
  m_log_rest: {
    calls: [],
    source: `fn m_log_rest(f: f32) -> f32 {
  var p: f32 = fma(7.0376836292e-2, f, -1.1514610310e-1);
  p = fma(p, f, 1.1676998740e-1);
  p = fma(p, f, -1.2420140846e-1);
  p = fma(p, f, 1.4249322787e-1);
  p = fma(p, f, -1.6668057665e-1);
  p = fma(p, f, 2.0000714765e-1);
  p = fma(p, f, -2.4999993993e-1);
  p = fma(p, f, 3.3333331174e-1);
  return p * (f * f) * f;
}`,
  },
  // Of 0 the finite mask; of what is negative, and of NaN, a NaN.
  m_log: {
    calls: ["m_log_rest"],
    source: `fn m_log(x: f32) -> f32 {
  let b: i32 = bitcast<i32>(x);
  let e: i32 = (b - 0x3f3504f3) >> 23u;
  let f: f32 = bitcast<f32>(b - (e << 23u)) - 1.0;
  let k: f32 = f32(e);
  let s: f32 = fma(f * f, -0.5, fma(k, -2.12194440e-4, m_log_rest(f)));
  let y: f32 = select(-3.0e38, fma(k, 0.693359375, f + s), x > 0.0);
  let u: u32 = bitcast<u32>(x);
  return select(y, bitcast<f32>(u | 0x7fc00000u), (u > 0x7f800000u) & (u != 0x80000000u));
}`,
  },
  m_sincos: {
    calls: [],
    source: `fn m_sincos(x: f32, shift: i32) -> f32 {
  let k: f32 = floor(x * 0.636619772 + 0.5);
  let r: f32 = fma(k, -7.54978995489e-8, fma(k, -4.8375129699707031e-4, fma(k, -1.5703125, x)));
  let q: i32 = (i32(k) + shift) & 3;
  let z: f32 = r * r;
  var s: f32 = fma(-1.9515295891e-4, z, 8.3321608736e-3);
  s = fma(s, z, -1.6666654611e-1);
  s = fma(s * z, r, r);
  var c: f32 = fma(2.443315711809948e-5, z, -1.388731625493765e-3);
  c = fma(c, z, 4.166664568298827e-2);
  c = fma(c, z * z, fma(-0.5, z, 1.0));
  let v: f32 = select(s, c, (q & 1) != 0);
  return select(v, -v, (q & 2) != 0);
}`,
  },
  m_sin: { calls: ["m_sincos"], source: "fn m_sin(x: f32) -> f32 {\n  return m_sincos(x, 0);\n}" },
  m_cos: { calls: ["m_sincos"], source: "fn m_cos(x: f32) -> f32 {\n  return m_sincos(x, 1);\n}" },
  m_tan: { calls: ["m_sincos"], source: "fn m_tan(x: f32) -> f32 {\n  return m_sincos(x, 0) / m_sincos(x, 1);\n}" },
  m_tanh: {
    calls: ["m_exp", "m_is_nan"],
    source: `fn m_tanh(x: f32) -> f32 {
  let z: f32 = x * x;
  var p: f32 = fma(-5.70498872745e-3, z, 2.06390887954e-2);
  p = fma(p, z, -5.37397155531e-2);
  p = fma(p, z, 1.33314422036e-1);
  p = fma(p, z, -3.33332819422e-1);
  p = fma(p * z, x, x);
  let a: f32 = min(abs(x), 10.0);
  let big: f32 = 1.0 - 2.0 / (m_exp(a + a) + 1.0);
  return select(select(select(big, -big, x < 0.0), p, abs(x) < 0.625), x, m_is_nan(x));
}`,
  },
  m_expm1: {
    calls: ["m_exp", "m_log"],
    source: `fn m_expm1(x: f32) -> f32 {
  let u: f32 = m_exp(x);
  let d: f32 = u - 1.0;
  let y: f32 = d * x / m_log(u);
  return select(select(select(y, d, abs(x) > 1.0), x, u == 1.0), -1.0, d == -1.0);
}`,
  },
  // Not by Kahan's quotient: compilers of shaders take (1 + x) − 1 for x.
  m_log1p: {
    calls: ["m_log_rest", "m_log"],
    source: `fn m_log1p(x: f32) -> f32 {
  let near: f32 = x + fma(x * x, -0.5, m_log_rest(x));
  return select(select(m_log(1.0 + x), near, (x > -0.29) & (x < 0.41)), x, abs(x) < 1.0e-9);
}`,
  },
  m_cbrt: {
    calls: ["m_exp", "m_log"],
    source: `fn m_cbrt(x: f32) -> f32 {
  let a: f32 = abs(x);
  var y: f32 = m_exp(m_log(a) * 0.333333333);
  y = y - (y - a / (y * y)) * 0.333333333;
  return select(select(y, -y, x < 0.0), x, a == 0.0);
}`,
  },
  m_pow: {
    calls: ["m_exp", "m_log", "m_is_nan"],
    source: `fn m_pow(x: f32, y: f32) -> f32 {
  let whole: bool = floor(y) == y;
  let odd: bool = whole & (fract(y * 0.5) != 0.0);
  let a: f32 = m_exp(y * m_log(abs(x)));
  let zero: f32 = select(0.0, 3.0e38, y < 0.0);
  let v: f32 = select(a, zero, x == 0.0);
  let bad: bool = m_is_nan(x) | m_is_nan(y) | ((x < 0.0) & !whole);
  let w: f32 = select(select(v, -v, (x < 0.0) & odd), bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u), bad);
  return select(w, 1.0, y == 0.0);
}`,
  },
  m_atan: {
    calls: [],
    source: `fn m_atan(x: f32) -> f32 {
  let a: f32 = abs(x);
  let far: bool = a > 2.414213562;
  let near: bool = a < 0.4142135623;
  let t: f32 = select(select((a - 1.0) / (a + 1.0), a, near), -1.0 / a, far);
  let base: f32 = select(select(0.7853981634, 0.0, near), 1.5707963268, far);
  let z: f32 = t * t;
  var p: f32 = fma(8.05374449538e-2, z, -1.38776856032e-1);
  p = fma(p, z, 1.99777106478e-1);
  p = fma(p, z, -3.33329491539e-1);
  let v: f32 = base + fma(p * z, t, t);
  return select(v, -v, x < 0.0);
}`,
  },
  m_atan2: {
    calls: ["m_atan"],
    source: `fn m_atan2(y: f32, x: f32) -> f32 {
  let v: f32 = m_atan(y / x);
  let turn: f32 = select(3.1415926536, -3.1415926536, y < 0.0);
  let axis: f32 = select(select(0.0, 1.5707963268, y > 0.0), -1.5707963268, y < 0.0);
  return select(select(v, v + turn, x < 0.0), axis, x == 0.0);
}`,
  },
  m_asin: { calls: ["m_atan2"], source: "fn m_asin(x: f32) -> f32 {\n  return m_atan2(x, sqrt((1.0 - x) * (1.0 + x)));\n}" },
  m_acos: { calls: ["m_atan2"], source: "fn m_acos(x: f32) -> f32 {\n  return m_atan2(sqrt((1.0 - x) * (1.0 + x)), x);\n}" },
  m_sinh: {
    calls: ["m_expm1"],
    source:
      "fn m_sinh(x: f32) -> f32 {\n  let e: f32 = m_expm1(abs(x));\n  let v: f32 = 0.5 * (e + e / (e + 1.0));\n  return select(v, -v, x < 0.0);\n}",
  },
  m_cosh: { calls: ["m_exp"], source: "fn m_cosh(x: f32) -> f32 {\n  let e: f32 = m_exp(abs(x));\n  return 0.5 * e + 0.5 / e;\n}" },
  m_asinh: {
    calls: ["m_log1p"],
    source:
      "fn m_asinh(x: f32) -> f32 {\n  let a: f32 = abs(x);\n  let v: f32 = m_log1p(a + a * a / (1.0 + sqrt(fma(a, a, 1.0))));\n  return select(v, -v, x < 0.0);\n}",
  },
  m_acosh: {
    calls: ["m_log1p"],
    source: "fn m_acosh(x: f32) -> f32 {\n  let t: f32 = x - 1.0;\n  return m_log1p(select(t + sqrt(t * (x + 1.0)), -2.0, t < 0.0));\n}",
  },
  m_atanh: {
    calls: ["m_log1p"],
    source:
      "fn m_atanh(x: f32) -> f32 {\n  let a: f32 = abs(x);\n  let v: f32 = 0.5 * m_log1p(2.0 * a / (1.0 - a));\n  return select(v, -v, x < 0.0);\n}",
  },
  m_hypot: {
    calls: ["m_is_nan"],
    source: `fn m_hypot(x: f32, y: f32) -> f32 {
  let a: f32 = max(abs(x), abs(y));
  let r: f32 = min(abs(x), abs(y)) / max(a, 1.0e-37);
  return select(select(a * sqrt(fma(r, r, 1.0)), y, m_is_nan(y)), x, m_is_nan(x));
}`,
  },
  m_round: {
    calls: [],
    source: "fn m_round(x: f32) -> f32 {\n  let low: f32 = floor(x);\n  return select(low, low + 1.0, x - low >= 0.5);\n}",
  },
  m_bf16: {
    calls: ["m_is_nan"],
    source: `fn m_bf16(x: f32) -> f32 {
  let b: u32 = bitcast<u32>(x);
  return select(bitcast<f32>((b + 0x7fffu + ((b >> 16u) & 1u)) & 0xffff0000u), x, m_is_nan(x));
}`,
  },
  m_idiv: {
    calls: [],
    source: "fn m_idiv(x: i32, y: i32) -> i32 {\n  let q: i32 = x / y;\n  return select(q, q - 1, x - q * y < 0);\n}",
  },
};
