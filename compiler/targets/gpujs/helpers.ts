// Functions that a kernel calls because gpu.js has no exact form of them in f32: the remainder, fma, and rounding to the
// storage types. All in f32: gpu.js passes even Integer arguments and results through f32. Written in the subset that gpu.js parses. `fround` is the identity in `webasm` (all is f32 there) and
// does the rounding in `cpu` (all is f64 there), so one text gives the same bits in both.

export type Helper = "mallardFmod" | "mallardFma" | "mallardToBf16" | "mallardToF16";
export interface HelperFunction {
  readonly source: string;
  readonly argumentTypes: readonly "Number"[];
  readonly returnType: "Number";
}

/** Rounds x to a format with `digits` fraction bits whose least positive number is 2^`least`; `overflow` and above is ∞.
 *  The power of two below |x| comes from log2 and is corrected: near a power its f32 logarithm rounds up. */
const rounded = (name: Helper, digits: number, least: number, overflow: number): string => `function ${name}(x) {
  let a = Math.abs(x);
  let top = Infinity;
  let r = x;
  if (a > 0) {
    if (a < top) {
      let power = Math.fround(Math.pow(2, Math.floor(Math.fround(Math.log2(a)))));
      if (power > a) { power = power * 0.5; }
      let two = 2;
      let next = power * two;
      if (next <= a) { power = next; }
      let step = Math.max(power * ${2 ** -digits}, ${2 ** least});
      let magic = 8388608;
      let whole = Math.fround(Math.fround(a / step) + magic) - magic;
      let v = whole * step;
      if (v >= ${overflow}) { v = top; }
      r = x < 0 ? -v : v;
    }
  }
  return r;
}`;

const real = (source: string, arity: number): HelperFunction => ({
  source,
  argumentTypes: Array.from({ length: arity }, () => "Number" as const),
  returnType: "Number",
});
export const helpers: Readonly<Record<Helper, HelperFunction>> = {
  // JavaScript's %: the dividend is reduced by the divisor times falling powers of two; every subtraction is exact.
  mallardFmod: real(
    `function mallardFmod(x, y) {
  let b = Math.abs(y);
  let r = Math.abs(x);
  let top = Infinity;
  let zero = 0;
  let out = x;
  if (r < top && b > zero) {
    if (r >= b) {
      let t = b;
      let half = r * 0.5;
      for (let i = 0; i < 300; i++) {
        if (t <= half) { t = t + t; }
      }
      for (let j = 0; j < 300; j++) {
        if (t >= b) {
          if (r >= t) { r = r - t; }
          t = t * 0.5;
        }
      }
      out = x < zero ? -r : r;
    }
  } else {
    out = zero / zero;
  }
  if (y !== y) { out = y; }
  return out;
}`,
    2,
  ),
  // a·b + c with the product's and the sum's rounding errors carried along (Dekker 1971, Knuth's two-sum). Factors too
  // large to split, and results that are not finite, take the plain form.
  mallardFma: real(
    `function mallardFma(x, y, z) {
  let p = Math.fround(x * y);
  let s = Math.fround(p + z);
  let out = s;
  let big = Math.max(Math.abs(x), Math.abs(y));
  if (big < ${2 ** 112} && Math.abs(p) < ${2 ** 127} && Math.abs(s) < ${2 ** 127} && Math.abs(p) > ${2 ** -100}) {
    let split = 4097;
    let cx = Math.fround(split * x);
    let hx = Math.fround(cx - Math.fround(cx - x));
    let lx = Math.fround(x - hx);
    let cy = Math.fround(split * y);
    let hy = Math.fround(cy - Math.fround(cy - y));
    let ly = Math.fround(y - hy);
    let e1 = Math.fround(Math.fround(hx * hy) - p);
    let e2 = Math.fround(e1 + Math.fround(hx * ly));
    let e3 = Math.fround(e2 + Math.fround(lx * hy));
    let e = Math.fround(e3 + Math.fround(lx * ly));
    let v = Math.fround(s - p);
    let d = Math.fround(Math.fround(p - Math.fround(s - v)) + Math.fround(z - v));
    out = Math.fround(s + Math.fround(d + e));
  }
  return out;
}`,
    3,
  ),
  mallardToBf16: real(rounded("mallardToBf16", 7, -133, 2 ** 128), 1),
  mallardToF16: real(rounded("mallardToF16", 10, -24, 65520), 1),
};
