// Which bytes a step sees. A sequence's place in the text is a function of (seed, step, row) alone, never of what was
// drawn before: a resumed run goes on with the very batches an unbroken one would have seen, and accumulating k small
// batches sees the same sequences as one batch k times as large. Validation batches do not depend on the seed, so that
// runs are comparable.

/** Row-major [sequence, time]; `next` is `tokens` one byte later. */
export interface Batch {
  readonly tokens: Int32Array;
  readonly next: Int32Array;
}
export interface BatchShape {
  readonly sequences: number;
  readonly time: number;
}

/** The batch of a training step: sequences at random places of the text. Needs text.length > time. */
export function trainingBatch(text: Uint8Array, shape: BatchShape, seed: number, step: number): Batch {
  const places = Array.from({ length: shape.sequences }, (_, row) => below(text.length - shape.time, seed, step, row));
  return gather(text, shape, places);
}

/** Up to `count` batches whose sequences stand evenly spaced over the whole text; they overlap only where the text is
 *  too short for so many. Batch b takes the places b, b + count, …: so does every prefix cover the whole text. */
export function validationBatches(text: Uint8Array, shape: BatchShape, count: number): Batch[] {
  const last = text.length - shape.time - 1;
  const total = count * shape.sequences;
  return Array.from({ length: count }, (_, batch) =>
    gather(
      text,
      shape,
      Array.from({ length: shape.sequences }, (_, row) => (total === 1 ? 0 : Math.floor(((row * count + batch) * last) / (total - 1)))),
    ),
  );
}

function gather(text: Uint8Array, { sequences, time }: BatchShape, places: readonly number[]): Batch {
  const tokens = new Int32Array(sequences * time);
  const next = new Int32Array(sequences * time);
  places.forEach((place, row) => {
    tokens.set(text.subarray(place, place + time), row * time);
    next.set(text.subarray(place + 1, place + time + 1), row * time);
  });
  return { tokens, next };
}

/** A number in [0, 1) from its key: 53 bits, each input mixed in by MurmurHash3's finaliser. */
export function unit(...key: readonly number[]): number {
  let high = 0x9e3779b9;
  let low = 0x243f6a88;
  for (const k of key) {
    high = mix(high ^ mix(k ^ 0x85ebca6b));
    low = mix(low ^ mix(k ^ 0xc2b2ae35) ^ high);
  }
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}
const below = (n: number, ...key: readonly number[]): number => Math.floor(unit(...key) * n);

function mix(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
