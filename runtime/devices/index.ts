// The devices by name: one entry each. Each is loaded when it is opened, so that a bundle's first file has none of them.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import type { GpujsMode } from "../../compiler/targets/gpujs/limits.js";
import { type Backend, compiledBackend, oracleBackend } from "../backend.js";
import { DeviceError } from "../errors.js";
import type { TuneOptions } from "../tune.js";

export interface DeviceOptions {
  readonly threads?: number | undefined;
  readonly cacheDir?: string | undefined;
  /** One line for the user, where something falls short of what was asked for. */
  readonly notice?: ((line: string) => void) | undefined;
  /** Measure how kernels are best blocked and divided on this machine before a program is compiled, and use what was found so
   *  before; the results are the same to the bit. native alone. */
  readonly tune?: boolean | TuneOptions | undefined;
  /** How gpu.js runs: "webasm", "cpu", or, in browsers, "webgl2", the default where a GPU computes it. gpujs alone. */
  readonly mode?: GpujsMode | undefined;
  /** Where there is no GPU, "software" is WebGPU on the processor, for tests: SwiftShader, which an installed Chromium has. webgpu alone. */
  readonly adapter?: "software" | undefined;
}
type Open = (o: DeviceOptions) => Promise<Either<DeviceError, Backend>>;
/** Options that one device alone has are no option of the others. */
function misplaced(device: string, o: DeviceOptions): Either<DeviceError, undefined> {
  const own = [
    { option: "tune", given: o.tune || undefined, of: "native", expected: "native: the only device that is tuned" },
    { option: "mode", given: o.mode, of: "gpujs", expected: "gpujs: the only device that has modes" },
    { option: "adapter", given: o.adapter, of: "webgpu", expected: "webgpu: the only device that has adapters" },
  ];
  const wrong = own.find((x) => x.given !== undefined && x.of !== device);
  return wrong ? left(new DeviceError({ kind: "BadOption", option: wrong.option, value: device, expected: wrong.expected })) : right(undefined);
}
const opener =
  (device: string, open: Open): Open =>
  async (o) => {
    const wrong = misplaced(device, o);
    return isLeft(wrong) ? wrong : open(o);
  };

export const devices = {
  native: opener("native", async (o) => {
    const { createNative } = await import("./native/index.js");
    const d = await createNative({ ...o, tune: o.tune === true ? {} : o.tune || undefined });
    return isLeft(d) ? d : right(compiledBackend(d.right, d.right.threads));
  }),
  gpujs: opener("gpujs", async (o) => {
    const { createGpujs } = await import("./gpujs/index.js");
    const d = await createGpujs({ mode: o.mode });
    return isLeft(d) ? d : right(compiledBackend(d.right, 1));
  }),
  webgpu: opener("webgpu", async (o) => {
    const { createWebgpu } = await import("./webgpu/index.js");
    const d = await createWebgpu({ adapter: o.adapter });
    return isLeft(d) ? d : right(compiledBackend(d.right, 1));
  }),
  js: opener("js", async () => right(oracleBackend())),
} as const satisfies Readonly<Record<string, Open>>;
export type DeviceName = keyof typeof devices;
