// What a GPU may do to a run: be lost in the middle of it, have too little memory, or lower limits than the program needs. Each
// is a typed error, nothing hangs, and what was saved before continues as if nothing had happened.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { createLanguageModel } from "../../cli/language-model.js";
import * as build from "../../dsl/build.js";
import { add, dot, map, softmax, sum, type Tensor } from "../../dsl/index.js";
import type { Leaf } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { compiledBackend } from "../../runtime/backend.js";
import { errorOf } from "../../runtime/devices/webgpu/faults.js";
import type { LimitName } from "../../runtime/devices/webgpu/gpu.js";
import type { GpuHost } from "../../runtime/devices/webgpu/host.js";
import { createWebgpuOn } from "../../runtime/devices/webgpu/index.js";
import { DeviceError } from "../../runtime/errors.js";
import { type ProgramSpec, Session } from "../../runtime/session.js";
import { createRun, openRun, type WritableRun } from "../../runtime/train/run-folder.js";
import { type Metrics, train } from "../../runtime/train/trainer.js";
import type { ModelConfig, ProgramConfig, TrainingProgram } from "../../trainer.js";
import { fault, program as plain, runConfig, temporary, trainer, value } from "../train/fixtures.js";
import { devicesMade, missing, openHere } from "./fixtures.js";

// ── a lost device ────────────────────────────────────────────────────────────────────────────────────
const model: ModelConfig = { vocab: 12, model: 8, layer: 1, head: 2, ff: 8, time: 6, batch: 2, attention: { kind: "mha" } };
const settings: ProgramConfig = { ...plain, optimizer: "sgd", accumulate: 1, device: "webgpu", adapter: "software" };
const text = Uint8Array.from({ length: 900 }, (_, i) => (i * i * 31 + i * 7) % 12);
const corpus = { train: text.subarray(0, 800), validation: text.subarray(800) };
const config = { ...trainer, steps: 8, warmup: 2, evalEvery: 3, evalBatches: 1, probeEvery: 0 };
const opened = async (): Promise<TrainingProgram> => value(await createLanguageModel(model, settings, "training"));
const run = (program: TrainingProgram, record: WritableRun, from = 0) =>
  train({
    program,
    corpus,
    model,
    config,
    rate: (t) => 0.05 * Math.min(1, t / 2),
    accumulate: 1,
    probeSequences: 1,
    seed: 5,
    record: { append: (line) => record.append(line), save: (...of) => record.save(...of) },
    from,
    stop: new AbortController().signal,
    report: (line) => void lines.push(line),
  });
let lines: Metrics[] = [];
const curve = (): readonly (readonly [number, unknown, unknown])[] => lines.map((l) => [l.step, l.loss, l.validationLoss]);

test.skipIf(missing)("a device that is destroyed in the middle of a step: the checkpoint before it continues with the same losses", async () => {
  const made = await devicesMade();
  using folder = temporary();
  using first = await opened();
  const weights = await first.weights();
  const state = await first.state();
  lines = [];
  {
    using whole = value(await createRun(folder.path, runConfig));
    value(await run(first, whole));
  }
  const unbroken = curve();
  expect(unbroken.map(([step]) => step)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);

  value(await first.load(weights, state));
  lines = [];
  const broken = value(await createRun(folder.path, runConfig));
  const step = first.step.bind(first);
  first.step = (batch, lr, t, bounded) => {
    const result = step(batch, lr, t, bounded);
    if (t === 5) made.at(-1)?.destroy(); // it has been submitted
    return result;
  };
  const problem = fault(await run(first, broken));
  broken[Symbol.dispose]();
  expect(problem.kind).toBe("device");
  expect(problem.message).toMatch(
    /^the webgpu device was lost: .*\. Weights and states on it are gone; what was saved is whole\. To go on, open the device again/,
  );
  expect(problem.hint).toBe("the checkpoint of step 3 is kept: continue from it with --resume");
  expect(curve()).toEqual(unbroken.slice(0, lines.length));
  await expect(first.evaluate({ tokens: new Int32Array(12), next: new Int32Array(12) })).rejects.toMatchObject({ kind: "DeviceLost" });

  const kept = value(await openRun(broken.path, folder.path));
  const checkpoint = value(await kept.readCheckpoint());
  expect(checkpoint.step).toBe(3);
  using again = value(await kept.resume(kept.config, checkpoint.step));
  using second = await opened();
  value(await second.load(checkpoint.weights, checkpoint.state));
  lines = [];
  value(await run(second, again, checkpoint.step));
  expect(curve()).toEqual(unbroken.slice(4));
});

