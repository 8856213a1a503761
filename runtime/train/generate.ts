// Text from a model, byte by byte. The program gives logits after a prefix of at most `time` bytes and keeps a cache of
// what it has read; this file samples, and goes on past the window: when it is full, the last half is read anew.
//
// Sampling is deterministic: the random number of the n-th byte is a function of (seed, n).
import { unit } from "../data/batches.js";
import type { TrainingProgram } from "./program.js";

export interface Sampling {
  /** 0 takes the likeliest byte; above, logits are divided by it. */
  readonly temperature: number;
  /** Only the k likeliest; null for all. */
  readonly topK: number | null;
  readonly seed: number;
}

export async function* generate(
  program: Pick<TrainingProgram, "decode">,
  time: number,
  prompt: Uint8Array,
  count: number,
  sampling: Sampling,
): AsyncGenerator<number, void, void> {
  // A model reads at least one byte; without a prompt it starts after a line's end.
  const text = prompt.length > 0 ? Array.from(prompt.subarray(-time)) : [10];
  let fed = 0;
  for (let n = 0; n < count; n++) {
    if (text.length > time) {
      text.splice(0, text.length - Math.max(1, time >> 1));
      fed = 0;
    }
    const logits = await program.decode(Int32Array.from(text.slice(fed)), fed);
    fed = text.length;
    const byte = sample(logits, sampling, unit(sampling.seed, n));
    yield byte;
    text.push(byte);
  }
}

/** The index that u in [0, 1) chooses from softmax(logits / temperature), among the k likeliest. */
export function sample(logits: Float32Array, { temperature, topK }: Pick<Sampling, "temperature" | "topK">, u: number): number {
  const order = Array.from({ length: logits.length }, (_, i) => i).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const first = order[0]!;
  if (!Number.isFinite(logits[first]!) || logits.length === 0) throw new RangeError(`no byte can be drawn: the greatest logit is ${logits[first]}`);
  if (temperature === 0) return first;
  const kept = topK === null ? order : order.slice(0, topK);
  const weights = kept.map((i) => Math.exp((logits[i]! - logits[first]!) / temperature));
  let left = u * weights.reduce((a, b) => a + b, 0);
  for (let k = 0; k < kept.length; k++) {
    left -= weights[k]!;
    if (left < 0) return kept[k]!;
  }
  return kept[kept.length - 1]!;
}

/** Bytes to text as they come: a character is given when its last byte has arrived, bytes that are no UTF-8 become
 *  U+FFFD, and control characters other than tab and line ends (which could drive a terminal) become their pictures. */
export class TextStream {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  push(byte: number): string {
    return shown(this.#decoder.decode(Uint8Array.of(byte), { stream: true }));
  }
  end(): string {
    return shown(this.#decoder.decode());
  }
}
const shown = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced
  text.replace(/[\u0000-\u0008\u000b-\u000c\u000e-\u001f\u007f-\u009f]/g, (c) => {
    const code = c.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : "\ufffd";
  });
