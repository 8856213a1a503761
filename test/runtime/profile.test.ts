// Programs that measure their kernels, and the work that kernels are said to do.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { dot, input, inputLeaves, kernelTimes, map, openSession, rename, repeat, sum } from "../../index.js";
import { needs } from "../require.js";

const session = async (device: "native" | "js" | "gpujs" = "native") => {
  const s = await openSession(device, { threads: 2 });
  if (isLeft(s)) throw s.left;
  return s.right;
};
// A handle is the graph's node: what a session takes.
type Node = Parameters<Awaited<ReturnType<typeof session>>["program"]>[0]["outputs"][string];
const node = (t: unknown): Node => t as Node;

describe.skipIf(!(await needs("compiler")))("a profiled program", () => {
  test("has the same results, and a time for each kernel with its work", async () => {
    using s = await session();
    const x = { a: input({ m: 12, k: 20 }), b: input({ k: 20, n: 24 }) };
    const c = dot(x.a, x.b, "k");
    const spec = { name: "p", inputs: inputLeaves(x), outputs: { c: node(c), total: node(sum(c, "m", "n")) } };
    const given = { a: Float32Array.from({ length: 240 }, (_, i) => i % 7), b: Float32Array.from({ length: 480 }, (_, i) => i % 5) };
    const plain = await (await s.program(spec)).run(given);
    const program = await s.program({ ...spec, profile: true });
    const results = await program.run(given);
    expect(results.c).toEqual(plain.c);
    expect(results.total).toEqual(plain.total);
    const times = kernelTimes(program, results);
    expect(times.map((k) => k.name)).toEqual(program.kernels.map((k) => k.name));
    for (const k of times) {
      expect(k.ms).toBeGreaterThan(0);
      expect(k.slowestMs).toBeGreaterThanOrEqual(k.ms);
      expect(k.waitMs).toBeGreaterThanOrEqual(0);
      expect(k.ms).toBeLessThan(60_000);
    }
    const product = times.find((k) => k.form === "contract");
    expect(product).toMatchObject({ calls: 1, operations: 2 * 12 * 20 * 24, bytes: 4 * (12 * 20 + 20 * 24 + 12 * 24) });
  });
  test("counts a loop's calls, and measures each run anew", async () => {
    using s = await session();
    const x = { a: input({ row: 16, k: 16 }), y: input({ row: 16, col: 16 }) };
    const { y } = repeat(5, { axis: "turn", state: { y: x.y } }, ({ y }) => ({ y: map(dot(x.a, rename(y, { row: "k" }), "k"), (v) => 0.1 * v) }));
    const program = await s.program({ name: "loop", inputs: inputLeaves(x), outputs: { y: node(y) }, profile: true });
    const given = { a: new Float32Array(256).fill(1), y: new Float32Array(256).fill(1) };
    const first = kernelTimes(program, await program.run(given));
    const products = first.filter((k) => k.form === "contract");
    expect(products).toMatchObject([{ calls: 5 }]);
    expect(products[0]?.operations).toBeGreaterThanOrEqual(5 * 2 * 16 ** 3);
    const runs: number[] = [];
    for (let i = 0; i < 40; i++) runs.push(kernelTimes(program, await program.run(given)).reduce((n, k) => n + k.ms, 0));
    // Were a run's times added to those before it, none of the second twenty could be less than all of the first.
    const total = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0);
    expect(Math.min(...runs.slice(20))).toBeLessThan(total(runs.slice(0, 20)));
  });
  test.each(["js", "gpujs"] as const)("%s refuses", async (device) => {
    using s = await session(device);
    const x = { a: input({ m: 4 }) };
    await expect(s.program({ name: "r", inputs: inputLeaves(x), outputs: { y: node(map(x.a, (a) => a + 1)) }, profile: true })).rejects.toThrow(
      "native",
    );
  });
  test("a run without a profile has no times to read", async () => {
    using s = await session();
    const x = { a: input({ m: 4 }) };
    const program = await s.program({ name: "q", inputs: inputLeaves(x), outputs: { y: node(map(x.a, (a) => a + 1)) } });
    const results = await program.run({ a: [1, 2, 3, 4] });
    expect(() => kernelTimes(program, results)).toThrow("profile");
  });
});
