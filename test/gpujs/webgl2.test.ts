// gpu.js on WebGL 2, in Chromium: how accurate its functions are, special values, integers; kernels that read more arrays than a
// shader may, and state whose maker is gone.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { apply, type Buffer, type Expr, int, load } from "../../compiler/lower/expr.js";
import { createGpujs, type GpujsDevice } from "../../runtime/devices/gpujs/index.js";
import { page } from "../chromium/remote.js";
import { needs } from "../require.js";
import { barOf, expectFunctions } from "./functions.js";
import { at, axis, input, into, output, plan, state, v } from "./plans.js";

async function device(): Promise<GpujsDevice> {
  const host = await (await page()).gpujs("webgl2");
  if (isLeft(host)) throw host.left;
  const made = await createGpujs({ host: host.right });
  if (isLeft(made)) throw made.left;
  return made.right;
}
describe.skipIf(!(await needs("browser", "gpu.js")))("gpu.js on WebGL 2", () => {
  it("computes functions as accurately as documented, and NaN and infinities where they belong", async () => {
    using d = await device();
    await expectFunctions(d, barOf, true);
  });

  it("divides integers down, remainders have the divisor's sign or the dividend's", async () => {
    const n = axis("n", 441);
    const [x, y] = [input("x", "i32", [n]), input("y", "i32", [n])];
    const names = ["idiv", "imod", "mod", "min", "max", "sign", "abs"] as const;
    const outputs = names.map((p) => output(`out_${p}`, "i32", [n]));
    const nests = names.map((p, k) => {
      const args = p === "sign" || p === "abs" ? [at(x, n)] : [at(x, n), at(y, n)];
      return { form: "map" as const, name: p, nodes: [], axes: [n], stores: [into(outputs[k] as Buffer, [n], apply(p, "int", ...args))] };
    });
    using d = await device();
    using program = await d.compile(plan(nests, [x, y, ...outputs]));
    using s = await d.alloc([]);
    const a = Int32Array.from({ length: 441 }, (_, i) => (Math.floor(i / 21) - 10) * 4099);
    const b = Int32Array.from({ length: 441 }, (_, i) => 1 + (i % 21));
    const got = await program.run(s, { x: a, y: b }, new Map());
    const want: Readonly<Record<(typeof names)[number], (p: number, q: number) => number>> = {
      idiv: (p, q) => Math.floor(p / q),
      imod: (p, q) => p - q * Math.floor(p / q),
      mod: (p, q) => p % q,
      min: Math.min,
      max: Math.max,
      sign: Math.sign,
      abs: Math.abs,
    };
    for (const p of names) expect([...(got[`out_${p}`] as Int32Array)], p).toEqual(Array.from(a, (v, i) => want[p](v, b[i] as number) + 0));
  });

  it("a kernel reads more arrays than a shader has textures; state outlives the program that made it", async () => {
    const n = axis("n", 5);
    const many = Array.from({ length: 40 }, (_, k) => input(`x${k}`, "f32", [axis("m", 3 + k), n]));
    const total = state("total", "f32", [n]);
    const value = many.reduce<Expr>((sum, b, k) => apply("add", "real", sum, load(b, [int(k % 3), v(n)])), at(total, n));
    const add = { form: "map" as const, name: "add", nodes: [], axes: [n], stores: [into(total, [n], value)] };
    using d = await device();
    using s = await d.alloc([{ path: "total", dtype: "f32", elements: 5 }]);
    const given = Object.fromEntries(many.map((b, k) => [b.name, Float32Array.from({ length: (3 + k) * 5 }, (_, i) => k + i)]));
    const first = await d.compile(plan([add], [...many, total]));
    await first.run(s, given, new Map());
    first[Symbol.dispose]();
    using second = await d.compile(plan([add], [...many, total]));
    await second.run(s, given, new Map());
    const want = Float32Array.from({ length: 5 }, (_, j) => 2 * many.reduce((sum, _b, k) => sum + k + (k % 3) * 5 + j, 0));
    expect(await s.read("total")).toEqual(want);
  });
});