const state = (name: string, elements: number): Leaf => build.leaf("state", name, { i: elements }, "f32");
const doubling = (s: Leaf): ProgramSpec => {
  const next = nodeOf(
    map(handle<Tensor>(s), (v) => 2 * v + 1),
    "next",
  );
  return { name: "doubling", inputs: {}, outputs: { next }, updates: [{ leaf: s, value: next }] };
};
/** A host that calls `before` at each call. */
function watched(host: GpuHost, before: (call: string) => void): GpuHost {
  const calls = ["buffers", "pipelines", "prepare", "submit"] as const;
  const watch =
    (name: string, f: (...args: never[]) => unknown) =>
    (...args: never[]) => {
      before(name);
      return f.apply(host, args);
    };
  const own = Object.fromEntries(calls.map((name) => [name, watch(name, host[name])]));
  const { info, lost, free, release, drop, destroy } = host;
  return {
    info,
    lost,
    free: free.bind(host),
    release: release.bind(host),
    drop: drop.bind(host),
    destroy: destroy.bind(host),
    ...own,
  } as unknown as GpuHost; // `own` has the four others
}
test.skipIf(missing)(
  "whatever a device is lost before: an error that says so, of that call and of all later ones, and no call that never ends",
  async () => {
    for (let at = 0, all = Number.POSITIVE_INFINITY; at < all; at++) {
      using here = await openHere();
      let calls = 0;
      const device = createWebgpuOn(watched(here.host, () => void (calls++ === at && here.host.device.destroy())));
      using session = new Session(compiledBackend(device, 1));
      const work = async () => {
        const program = await session.program(doubling(state("s", 300)));
        const runs = [program.run({}), program.run({})];
        const grown = session.hold([state("more", 40_000)]);
        const results = await Promise.allSettled([...runs, grown, session.read("s"), session.write("s", new Float32Array(300))]);
        for (const r of results) if (r.status === "rejected") throw r.reason;
      };
      const end = await work().then(
        () => null,
        (e: unknown) => e,
      );
      if (end === null) {
        expect(calls).toBeLessThanOrEqual(at);
        all = at;
      } else {
        expect(end).toBeInstanceOf(DeviceError);
        expect(end).toMatchObject({ kind: "DeviceLost" });
        await expect(session.program(doubling(state("t", 3)))).rejects.toMatchObject({ kind: "DeviceLost" });
      }
    }
  },
);

// ── too little memory ────────────────────────────────────────────────────────────────────────────────
describe.skipIf(missing)("memory that the GPU has not", () => {
  test("of a state: what is held stays, and so does what the device can do", async () => {
    using here = await openHere();
    const { session, device } = here;
    const program = await session.program(doubling(state("s", 300)));
    await program.run({});
    const before = device.memory();
    // The software adapter states 1 GiB buffers, and has no memory for one.
    await expect(session.hold([state("large", 2 ** 28), state("small", 5)])).rejects.toMatchObject({
      kind: "OutOfMemory",
      message: 'out of memory: state "large" needs 1024.0 MiB. Use a smaller batch or model, or free states and programs with dispose()',
    });
    expect(device.memory()).toBe(before);
    await session.hold([state("small", 5)]);
    expect((await program.run({})).next?.[0]).toBe(3);
  });
  test("of a program's temporaries: each run says so, and other programs run", async () => {
    using here = await openHere();
    const { session, device } = here;
    const [a, b] = [build.leaf("input", "a", { i: 2 ** 14 }, "f32"), build.leaf("input", "b", { j: 2 ** 14 }, "f32")];
    const sums = add(handle<Tensor>(a), handle<Tensor>(b) as never);
    const large = await session.program({ name: "large", inputs: { a, b }, outputs: { sums: nodeOf(sums, "sums") } });
    const inputs = { a: new Float32Array(2 ** 14), b: new Float32Array(2 ** 14) };
    for (let turn = 0; turn < 2; turn++)
      await expect(large.run(inputs)).rejects.toMatchObject({ kind: "OutOfMemory", message: expect.stringContaining("program large") });
    expect(device.memory()).toBe(0);
    expect((await (await session.program(doubling(state("s", 3)))).run({})).next?.[0]).toBe(1);
  });
});

