// State lies as its leaf does, whatever order the axes of its new value have: on every device the same numbers at the same
// indices.
import { describe, expect, it } from "vitest";
import { leaf } from "../../dsl/build.js";
import type { Node } from "../../dsl/node.js";
import { loose as l } from "../graph/loose.js";
import { open, targets } from "./targets.js";

const sizes = { i: 3, j: 4, k: 5 };
const shapes = { v: { i: 3, k: 5 }, p: { k: 5, j: 4 } } as const;
const v = Float64Array.from({ length: 15 }, (_, n) => Math.fround(Math.sin(n)));
const p = Float64Array.from({ length: 20 }, (_, n) => Math.fround(Math.cos(3 * n)));
const want = Array.from({ length: 12 }, (_, n) => {
  const [i, j] = [Math.floor(n / sizes.j), n % sizes.j];
  return Array.from({ length: sizes.k }, (_, k) => (v[i * sizes.k + k] as number) * (p[k * sizes.j + j] as number)).reduce((a, b) => a + b);
});

describe.each(["js" as const, ...targets])("on %s", (device) => {
  it.each([
    ["in its leaf's order", false],
    ["in the other order", true],
  ])("a product that becomes state, its axes %s", async (_, turned) => {
    using session = await open(device);
    const w = leaf("state", "w", { i: 3, j: 4 }, "f32");
    const [a, b] = [leaf("input", "v", shapes.v, "f32"), leaf("input", "p", shapes.p, "f32")];
    const product: Node = turned ? l.dot(b, a, "k") : l.dot(a, b, "k");
    expect(Object.keys(product.axes)).toEqual(turned ? ["j", "i"] : ["i", "j"]);
    await session.hold([w]);
    const program = await session.program({ name: "turned", inputs: { v: a, p: b }, outputs: {}, updates: [{ leaf: w, value: product }] });
    await program.run({ v, p });
    [...(await session.read("w"))].forEach((x, n) => {
      expect(x).toBeCloseTo(want[n] as number, 5);
    });
  });
});
