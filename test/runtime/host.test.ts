// The conversions between a user's numbers and 16-bit storage, bit by bit.
import { fc, test } from "@fast-check/vitest";
import * as E from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { fromBf16, fromF16, toF16, toStorage } from "../../runtime/host.js";

const one = (dtype: "bf16" | "f16", x: number): number => {
  const r = toStorage("x", dtype, [x]);
  if (E.isLeft(r)) throw r.left;
  return r.right[0]!;
};
const formats = [
  ["bf16", fromBf16, 0x7f80],
  ["f16", fromF16, 0x7c00],
] as const;

describe.each(formats)("%s", (dtype, from, infinity) => {
  it("keeps each of its 65,536 values, NaN as NaN", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const x = from(bits);
      if (Number.isNaN(x)) expect(from(one(dtype, x))).toBeNaN();
      else if (one(dtype, x) !== bits) expect([bits, one(dtype, x)]).toEqual([bits, bits]);
    }
  });
  it("rounds to nearest, ties to even, at every boundary between two neighbours", () => {
    for (let bits = 0; bits < infinity - 1; bits++) {
      const [a, b] = [from(bits), from(bits + 1)];
      const middle = (a + b) / 2; // exact in f64
      const up = middle * (1 + 2 ** -52);
      const down = middle * (1 - 2 ** -53);
      const even = bits % 2 === 0 ? bits : bits + 1;
      const seen = [one(dtype, middle), one(dtype, up), one(dtype, down), one(dtype, -middle)];
      const expected = [even, bits + 1, bits, even | 0x8000];
      if (seen.some((s, i) => s !== expected[i])) expect({ bits, seen }).toEqual({ bits, seen: expected });
    }
  });
  it("overflows to infinity from half a unit above its greatest value on", () => {
    const greatest = from(infinity - 1);
    const unit = greatest - from(infinity - 2);
    expect(one(dtype, greatest + unit / 2)).toBe(infinity);
    expect(one(dtype, (greatest + unit / 2) * (1 - 2 ** -53))).toBe(infinity - 1);
    expect(one(dtype, Number.NEGATIVE_INFINITY)).toBe(infinity | 0x8000);
    expect(one(dtype, Number.MAX_VALUE)).toBe(infinity);
    expect(one(dtype, 5e-324)).toBe(0);
    expect(one(dtype, -5e-324)).toBe(0x8000);
  });
});

test.prop([fc.double({ noNaN: true })])("the nearest of two neighbours is chosen (f16)", (x) => {
  const bits = toF16(x) & 0x7fff;
  const error = Math.abs(fromF16(bits) - Math.abs(x));
  if (bits < 0x7c00 && bits > 0) expect(error).toBeLessThanOrEqual(Math.abs(fromF16(bits - 1) - Math.abs(x)));
  if (bits < 0x7bff) expect(error).toBeLessThanOrEqual(Math.abs(fromF16(bits + 1) - Math.abs(x)));
});
test.prop([fc.float64Array()])("f32 is rounded as Math.fround does", (xs) => {
  const r = toStorage("x", "f32", xs);
  expect(E.isRight(r) && [...r.right]).toEqual([...xs].map(Math.fround));
});
