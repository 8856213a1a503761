// A weight's first values are the same bits on every device: JavaScript and C run the same operations.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { model } from "../../dsl/index.js";
import type { Leaf } from "../../dsl/node.js";
import { keyWords, normalAt, threefry } from "../../dsl/random.js";
import { openSession, weight } from "../../index.js";
import { initial } from "../../runtime/session.js";
import { needs } from "../require.js";

const native = await needs("compiler");

const leafOf = (size: number, std: number): Leaf => model({ w: weight({ i: size }, {}, { std }) }, {}, ({ w }) => w).params.w as unknown as Leaf;

describe("first values of weights", () => {
  it.skipIf(!native).each([1, 2, 3])("native: the bits that JavaScript computes, on %i threads", async (threads) => {
    const opened = await openSession("native", { threads });
    if (isLeft(opened)) throw opened.left;
    using session = opened.right;
    for (const [size, std, seed] of [
      [1, 1, 0],
      [7, 0.02, 3],
      [100_003, 0.125, 2 ** 31],
    ] as const) {
      const leaf = { ...leafOf(size, std), name: `w${size}` };
      await session.initialise([leaf], seed);
      expect(await session.read(leaf.name)).toEqual(initial(leaf, seed));
    }
  });
  it.skipIf(!native)("native: bf16 weights are these, rounded", async () => {
    const opened = await openSession("native", { threads: 2 });
    if (isLeft(opened)) throw opened.left;
    using session = opened.right;
    const leaf: Leaf = { ...leafOf(5001, 0.3), dtype: "bf16" };
    await session.initialise([leaf], 1);
    const drawn = await session.read(leaf.name);
    await session.write(leaf.name, initial(leaf, 1));
    expect(drawn).toEqual(await session.read(leaf.name));
  });
  it("are Box and Muller's of the platform's functions, to f64's last digits", () => {
    const key = keyWords("law", [5]);
    for (let i = 0; i < 50_000; i++) {
      const [x0, x1] = threefry(key, [i, 0]);
      const r = Math.sqrt(-2 * Math.log(((x0 >>> 8) + 1) * 2 ** -24));
      const want = r * Math.cos(2 * Math.PI * ((x1 >>> 8) * 2 ** -24));
      // The platform's cosine is of a rounded angle: off by 2π·2^-53 near its zeros.
      expect(Math.abs(normalAt(key, i) - want)).toBeLessThanOrEqual(2e-15 * r + 1e-300);
    }
  });
});
