import { describe, expect, test } from "vitest";
import { generate, sample, TextStream } from "../../runtime/train/generate.js";
import { fakeProgram } from "./fake-program.js";

const greedy = { temperature: 0, topK: null, seed: 0 };
async function collect(bytes: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const byte of bytes) all.push(byte);
  return all;
}

describe("generation", () => {
  test("feeds the prompt once and then each new byte at its position", async () => {
    const program = fakeProgram();
    expect(await collect(generate(program, 8, Uint8Array.of(65, 66), 3, greedy))).toEqual([67, 68, 69]);
    expect(program.decoded).toEqual([
      { at: 0, tokens: [65, 66] },
      { at: 2, tokens: [67] },
      { at: 3, tokens: [68] },
    ]);
  });
  test("goes on past the window from its last half, and never feeds a position beyond it", async () => {
    const program = fakeProgram();
    const bytes = await collect(generate(program, 4, Uint8Array.of(10), 9, greedy));
    expect(bytes).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19]);
    expect(program.decoded.every(({ at, tokens }) => at + tokens.length <= 4)).toBe(true);
    expect(program.decoded[4]).toEqual({ at: 0, tokens: [13, 14] });
  });
  test("keeps the end of a prompt that is longer than the window; an empty one starts after a line's end", async () => {
    const long = fakeProgram();
    await collect(generate(long, 4, Uint8Array.of(1, 2, 3, 4, 5, 6), 1, greedy));
    expect(long.decoded).toEqual([{ at: 0, tokens: [3, 4, 5, 6] }]);
    const empty = fakeProgram();
    expect(await collect(generate(empty, 4, new Uint8Array(), 1, greedy))).toEqual([11]);
  });
  test("works with a window of one byte", async () => {
    expect(await collect(generate(fakeProgram(), 1, Uint8Array.of(7, 8), 3, greedy))).toEqual([9, 10, 11]);
  });
  test("the same seed draws the same text, another seed another", async () => {
    const draw = (seed: number): Promise<number[]> =>
      collect(generate(fakeProgram(), 8, Uint8Array.of(65), 40, { temperature: 8, topK: null, seed }));
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });
});

describe("sampling", () => {
  const logits = Float32Array.of(0, Math.log(3), Math.log(4), -Infinity);
  test("follows softmax over the likeliest first", () => {
    const at = (u: number): number => sample(logits, { temperature: 1, topK: null }, u);
    expect([at(0), at(0.49), at(0.51), at(0.874), at(0.876), at(1 - 2 ** -53)]).toEqual([2, 2, 1, 1, 0, 0]);
  });
  test("top-k cuts, temperature sharpens, 0 takes the likeliest, ties go to the lower byte", () => {
    expect(sample(logits, { temperature: 1, topK: 2 }, 0.999)).toBe(1);
    expect(sample(logits, { temperature: 1e-3, topK: null }, 0.999)).toBe(2);
    expect(sample(logits, { temperature: 0, topK: null }, 0.999)).toBe(2);
    expect(sample(new Float32Array(4), { temperature: 0, topK: null }, 0)).toBe(0);
  });
  test("refuses logits that are not finite", () => {
    expect(() => sample(new Float32Array(4).fill(Number.NaN), greedy, 0.5)).toThrow(/no byte can be drawn/);
  });
});

describe("text", () => {
  const show = (bytes: Uint8Array): string[] => {
    const stream = new TextStream();
    return [...Array.from(bytes, (b) => stream.push(b)), stream.end()];
  };
  test("a character comes whole, with its last byte", () => {
    expect(show(Buffer.from("é€😀"))).toEqual(["", "é", "", "", "€", "", "", "", "😀", ""]);
  });
  test("bytes that are no UTF-8 become U+FFFD, control characters their pictures", () => {
    expect(show(Uint8Array.of(0xff, 0x41, 0xc3)).join("")).toBe("\ufffdA\ufffd");
    expect(show(Buffer.from("a\tb\n\u001b[2J\u007f\u009b")).join("")).toBe("a\tb\n␛[2J␡\ufffd");
  });
});