// ── lower limits ─────────────────────────────────────────────────────────────────────────────────────
/** The session of a device that has less than its host, with a GPU's kernels, which need more of it than a processor's. */
const lowered = (host: GpuHost, limits: Partial<Record<LimitName, number>>): Session => {
  const own = watched(host, () => {});
  return new Session(
    compiledBackend(createWebgpuOn({ ...own, info: { ...own.info, limits: { ...own.info.limits, ...limits } } }, { processor: false }), 1),
  );
};
function attention(): ProgramSpec {
  const [q, k, v] = ["query", "key", "key"].map((axis, i) => build.leaf("input", "qkv"[i] as string, { [axis]: 40, dim: 16 }, "f32")) as [
    Leaf,
    Leaf,
    Leaf,
  ];
  const weights = softmax(dot(handle<Tensor>(q), handle<Tensor>(k) as never, "dim" as never) as never, "key" as never);
  const out = dot(weights as never, handle<Tensor>(v) as never, "key" as never);
  return { name: "attention", inputs: { q, k, v }, outputs: { out: nodeOf(out, "out"), total: nodeOf(sum(out as Tensor, "query", "dim"), "total") } };
}
const inputs = Object.fromEntries(["q", "k", "v"].map((name, at) => [name, Float32Array.from({ length: 640 }, (_, i) => Math.sin(i * (at + 1)))]));

test.skipIf(missing)("an adapter with lower limits: what it can hold is computed, what it cannot is refused by name", async () => {
  using here = await openHere({ limits: "default", features: [] });
  const want = (await (await here.session.program(attention())).run(inputs)).out as Float32Array;
  const lower: readonly Partial<Record<LimitName, number>>[] = [
    { maxComputeWorkgroupStorageSize: 8192 },
    { maxComputeInvocationsPerWorkgroup: 64, maxComputeWorkgroupSizeX: 64, maxComputeWorkgroupSizeY: 64 },
    { maxStorageBuffersPerShaderStage: 4 },
    { maxBufferSize: 8192, maxStorageBufferBindingSize: 8192 },
    { maxComputeWorkgroupsPerDimension: 3 },
    { maxComputeWorkgroupStorageSize: 64, maxStorageBuffersPerShaderStage: 1 },
  ];
  let computed = 0;
  for (const limits of lower) {
    // The device is the host's: it stays for the next.
    const session = lowered(here.host, limits);
    try {
      const got = (await (await session.program(attention())).run(inputs)).out as Float32Array;
      const apart = Math.max(...got.map((x, i) => Math.abs(x - (want[i] as number))));
      expect(apart, JSON.stringify(limits)).toBeLessThan(1e-5);
      computed++;
    } catch (e) {
      if (!(e instanceof DeviceError)) throw e;
      expect(e.message, JSON.stringify(limits)).toMatch(/^the webgpu device cannot run this program: .+ To go on, /);
    }
  }
  expect(computed).toBeGreaterThanOrEqual(4);
  await expect(lowered(here.host, { maxStorageBufferBindingSize: 65_536 * 4 }).hold([state("wide", 70_000)])).rejects.toMatchObject({
    kind: "CannotHold",
    message:
      'the webgpu device cannot run this program: state "wide" has 280000 bytes, and this adapter binds 262144 at most. To go on, use a smaller model, another adapter or the native device',
  });
});

