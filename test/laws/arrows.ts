// Arrow functions for samples and for random programs, where every reader of a function can find its text.
import type { R } from "../graph/loose.js";

export type Two = { readonly a: number; readonly b: number };
export type Three = Two & { readonly c: number };
/** Smooth, and bounded by their arguments: chains of them neither overflow nor lose their digits. */
export const smooth = {
  tanh: ({ a }: Two) => Math.tanh(a),
  sine: ({ a }: Two) => Math.sin(a) + 0.5 * Math.cos(2 * a),
  bell: ({ a }: Two) => Math.exp(-0.5 * a * a),
  logistic: ({ a }: Two) => 1 / (1 + Math.exp(-a)),
  softplus: ({ a }: Two) => Math.log1p(Math.exp(-Math.abs(a))) + Math.max(a, 0),
  root: ({ a }: Two) => Math.sqrt(1 + a * a),
  angle: ({ a }: Two) => Math.atan(a) / 2,
  square: ({ a }: Two) => (a * a) / (1 + a * a),
  product: ({ a, b }: Two) => a * Math.tanh(b),
  gate: ({ a, b }: Two) => a / (1 + Math.exp(-b)),
  mixture: ({ a, b }: Two) => 0.75 * a - 0.5 * b,
  ratio: ({ a, b }: Two) => a / (2 + b * b),
  distance: ({ a, b }: Two) => Math.sqrt(a * a + b * b + 0.25),
  affine: ({ a, b, c }: Three) => Math.tanh(a) * b + 0.5 * c,
  blend: ({ a, b, c }: Three) => {
    const t = 1 / (1 + Math.exp(-c));
    return a * t + b * (1 - t);
  },
} as const;
/** Exact on small multiples of a power of two. */
export const exact = {
  add: ({ a, b }: Two) => a + b,
  sub: ({ a, b }: Two) => a - b,
  mul: ({ a, b }: Two) => a * b,
  least: ({ a, b }: Two) => Math.min(a, b),
  most: ({ a, b }: Two) => Math.max(a, b),
  clip: ({ a }: Two) => Math.max(-1, Math.min(1.5, a)),
  absolute: ({ a }: Two) => Math.abs(a),
  floor: ({ a }: Two) => Math.floor(a),
  ceil: ({ a }: Two) => Math.ceil(a),
  round: ({ a }: Two) => Math.round(a),
  trunc: ({ a }: Two) => Math.trunc(a),
  sign: ({ a }: Two) => Math.sign(a),
  remainder: ({ a }: Two) => a % 1.5,
  choose: ({ a, b, c }: Three) => (a > b ? c : a),
  relu: ({ a }: Two) => {
    if (a <= 0) return 0;
    return a;
  },
  half: ({ a }: Two) => 0.5 * a,
} as const;
/** From exact values to truth values. */
export const tests = {
  above: ({ a, b }: Two) => a > b,
  atMost: ({ a, b }: Two) => a <= b,
  same: ({ a, b }: Two) => a === b,
  within: ({ a, b }: Two) => Math.abs(a - b) < 1 || !(a < 0 && b !== 0.5),
} as const;
/** Over masks. */
export const logic = {
  both: ({ p, q }: { p: boolean; q: boolean }) => p && q,
  either: ({ p, q }: { p: boolean; q: boolean }) => p || !q,
  number: ({ p }: { p: boolean }) => (p ? 1 : 0),
} as const;
export const keep = ({ p, a }: { p: boolean; a: number }) => (p ? a : 0);
export const choose = ({ p, a, b }: { p: boolean; a: number; b: number }) => (p ? a : b);
export const cut = ({ p, a }: { p: boolean; a: number }) => (p ? a : -Infinity);

/** Components of monoids. */
export const monoids = {
  /** x ↦ a·x + b, applied from the left. */
  linear: {
    empty: { a: 1, b: 0 },
    concat: (x: R, y: R) => ({ a: x.a * y.a, b: x.b * y.a + y.b }),
  },
  online: {
    empty: { m: -Infinity, l: 0, o: 0 },
    concat: (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      const p = x.m === m ? 1 : Math.exp(x.m - m);
      const q = y.m === m ? 1 : Math.exp(y.m - m);
      return { m, l: x.l * p + y.l * q, o: x.o * p + y.o * q };
    },
  },
  /** Products of 2×2 matrices do not commute. */
  matrix: {
    empty: { a: 1, b: 0, c: 0, d: 1 },
    concat: (x: R, y: R) => ({
      a: x.a * y.a + x.b * y.c,
      b: x.a * y.b + x.b * y.d,
      c: x.c * y.a + x.d * y.c,
      d: x.c * y.b + x.d * y.d,
    }),
  },
  moments: {
    empty: { n: 0, s: 0, q: 0 },
    concat: (x: R, y: R) => ({ n: x.n + y.n, s: x.s + y.s, q: x.q + y.q }),
  },
} as const;
