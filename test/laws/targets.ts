// The targets that the tests run over: every way that a registered device computes, but for the oracle. A new device is
// tested by being registered; what it needs of the machine, and how it is opened, is its row here.
//
// WebGPU and WebGL 2 are computed by SwiftShader on the processor, a hundred times slower than the rest: those targets get a
// sample of each test's cases, drawn by the seed, and all of them where MALLARD_NIGHTLY is set. MALLARD_TARGETS=webgpu,gpujs
// runs some targets alone.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { afterAll } from "vitest";
import { compiledBackend } from "../../runtime/backend.js";
import type { DeviceName, DeviceOptions } from "../../runtime/devices/index.js";
import { openSession } from "../../runtime/program.js";
import { Session } from "../../runtime/session.js";
import { numbers } from "../graph/harness.js";
import { type Need, needs } from "../require.js";
import { seed } from "./seed.js";

interface Target {
  readonly needs: readonly Need[];
  /** Computed by SwiftShader. */
  readonly emulated: boolean;
  readonly open: (o: DeviceOptions) => Promise<Either<Error, Session>>;
}
const page = async () => (await import("../chromium/remote.js")).page();
/** By device: each has a way to be opened. */
const byDevice = {
  native: { native: { needs: ["compiler"], emulated: false, open: (o) => openSession("native", o) } },
  webgpu: {
    // All that the adapter offers: subgroups, 32 KiB of workgroup memory; kernels are a GPU's.
    webgpu: {
      needs: ["dawn", "browser"],
      emulated: true,
      open: async () => {
        const { createWebgpu } = await import("../../runtime/devices/webgpu/index.js");
        const device = await createWebgpu({ adapter: "software", processor: false });
        return isLeft(device) ? device : right(new Session(compiledBackend(device.right, 1)));
      },
    },
    // As users have the software adapter: kernels are a processor's, without workgroup memory.
    "webgpu-processor": { needs: ["dawn", "browser"], emulated: true, open: (o) => openSession("webgpu", { ...o, adapter: "software" }) },
    // What WebGPU guarantees, and no more; kernels are a GPU's.
    "webgpu-chromium": {
      needs: ["browser"],
      emulated: true,
      open: async () => {
        const { createWebgpuOn } = await import("../../runtime/devices/webgpu/index.js");
        const host = await (await page()).gpu({ limits: "default", features: [] });
        if (isLeft(host)) return left(new Error(host.left.message));
        return right(new Session(compiledBackend(createWebgpuOn(host.right, { processor: false }), 1)));
      },
    },
  },
  gpujs: {
    gpujs: { needs: ["gpu.js"], emulated: false, open: (o) => openSession("gpujs", { ...o, mode: "webasm" }) },
    "gpujs-webgl2": {
      needs: ["gpu.js", "browser"],
      emulated: true,
      open: async () => {
        const { createGpujs } = await import("../../runtime/devices/gpujs/index.js");
        const host = await (await page()).gpujs("webgl2");
        if (isLeft(host)) return host;
        const device = await createGpujs({ host: host.right });
        return isLeft(device) ? device : right(new Session(compiledBackend(device.right, 1)));
      },
    },
  },
} as const satisfies { readonly [D in Exclude<DeviceName, "js">]: Readonly<Record<string, Target>> };
type ByDevice = typeof byDevice;
export type TargetName = { readonly [D in keyof ByDevice]: keyof ByDevice[D] }[keyof ByDevice];
const registry: { readonly [T in TargetName]: Target } = { ...byDevice.native, ...byDevice.webgpu, ...byDevice.gpujs };

export const allTargets = Object.keys(registry) as readonly TargetName[];
const asked = process.env.MALLARD_TARGETS?.split(",");
/** Those that this machine can run; a line says why not, for the others. */
export const everyTarget: readonly TargetName[] = await (async () => {
  const here: TargetName[] = [];
  for (const t of allTargets) if ((asked?.includes(t) ?? true) && (await needs(...registry[t].needs))) here.push(t);
  return here;
})();

export const nightly = process.env.MALLARD_NIGHTLY !== undefined;
/** Without the processor's form of WebGPU's kernels, which by day has the laws of operations, recipes and random programs alone. */
export const targets = everyTarget.filter((t) => nightly || t !== "webgpu-processor" || asked?.includes(t));
/** Whether a fold's tree follows from its length alone: the same bits in any batch, and for static as for run-time extents. On WebGPU
 *  a fold's order depends on how many may share a row, which the greatest extents decide: there the same program has the same bits.
 *  Shaders' compilers divide by a constant through its reciprocal: so it is on WebGL, too. */
export const ownTrees = (target: TargetName): boolean => !(target in byDevice.webgpu) && target !== "gpujs-webgl2";
export const emulated = (target: TargetName): boolean => registry[target].emulated;
/** What a target is tried with: all of these; on an emulated one `few`. */
export const share = <T>(target: TargetName, all: readonly T[], few: number, test: string): readonly T[] =>
  nightly || !emulated(target) ? all : sample(target, all, few, test);
/** `few` of these, other ones for other targets, tests and seeds. */
export function sample<T>(target: TargetName, all: readonly T[], few: number, test: string): readonly T[] {
  if (all.length <= few) return all;
  const next = numbers(createHash("sha256").update(`${seed} ${target} ${test}`).digest().readUInt32LE(0));
  const rest = [...all.keys()];
  const drawn = Array.from({ length: few }, () => rest.splice(Math.floor(next() * rest.length), 1)[0] as number);
  return drawn.toSorted((a, b) => a - b).map((i) => all[i] as T);
}

/** Kernels of random programs are of no use to anybody later. */
export const cacheDir = mkdtempSync(join(tmpdir(), "mallard-laws-"));
afterAll(() => rmSync(cacheDir, { recursive: true, force: true }));
export async function open(target: TargetName | "js", o: DeviceOptions = {}): Promise<Session> {
  const s = await (target === "js" ? openSession("js", o) : registry[target].open({ cacheDir, ...o }));
  if (isLeft(s)) throw s.left;
  return s.right;
}
