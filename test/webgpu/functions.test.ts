// How accurate WGSL's functions are as the software adapter computes them, small arguments included, and that they pass NaN on:
// WGSL promises neither, and a trainer looks for NaN to find that it diverged.
import { isLeft } from "fp-ts/lib/Either.js";
import { expect, it } from "vitest";
import { apply, type Buffer } from "../../compiler/lower/expr.js";
import { createWebgpu } from "../../runtime/devices/webgpu/index.js";
import { barOf, expectFunctions } from "../gpujs/functions.js";
import { at, axis, input, into, output, plan } from "../gpujs/plans.js";
import { needs } from "../require.js";

it.skipIf(!(await needs("dawn", "browser")))("WGSL's functions are as accurate as documented, and NaN goes through them", async () => {
  const made = await createWebgpu({ adapter: "software", processor: false });
  if (isLeft(made)) throw made.left;
  using d = made.right;
  // A product and a sum where fma is not one operation.
  await expectFunctions(d, (p) => (p === "fma" ? 64 : barOf(p)), false);
  const n = axis("n", 3);
  const x = input("x", "f32", [n]);
  const passing = ["exp", "log", "log1p", "expm1", "tanh", "sin", "cbrt", "sqrt", "asinh", "atan", "toBf16", "toF16"] as const;
  const outputs = passing.map((p) => output(`out_${p}`, "f32", [n]));
  const nests = passing.map((p, k) => ({
    form: "map" as const,
    name: p,
    nodes: [],
    axes: [n],
    stores: [into(outputs[k] as Buffer, [n], apply(p, "real", at(x, n)))],
  }));
  using program = await d.compile(plan(nests, [x, ...outputs]));
  using s = await d.alloc([]);
  // Every pattern of bits that GPUs make: the usual quiet NaN, NVIDIA's, and a negative one.
  const values = new Float32Array(Uint32Array.of(0x7fc00000, 0x7fffffff, 0xffc00001).buffer);
  const got = await program.run(s, { x: values }, new Map());
  for (const p of passing) expect([...(got[`out_${p}`] as Float32Array)], p).toEqual([Number.NaN, Number.NaN, Number.NaN]);
});
