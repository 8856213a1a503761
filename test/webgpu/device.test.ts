// The WebGPU device beside what every device's laws ask of it: runs, reads and writes that nobody waits for keep their order;
// state keeps its values while there comes to be more of it; memory is given back.
import { fc, test as property } from "@fast-check/vitest";
import { describe, expect, test } from "vitest";
import * as build from "../../dsl/build.js";
import { add, map, max, mul, sum, type Tensor } from "../../dsl/index.js";
import { type DType, type Leaf, UpTo } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { profileRuns } from "../../runtime/profiling.js";
import type { ProgramSpec } from "../../runtime/session.js";
import { missing, openHere } from "./fixtures.js";

const state = (name: string, elements: number, dtype: DType = "f32"): Leaf => build.leaf("state", name, { i: elements }, dtype);
const of = (n: Leaf): Tensor<{ i: number }> => handle(n);
/** s ← 2·s + x; gives the greatest of the new s. */
function doubling(s: Leaf, name: string): ProgramSpec {
  const x = build.leaf("input", "x", s.axes, "f32");
  const next = add(
    map(of(s), (v) => 2 * v),
    of(x),
  );
  return { name, inputs: { x }, outputs: { most: nodeOf(max(next, "i"), "most") }, updates: [{ leaf: s, value: nodeOf(next, "next") }] };
}
const integers = (n: number, from: number): Float32Array => Float32Array.from({ length: n }, (_, i) => (i * 7 + from) % 5);

type Act =
  | { readonly do: "run"; readonly x: number }
  | { readonly do: "write"; readonly x: number }
  | { readonly do: "read" }
  | { readonly do: "extend" };
const acts: fc.Arbitrary<readonly Act[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("run" as const), x: fc.nat(4) }) },
    fc.record({ do: fc.constant("write" as const), x: fc.nat(4) }),
    fc.record({ do: fc.constant("read" as const) }),
    fc.record({ do: fc.constant("extend" as const) }),
  ),
  { minLength: 4, maxLength: 10 },
);

describe.skipIf(missing)("the order of work", () => {
  // 6 elements lie with the small values, 20,000 by themselves.
  property.prop([acts, fc.constantFrom(6, 20_000)], { numRuns: 6, endOnFailure: true })(
    "runs, reads and writes that nobody waits for give what they give one after another",
    async (list, size) => {
      using opened = await openHere();
      const { session } = opened;
      const s = state("s", size);
      const program = await session.program(doubling(s, "order"));
      const expected: number[][] = [];
      const got: Promise<ArrayLike<number>>[] = [];
      const waiting: Promise<unknown>[] = [];
      let values = new Array<number>(size).fill(0);
      const mine = new Float32Array(size); // reused, as a caller may
      let more = 0;
      for (const a of list) {
        if (a.do === "run") {
          mine.set(integers(size, a.x));
          values = values.map((v, i) => 2 * v + (mine[i] as number));
          got.push(program.run({ x: mine }).then((r) => r.most ?? []));
          expected.push([values.reduce((m, v) => Math.max(m, v))]);
        } else if (a.do === "write") {
          mine.set(integers(size, a.x + 2));
          values = Array.from(mine);
          waiting.push(session.write("s", mine));
        } else if (a.do === "read") {
          got.push(session.read("s"));
          expected.push([...values]);
        } else waiting.push(session.hold([state(`more${more++}`, 300 + more)]));
      }
      mine.fill(Number.NaN);
      const results = await Promise.all(got);
      await Promise.all(waiting);
      results.forEach((r, i) => void expect(Array.from(r)).toEqual(expected[i]));
    },
  );
});

test.skipIf(missing)("values of every type come back as they were written, whatever their number, while there comes to be more state", async () => {
  using opened = await openHere();
  const { session } = opened;
  const written = new Map<string, number[]>();
  let k = 0;
  for (const dtype of ["f32", "bf16", "f16", "i32", "bool"] as const)
    for (const n of [1, 2, 3, 5, 63, 257, 70_001]) {
      const path = `${dtype}${n}`;
      await session.hold([state(path, n, dtype)]);
      expect(Array.from(await session.read(path)).every((x) => x === 0)).toBe(true);
      const values = Array.from({ length: n }, (_, i) => (dtype === "bool" ? ((i + k) % 3) & 1 : ((i * 13 + k) % 97) - 40));
      await session.write(path, values);
      written.set(path, values);
      k++;
    }
  for (const [path, values] of written) expect(Array.from(await session.read(path)), path).toEqual(values);
});

