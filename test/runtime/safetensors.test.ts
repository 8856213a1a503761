// Checkpoints: what is written is read, and nothing but a whole, consistent file is.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fc, test } from "@fast-check/vitest";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import type { DType } from "../../dsl/node.js";
import { fromStorage, storage } from "../../runtime/host.js";
import { readSafetensors, SafetensorsError, type Tensor, writeSafetensors } from "../../runtime/safetensors.js";
import { GOLDEN, needs } from "../require.js";

const temp = mkdtempSync(join(tmpdir(), "mallard-safetensors-"));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
const path = join(temp, "t.safetensors");
const right = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};

const tensor: fc.Arbitrary<Tensor> = fc
  .record({
    dtype: fc.constantFrom<DType>("f32", "f64", "bf16", "f16", "i32", "bool"),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
    seed: fc.integer(),
  })
  .map(({ dtype, shape, seed }) => {
    const n = shape.reduce((p, s) => p * s, 1);
    const bits = storage(dtype, n);
    const bytes = new Uint8Array(bits.buffer);
    let s = seed;
    for (let i = 0; i < bytes.length; i++) {
      s = (Math.imul(s, 1664525) + 1013904223) | 0;
      bytes[i] = dtype === "bool" ? (s >>> 24) & 1 : s >>> 24;
    }
    return { dtype, shape, data: fromStorage(dtype, bits) };
  });
const names = fc
  .oneof(fc.string({ unit: "binary" }), fc.constantFrom("__proto__", "constructor", "0", "", "layers.0.w", 'ü\n"'))
  .filter((n) => n !== "__metadata__");

test.prop([
  fc.uniqueArray(fc.tuple(names, tensor), { selector: ([n]) => n, maxLength: 8 }),
  fc.uniqueArray(fc.tuple(names, fc.string()), { selector: ([n]) => n, maxLength: 3 }),
])("what is written is read back, bit for bit", async (tensors, metadata) => {
  right(await writeSafetensors(path, new Map(tensors), new Map(metadata)));
  const back = right(await readSafetensors(path));
  expect(back.tensors.size).toBe(tensors.length);
  for (const [name, t] of tensors) expect(back.tensors.get(name)).toEqual(t);
  expect(new Map(back.metadata)).toEqual(new Map(metadata));
});

const example = async (): Promise<Buffer> => {
  right(
    await writeSafetensors(
      path,
      new Map<string, Tensor>([
        ["w", { dtype: "f32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
        ["mask", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }],
        ["step", { dtype: "i32", shape: [], data: Int32Array.of(7) }],
      ]),
      new Map([["format", "mallard"]]),
    ),
  );
  return readFileSync(path);
};
const faultOf = async (bytes: Uint8Array) => {
  writeFileSync(path, bytes);
  const r = await readSafetensors(path);
  if (E.isRight(r)) throw new Error("was read");
  if (!(r.left instanceof SafetensorsError)) throw r.left;
  expect(r.left.message).toContain(path);
  return r.left.fault;
};
/** A file of this header over so many bytes of data. */
const file = (header: unknown, data: number): Buffer => {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(data)]);
};
const f32 = (start: number, end: number, shape: unknown = [(end - start) / 4]) => ({ dtype: "F32", shape, data_offsets: [start, end] });

