// Counter-based random numbers: a draw is a pure function of (key, extend, counter), so that it is the same whatever the
// order, the thread or the target, and never needs state. The generator is Threefry-2x32 with 20 rounds (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): only 32-bit additions, rotations and exclusive ors, so
// that every target has it exactly and vectors run it at full width.
//
//   key     FNV-1a of the label's UTF-8 bytes, from two offset bases, gives (k0, k1)
//   extend  for each integer e at position p: k := threefry(k, (e, p))
//   draw    (x0, x1) = threefry(k, (counter mod 2^32, ⌊counter / 2^32⌋))
//   uniform ⌊x0 / 2^8⌋ · 2^-24, in [0, 1)
//   normal  √(−2 ln u) · cos(2π v), u = (⌊x0 / 2^8⌋ + 1) · 2^-24 in (0, 1], v = ⌊x1 / 2^8⌋ · 2^-24   (Box–Muller)
//
// In f64 logarithm and cosine are the series below, of additions, multiplications and one division in a fixed order, not the
// platform's functions: so a weight's first values have the same bits under every version of the language's engine and in C
// (runtime/devices/native/fill-source.ts).

/** Two unsigned 32-bit words. */
export type Words = readonly [number, number];

/** Rotation distances of the eight rounds that repeat, and the constant of the third key word. */
export const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
export const PARITY = 0x1bd11bda;
export const ROUNDS = 20;

export function threefry([k0, k1]: Words, [c0, c1]: Words): Words {
  const keys = [k0, k1, (PARITY ^ k0 ^ k1) >>> 0] as const;
  let x0 = (c0 + k0) >>> 0;
  let x1 = (c1 + k1) >>> 0;
  for (let round = 0; round < ROUNDS; round++) {
    const r = ROTATIONS[round % 8] as number;
    x0 = (x0 + x1) >>> 0;
    x1 = (((x1 << r) | (x1 >>> (32 - r))) ^ x0) >>> 0;
    if (round % 4 === 3) {
      const n = (round + 1) / 4;
      x0 = (x0 + (keys[n % 3] as number)) >>> 0;
      x1 = (x1 + (keys[(n + 1) % 3] as number) + n) >>> 0;
    }
  }
  return [x0, x1];
}

function fnv(bytes: Uint8Array, basis: number): number {
  let h = basis;
  for (const b of bytes) h = Math.imul(h ^ b, 0x01000193) >>> 0;
  return h >>> 0;
}
/** The label's own words, before `extend`. */
export function labelWords(key: string): Words {
  const bytes = new TextEncoder().encode(key);
  return [fnv(bytes, 0x811c9dc5), fnv(bytes, 0x9747b28c)];
}
/** The generator's key for a label extended by integers (layer, step, micro-batch, rank). */
export const keyWords = (key: string, extend: readonly number[]): Words =>
  extend.reduce<Words>((k, e, position) => threefry(k, [e >>> 0, position]), labelWords(key));

export function uniformAt(key: Words, counter: number): number {
  const [x0] = threefry(key, [counter >>> 0, Math.floor(counter / 2 ** 32) >>> 0]);
  return (x0 >>> 8) * 2 ** -24;
}

/** 2 artanh(s)/s − 2 in powers of s², highest first: to 2^-53 for |s| ≤ 5/27, which is where ln of [11/16, 11/8] takes it. */
export const LOG_TERMS: readonly number[] = Array.from({ length: 11 }, (_, i) => 2 / (23 - 2 * i));
/** Of the cosine and of sin(x)/x in powers of x², highest first, to 2^-53 for |x| ≤ π/4. */
export const COS_TERMS: readonly number[] = Array.from({ length: 10 }, (_, i) => coefficient(18 - 2 * i));
export const SIN_TERMS: readonly number[] = Array.from({ length: 10 }, (_, i) => coefficient(19 - 2 * i));
/** (−1)^⌊n/2⌋ / n! */
function coefficient(n: number): number {
  let product = 1;
  for (let k = 2; k <= n; k++) product *= k;
  return (Math.floor(n / 2) % 2 === 0 ? 1 : -1) / product;
}
/** Above it a mantissa in [1, 2) is halved. */
export const LOG_SPLIT = 1.375;
/** The angle of one unit of v. */
export const TURN = (2 * Math.PI) / 2 ** 24;
const horner = (terms: readonly number[], x: number): number => {
  let sum = terms[0] as number;
  for (let i = 1; i < terms.length; i++) sum = sum * x + (terms[i] as number);
  return sum;
};
/** ln(k / 2^24), k a whole number from 1 to 2^24. */
function logOf(k: number): number {
  let exponent = 31 - Math.clz32(k);
  let m = k / 2 ** exponent;
  if (m >= LOG_SPLIT) {
    m *= 0.5;
    exponent++;
  }
  const s = (m - 1) / (m + 1);
  const s2 = s * s;
  return (exponent - 24) * Math.LN2 + (s * 2 + s * (s2 * horner(LOG_TERMS, s2)));
}
/** cos(2π j / 2^24), j a whole number below 2^24: by symmetry an angle of at most π/4. */
function cosOf(j: number): number {
  const half = j > 2 ** 23 ? 2 ** 24 - j : j;
  const quarter = half > 2 ** 22 ? 2 ** 23 - half : half;
  const near = quarter <= 2 ** 21;
  const x = (near ? quarter : 2 ** 22 - quarter) * TURN;
  const x2 = x * x;
  const value = near ? horner(COS_TERMS, x2) : x * horner(SIN_TERMS, x2);
  return half > 2 ** 22 ? -value : value;
}
export function normalAt(key: Words, counter: number): number {
  const [x0, x1] = threefry(key, [counter >>> 0, Math.floor(counter / 2 ** 32) >>> 0]);
  return Math.sqrt(-2 * logOf((x0 >>> 8) + 1)) * cosOf(x1 >>> 8);
}
/** One draw; loops over many counters take the key's words once. */
export const draw = (kind: "uniform" | "normal", key: string, extend: readonly number[], counter: number): number =>
  (kind === "uniform" ? uniformAt : normalAt)(keyWords(key, extend), counter);