test.skipIf(missing)(
  "arrays of run-time sizes lie in buffers of maximal ones, for inputs and outputs, and change from run to run, to nothing too",
  async () => {
    using opened = await openHere();
    const [m, n] = [new UpTo(5, "m"), new UpTo(9, "n")];
    const x = build.leaf("input", "x", { a: 2, m, n }, "f32");
    const y = build.leaf("input", "y", { n }, "i32");
    type T = Tensor<{ a: number; m: number; n: number }>;
    const whole = mul(handle<T>(x), handle<Tensor<{ n: number }>>(y) as never) as T;
    const outputs = { whole: nodeOf(whole, "whole"), rows: nodeOf(sum(whole, "n"), "rows") };
    const program = await opened.session.program({ name: "sizes", inputs: { x, y }, outputs });
    for (const [rows, columns] of [
      [5, 9],
      [1, 1],
      [3, 7],
      [5, 2],
      [0, 4],
      [3, 7],
    ] as const) {
      const xs = Float32Array.from({ length: 2 * rows * columns }, (_, i) => (i % 11) - 5);
      const ys = Int32Array.from({ length: columns }, (_, i) => i + 1);
      const out = await program.run({ x: xs, y: ys }, { m: rows, n: columns });
      const want = Array.from(xs, (v, i) => v * (ys[i % columns] as number));
      expect(Array.from(out.whole ?? [])).toEqual(want);
      expect(Array.from(out.rows ?? [])).toEqual(
        Array.from({ length: 2 * rows }, (_, r) => want.slice(r * columns, (r + 1) * columns).reduce((t, v) => t + v, 0)),
      );
    }
  },
);

test.skipIf(missing)("memory is given back: programs', a state's, and what grew", async () => {
  using opened = await openHere();
  const { device, session } = opened;
  const program = await session.program(doubling(state("s", 20_000), "memory"));
  await program.run({ x: new Float32Array(20_000) });
  const before = device.memory();
  const second = await session.program(doubling(state("t", 50), "more"));
  await second.run({ x: new Float32Array(50) });
  await program.run({ x: new Float32Array(20_000) });
  expect(device.memory()).toBeGreaterThan(before);
  second[Symbol.dispose]();
  program[Symbol.dispose]();
  await expect(program.run({ x: new Float32Array(20_000) })).rejects.toThrow("disposed");
  session[Symbol.dispose]();
  expect(device.memory()).toBe(0);
});

test.skipIf(missing)("a run is one submit, whatever it does; a second run writes no integers and makes no bindings", async () => {
  using opened = await openHere();
  const { device } = opened.host;
  const counts = { submit: 0, group: 0, pipeline: 0, write: 0 };
  const count = <T extends object, K extends keyof T & string>(on: T, name: K, as: keyof typeof counts) => {
    const given = (on[name] as (...args: unknown[]) => unknown).bind(on);
    Object.defineProperty(on, name, {
      value: (...args: unknown[]) => {
        counts[as]++;
        return given(...args);
      },
    });
  };
  count(device.queue, "submit", "submit");
  count(device.queue, "writeBuffer", "write");
  count(device, "createBindGroup", "group");
  count(device, "createComputePipelineAsync", "pipeline");
  const s = state("s", 700);
  const program = await opened.session.program(doubling(s, "once"));
  await program.run({ x: new Float32Array(700) });
  expect(counts.submit).toBe(1);
  const first = { ...counts };
  await program.run({ x: new Float32Array(700) });
  expect(counts).toEqual({ ...first, submit: 2, write: first.write + 1 });
  // The same program once more: the same pipelines.
  const again = await opened.session.program(doubling(s, "again"));
  await again.run({ x: new Float32Array(700) });
  expect(counts.pipeline).toBe(first.pipeline);
});

test.skipIf(missing)("a measured program gives the time of each kernel, and the same results; without timestamps it is refused", async () => {
  using opened = await openHere();
  const a = build.leaf("input", "a", { i: 300, k: 64 }, "f32");
  const squares = map(handle<Tensor<{ i: number; k: number }>>(a), (v) => v * v);
  const outputs = { rows: nodeOf(sum(squares, "k"), "rows"), all: nodeOf(max(squares, "i", "k"), "all") };
  const spec = { name: "measured", inputs: { a }, outputs };
  const data = { a: Float32Array.from({ length: 300 * 64 }, (_, i) => Math.sin(i)) };
  const plain = await (await opened.session.program(spec)).run(data);
  const program = await opened.session.program({ ...spec, profile: true });
  const profile = await profileRuns(program, () => program.run(data), { least: 2, ms: 0 });
  expect(profile.threads).toBe(1);
  expect(profile.kernels.length).toBe(program.compiled.kernels);
  expect(profile.kernelMs).toBeGreaterThan(0);
  expect(profile.kernelMs).toBeLessThan(profile.medianMs * profile.runs);
  const measured = await program.run(data);
  for (const name of ["rows", "all"]) expect(measured[name]).toEqual(plain[name]);

  using bare = await openHere({ features: [] });
  await expect(bare.session.program({ ...spec, profile: true })).rejects.toThrow("webgpu on an adapter that has timestamps");
});