describe("a file", () => {
  it("is the same for the same tensors in any order, aligned, and the format's own", async () => {
    const one = await example();
    const header = JSON.parse(one.subarray(8, 8 + Number(one.readBigUInt64LE(0))).toString());
    expect(header).toEqual({
      __metadata__: { format: "mallard" },
      step: { dtype: "I32", shape: [], data_offsets: [0, 4] },
      w: f32(4, 28, [2, 3]),
      mask: { dtype: "BOOL", shape: [3], data_offsets: [28, 31] },
    });
    expect(Number(one.readBigUInt64LE(0)) % 8).toBe(0);
    const t: [string, Tensor][] = [...right(await readSafetensors(path)).tensors];
    right(await writeSafetensors(path, new Map(t.reverse()), new Map([["format", "mallard"]])));
    expect(readFileSync(path).equals(one)).toBe(true);
    expect(readdirSync(temp)).toEqual(["t.safetensors"]);
  });
  it("cut off anywhere is refused", async () => {
    const whole = await example();
    for (let n = 0; n < whole.length; n++) expect((await faultOf(whole.subarray(0, n))).kind).toBe("Truncated");
  });
  it("with bytes behind the data is refused", async () => {
    expect((await faultOf(Buffer.concat([await example(), Buffer.alloc(1)]))).kind).toBe("Ranges");
  });
  it.each<[string, Buffer, string]>([
    ["a header of a terabyte", Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 1, 0, 0]), Buffer.alloc(100)]), "Header"],
    ["a header that is not JSON", file("{nothing", 0), "Header"],
    ["a header that is a list", file("[]", 0), "Header"],
    ["a header that begins with a blank", file(" {}", 0), "Header"],
    ["a header that is not UTF-8", file("{}", 0).fill(0xff, 9, 10), "Header"],
    ["metadata that is no object", file({ __metadata__: 5 }, 0), "Header"],
    ["metadata that is not text", file({ __metadata__: { a: 5 } }, 0), "Header"],
    ["a tensor that is no object", file({ a: null }, 0), "Tensor"],
    ["no dtype", file({ a: { shape: [], data_offsets: [0, 4] } }, 4), "Tensor"],
    ["a dtype of another kind", file({ a: { dtype: "I64", shape: [], data_offsets: [0, 8] } }, 8), "UnsupportedDType"],
    ["a dtype from the prototype", file({ a: { dtype: "constructor", shape: [], data_offsets: [0, 8] } }, 8), "UnsupportedDType"],
    ["a negative size", file({ a: f32(0, 4, [-1]) }, 4), "Tensor"],
    ["a size that is no integer", file({ a: f32(0, 4, [0.5, 2]) }, 4), "Tensor"],
    ["a shape that is no list", file({ a: f32(0, 4, "4") }, 4), "Tensor"],
    ["a shape beyond numbers", file({ a: f32(0, 4, [2 ** 40, 2 ** 40]) }, 4), "Tensor"],
    ["a range that does not fit the shape", file({ a: f32(0, 8, [3]) }, 8), "Tensor"],
    ["a range that runs backwards", file({ a: f32(4, 0, [1]) }, 4), "Tensor"],
    ["three offsets", file({ a: { dtype: "F32", shape: [1], data_offsets: [0, 4, 8] } }, 4), "Tensor"],
    ["an overlap", file({ a: f32(0, 8), b: f32(4, 12) }, 12), "Ranges"],
    ["a gap", file({ a: f32(0, 4), b: f32(8, 12) }, 12), "Ranges"],
    ["two tensors in one place", file({ a: f32(0, 4), b: f32(0, 4) }, 4), "Ranges"],
    ["a range beyond the end", file({ a: f32(0, 400) }, 4), "Truncated"],
    ["a BOOL of 2", Buffer.concat([file({ a: { dtype: "BOOL", shape: [1], data_offsets: [0, 1] } }, 0), Buffer.of(2)]), "Tensor"],
  ])("with %s is refused", async (_, bytes, kind) => {
    expect((await faultOf(bytes)).kind).toBe(kind);
  });
  test.prop([fc.nat(), fc.integer({ min: 0, max: 255 })])("with any byte changed is read or refused with a typed error", async (at, value) => {
    const bytes = await example();
    bytes[at % bytes.length] = value;
    writeFileSync(path, bytes);
    const r = await readSafetensors(path);
    if (E.isLeft(r)) expect(r.left).toBeInstanceOf(SafetensorsError);
    else expect(r.right.tensors.size).toBeGreaterThan(0);
  });
  it("that is not there is a file error; tensors that do not fit are not written", async () => {
    const missing = await readSafetensors(join(temp, "none"));
    expect(E.isLeft(missing) && missing.left.name).toBe("FileError");
    const before = await example();
    for (const t of [
      { dtype: "f32", shape: [3], data: new Float32Array(2) },
      { dtype: "bool", shape: [1], data: Uint8Array.of(2) },
      { dtype: "i32", shape: [1], data: Float32Array.of(0.5) },
    ] as const) {
      const r = await writeSafetensors(path, new Map([["w", t]]));
      expect(E.isLeft(r) && r.left).toBeInstanceOf(SafetensorsError);
    }
    expect(E.isLeft(await writeSafetensors(path, new Map([["__metadata__", { dtype: "f32", shape: [], data: new Float32Array(1) }]])))).toBe(true);
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

describe.skipIf(!(await needs("golden")))("the golden runs' files", () => {
  it("are read", async () => {
    const { tensors } = right(await readSafetensors(join(GOLDEN, "seed1", "llama.safetensors")));
    expect(tensors.get("model.embed_tokens.weight")).toMatchObject({ dtype: "f32", shape: [47, 40] });
    expect([...tensors.values()].every((t) => t.data.every(Number.isFinite))).toBe(true);
  });
});
