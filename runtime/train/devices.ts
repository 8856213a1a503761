// Which devices work on this machine, found by using each for something small, and which of them a command takes.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { loadGpujs } from "../devices/gpujs/load.js";
import { openFolder } from "../devices/native/folder.js";
import { loadNative } from "../devices/native/pool.js";
import { findToolchain } from "../devices/native/toolchain.js";
import { createWebgpu } from "../devices/webgpu/index.js";
import { trial } from "../devices/webgpu/trial.js";
import type { DeviceName } from "./config.js";
import { type Problem, textOf } from "./problem.js";

/** Null where the device works, else why not. */
export type Availability = () => Promise<string | null>;

/** Compiles the native device's own C part, or takes it from the cache, and loads it: all that a program needs. */
export const nativeAvailable: Availability = async () => {
  const tool = await findToolchain();
  if (isLeft(tool)) return tool.left.message;
  const folder = openFolder();
  if (isLeft(folder)) return folder.left.message;
  try {
    const loaded = await loadNative(folder.right.path, tool.right);
    return isLeft(loaded) ? loaded.left.message : null;
  } catch (thrown) {
    return `koffi, which loads compiled kernels, does not work here: ${textOf(thrown)}`;
  }
};

/** Runs a kernel of four cells. */
export const gpujsAvailable: Availability = async () => {
  const loaded = await loadGpujs();
  if (isLeft(loaded)) return loaded.left.message;
  try {
    const gpu = new loaded.right({ mode: "cpu" });
    try {
      const settings = { output: [4], argumentTypes: ["Array"], returnType: "Number", loopMaxIterations: 4 };
      const double = gpu.createKernel("function double(a) { return a[this.thread.x] * 2; }", settings);
      const result = double(Float32Array.of(1, 2, 3, 4));
      const got = result instanceof Float32Array ? result.join() : "no array";
      return got === "2,4,6,8" ? null : `gpu.js computes wrong values here: ${got} for 2,4,6,8`;
    } finally {
      await gpu.destroy();
    }
  } catch (thrown) {
    return `gpu.js does not work here: ${textOf(thrown)}`;
  }
};

/** Adds two numbers on the GPU; what it is and offers, or why it does not work. */
export async function webgpuFound(adapter?: "software"): Promise<Either<string, string>> {
  const opened = await createWebgpu({ adapter });
  if (isLeft(opened)) return left(opened.left.message);
  using device = opened.right;
  const { name, features, limits, subgroups } = device.host.info;
  try {
    const got = await trial(device.host);
    if (got !== 3) return left(`the GPU (${name}) computes wrong values: 1 + 2 is ${got}`);
  } catch (thrown) {
    return left(`the GPU (${name}) does not work: ${textOf(thrown)}`);
  }
  const has = [
    ...(subgroups ? [`subgroups of ${subgroups.min === subgroups.max ? subgroups.min : `${subgroups.min} to ${subgroups.max}`}`] : ["no subgroups"]),
    features.includes("shader-f16") ? "f16" : "no f16",
    `buffers up to ${(Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize) / 2 ** 20).toFixed(0)} MiB`,
  ];
  return right(`${name} (${has.join(", ")})`);
}
export const webgpuAvailable =
  (adapter?: "software"): Availability =>
  async () => {
    const found = await webgpuFound(adapter);
    return isLeft(found) ? found.left : null;
  };

/** The oracle needs nothing but Node. */
export const DEVICE_CHECKS: Readonly<Record<DeviceName, Availability>> = {
  native: nativeAvailable,
  gpujs: gpujsAvailable,
  webgpu: webgpuAvailable(),
  js: async () => null,
};

export interface Picked {
  readonly device: DeviceName;
  /** One line where this is not the device one would expect. */
  readonly notice: string | null;
}

/** The device asked for, which must work; or with `auto` the native one, else a GPU, else gpu.js, else the oracle. `adapter`: of
 *  webgpu alone. */
export async function pickDevice(asked: DeviceName | "auto", adapter?: "software"): Promise<Either<Problem, Picked>> {
  if (adapter !== undefined && asked !== "webgpu")
    return left({ kind: "usage", message: "--adapter counts only with --device webgpu", hint: "add --device webgpu, or leave --adapter out" });
  if (asked !== "auto") {
    const why = await (asked === "webgpu" ? webgpuAvailable(adapter) : DEVICE_CHECKS[asked])();
    if (why === null) return right({ device: asked, notice: null });
    return left({ kind: "device", message: `the device ${asked} does not work here: ${why}`, hint: "see `mallard doctor`, or use --device auto" });
  }
  const native = await nativeAvailable();
  if (native === null) return right({ device: "native", notice: null });
  const webgpu = await webgpuFound();
  if (webgpu._tag === "Right")
    return right({
      device: "webgpu",
      notice: `Running on WebGPU, ${webgpu.right}, because the native device does not work here: ${reason(native)}; see mallard doctor`,
    });
  const gpujs = await gpujsAvailable();
  if (gpujs === null)
    return right({
      device: "gpujs",
      notice: `Running on gpu.js, which is slow, because the native device does not work here: ${reason(native)}; see mallard doctor`,
    });
  return right({
    device: "js",
    notice: `Running on the js oracle, which is very slow, because no other device works here: ${reason(native)}; ${reason(gpujs)}; see mallard doctor`,
  });
}
/** In one line, without what could be done about it, which the doctor says. */
const reason = (text: string): string => text.split("\n")[0]!.replace(/\. To go on, .*$/, "");
