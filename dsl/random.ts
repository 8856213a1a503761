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
export function normalAt(key: Words, counter: number): number {
  const [x0, x1] = threefry(key, [counter >>> 0, Math.floor(counter / 2 ** 32) >>> 0]);
  const u = ((x0 >>> 8) + 1) * 2 ** -24;
  const v = (x1 >>> 8) * 2 ** -24;
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
}
/** One draw; loops over many counters take the key's words once. */
export const draw = (kind: "uniform" | "normal", key: string, extend: readonly number[], counter: number): number =>
  (kind === "uniform" ? uniformAt : normalAt)(keyWords(key, extend), counter);
