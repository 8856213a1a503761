// The channel between tests and a page in Chromium: what crosses it, errors, order; and WebGPU behind it.
import { type Either, isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { needs } from "../require.js";
import { Calls } from "./calls.js";
import { decode, encode } from "./message.js";
import { openPage } from "./remote.js";

const value = {
  words: ["a", null, true, 1.5],
  floats: new Float32Array([1, Number.NaN, -0, Number.POSITIVE_INFINITY]),
  inside: [{ bytes: new Uint8Array([1, 2, 3]) }, new Float64Array([Math.PI]), new Int32Array(0), new Uint32Array([2 ** 32 - 1])],
};

describe("messages", () => {
  it("have typed arrays in plain data", () => {
    expect(decode(encode(value))).toEqual(value);
    // A view of a larger buffer, at an odd place.
    const view = new Float32Array(new ArrayBuffer(64), 12, 3).fill(2.5);
    expect(decode(encode([view]))).toEqual([new Float32Array([2.5, 2.5, 2.5])]);
  });
  it("refuse what would be lost on the way", () => {
    expect(() => encode({ x: Number.NaN })).toThrow("finite");
    expect(() => encode(new Map([[1, 2]]))).toThrow("Map");
  });
  it("are answered each by its own, in the order of the calls; a failure with its fault", async () => {
    const log: string[] = [];
    const ends: Calls[] = [];
    const served = {
      slow: async (n: number) => {
        log.push(`slow ${n}`);
        await new Promise((done) => setTimeout(done, 5));
        return n;
      },
      fast: (n: number) => {
        log.push(`fast ${n}`);
        return 10 * n;
      },
      bad: () => {
        throw Object.assign(new Error("no"), { fault: { kind: "memory", bytes: 3 } });
      },
    };
    const a = new Calls((bytes) => void setTimeout(() => void ends[1]?.take(bytes)), {});
    const b = new Calls((bytes) => void setTimeout(() => void ends[0]?.take(bytes)), served);
    ends.push(a, b);
    expect(await Promise.all([a.call("slow", 1), a.call("fast", 2), a.call("slow", 3)])).toEqual([1, 20, 3]);
    expect(log).toEqual(["slow 1", "fast 2", "slow 3"]);
    await expect(a.call("bad")).rejects.toMatchObject({ message: "no", fault: { kind: "memory", bytes: 3 } });
    await expect(a.call("none")).rejects.toThrow("nothing here is called none");
    const open = a.call("slow", 4);
    a.close(new Error("gone"));
    await expect(open).rejects.toThrow("gone");
    await expect(a.call("fast", 5)).rejects.toThrow("gone");
  });
});

describe.skipIf(!(await needs("browser")))("a page", () => {
  it("gives back what it is given, has WebGPU on a software adapter, and tells that a device is lost", async () => {
    const page = await openPage();
    expect(await page.call("echo", value)).toEqual(value);
    const host = await page.gpu();
    if (isLeft(host)) throw new Error(host.left.message);
    const gpu = host.right;
    expect(gpu.info.software).toBe(true);
    const [pipeline] = await ok(
      gpu.pipelines([
        {
          name: "double",
          source:
            "@group(0) @binding(0) var<storage, read_write> x: array<f32>;\n@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] *= 2; }",
          access: ["read_write"],
          ints: 0,
        },
      ]),
    );
    const [buffer] = (await ok(gpu.buffers([256], "a test"))) as [number];
    const bindings = [{ buffer, offset: 0, bytes: 256 }];
    const list = await ok(gpu.prepare({ dispatches: [{ pipeline: pipeline as number, bindings, ints: null }], uniform: 0 }));
    const data = new Uint8Array(new Float32Array(64).fill(1.25).buffer);
    const done = await ok(
      gpu.submit({
        writes: [{ buffer, offset: 0, data }],
        run: { list, ints: null, groups: new Uint32Array([15, 1]) },
        reads: bindings,
      }),
    );
    expect(new Float32Array((done.reads[0] as Uint8Array).buffer)).toEqual(new Float32Array(64).fill(2.5).fill(1.25, 60));
    const bad = await gpu.pipelines([{ name: "bad", source: "fn main() { x }", access: [], ints: 0 }]);
    expect(bad).toMatchObject({ left: { kind: "refused", what: "kernel bad" } });
    gpu.destroy();
    expect(await gpu.lost).toMatchObject({ kind: "lost", reason: "destroyed" });
    expect(await gpu.submit({ reads: bindings })).toMatchObject({ left: { kind: "lost" } });
    page.close();
    await expect(page.call("echo", 1)).rejects.toThrow();
  });
});
describe.skipIf(!(await needs("browser", "gpu.js")))("gpu.js in a page", () => {
  it("keeps memories, and its faults are errors of the device here", async () => {
    const page = await openPage();
    const host = await page.gpujs("cpu");
    if (isLeft(host)) throw host.left;
    const [memory] = (await host.right.alloc([4])) as [number];
    const values = new Float32Array([1, Number.NaN, Number.NEGATIVE_INFINITY, -0]);
    await host.right.write(memory, values);
    expect(await host.right.read(memory)).toEqual(values);
    await host.right.free([memory]);
    await expect(host.right.read(memory)).rejects.toMatchObject({ name: "DeviceError", fault: { kind: "Disposed" } });
    page.close();
  });
});
async function ok<T>(given: Promise<Either<{ readonly message: string }, T>>): Promise<T> {
  const e = await given;
  if (isLeft(e)) throw new Error(e.left.message);
  return e.right;
}