test("without a GPU, a package or a known adapter, an error says what to do", async () => {
  const { createWebgpu } = await import("../../runtime/devices/webgpu/index.js");
  const wrong = await createWebgpu({ adapter: "hardware" as "software" });
  expect(isLeft(wrong) && wrong.left.message).toBe('adapter is "hardware": expected "software", or none for the GPU');
  const before = process.env.MALLARD_SWIFTSHADER;
  process.env.MALLARD_SWIFTSHADER = "/nowhere";
  const none = await createWebgpu({ adapter: "software" });
  if (before === undefined) delete process.env.MALLARD_SWIFTSHADER;
  else process.env.MALLARD_SWIFTSHADER = before;
  expect(isLeft(none) && none.left.message).toBe(
    "the webgpu device finds no GPU: no SwiftShader was found: no vk_swiftshader_icd.json in /nowhere. To go on, install Chromium (Debian: apt install chromium), name the folder that has it with MALLARD_SWIFTSHADER, or use the native or the gpujs device",
  );
});

// ── what WebGPU refuses ──────────────────────────────────────────────────────────────────────────────
test.skipIf(missing)("a shader or a command that WebGPU refuses is a fault of its own call, with WebGPU's words; other calls go on", async () => {
  using here = await openHere();
  const { host } = here;
  const good = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;\n@compute @workgroup_size(1) fn main() { x[0] = x[0] + 1.0; }";
  const spec = (name: string, source: string) => ({ name, source, access: ["read_write" as const], ints: 0 });
  const [bad, fine, again] = await Promise.all([
    host.pipelines([spec("good", good), spec("bad", good.replace("x[0] + 1.0", "y[0]"))]),
    host.pipelines([spec("good", good)]),
    host.pipelines([spec("bad", good.replace("x[0] + 1.0", "y[0]"))]),
  ]);
  for (const b of [bad, again])
    expect(fault(b)).toEqual({ kind: "refused", what: "kernel bad", message: expect.stringMatching(/^2:\d+ unresolved value 'y'/) });
  const [pipeline, buffers] = [value(fine)[0] as number, value(await host.buffers([256, 256], "x"))];
  const bound = (bytes: number) =>
    host.prepare({ dispatches: [{ pipeline, bindings: [{ buffer: buffers[0] as number, offset: 0, bytes }], ints: null }], uniform: 0 });
  expect(fault(await bound(100_000))).toMatchObject({ kind: "refused", what: "a list of dispatches" });
  const list = value(await bound(256));
  const run = (groups: number) =>
    host.submit({ run: { list, ints: null, groups: Uint32Array.of(groups, 1) }, reads: [{ buffer: buffers[0] as number, offset: 0, bytes: 4 }] });
  const [first, wrong, second] = await Promise.all([run(1), run(70_000), run(1)]);
  const read = (done: typeof first) => new Float32Array((value(done).reads[0] as Uint8Array).slice().buffer)[0];
  expect([read(first), read(second)]).toEqual([1, 2]);
  const refused = fault(wrong);
  expect(refused).toMatchObject({ kind: "refused", what: "a run", message: expect.stringContaining("70000") });
  expect(errorOf(refused, "a run").message).toMatch(
    /^webgpu refuses a run: this is a defect of Mallard or of the GPU's driver; please report it, and use the native device meanwhile\n.*70000/,
  );
  host.release([pipeline]);
  expect(fault(await bound(256))).toMatchObject({ kind: "refused" });
});
test("a device that is lost without a reason says what to try", () => {
  expect(errorOf({ kind: "lost", reason: "unknown", message: "" }, "").message).toBe(
    "the webgpu device was lost: the driver gives no reason. Weights and states on it are gone; what was saved is whole. To go on, open the device again (a training run: --resume); if it happens again, use a smaller batch, close what else uses the GPU or update its driver",
  );
});
