// What the host of webgl2 does when the GPU is taken away or has no memory left: on a stand-in for gpu.js, whose kernels give ones.
import { isLeft } from "fp-ts/lib/Either.js";
import { expect, it } from "vitest";
import { real } from "../../compiler/lower/expr.js";
import { createGpujs } from "../../runtime/devices/gpujs/index.js";
import { DeviceError } from "../../runtime/errors.js";
import { axis, into, plan, state } from "./plans.js";

const OUT_OF_MEMORY = 0x0505;
class StandIn {
  static readonly isWebGL2Supported = true;
  static readonly isSinglePrecisionSupported = true;
  static lost = false;
  static error = 0;
  readonly context = {
    NO_ERROR: 0,
    OUT_OF_MEMORY,
    isContextLost: () => StandIn.lost,
    getError: () => {
      const { error } = StandIn;
      StandIn.error = 0;
      return error;
    },
  };
  createKernel(_: string, { output: [width = 1, height = 1] }: { readonly output: readonly number[] }) {
    const rows = () => Array.from({ length: height }, () => new Float32Array(width).fill(StandIn.lost ? 0 : 1));
    const run = () => ({ toArray: () => (height > 1 ? rows() : rows()[0]), delete: () => {} });
    return Object.assign(run, { addNativeFunction: () => {}, destroy: () => {}, kernel: { buffer: {} } });
  }
  async destroy(): Promise<void> {}
}
const faultOf = async (p: Promise<unknown>): Promise<string> => {
  const e = await p.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(e).toBeInstanceOf(DeviceError);
  return (e as DeviceError).message;
};

it("out of memory, and a lost context: results are refused, and so is what would be read of the state", async () => {
  const made = await createGpujs({ mode: "webgl2", load: async () => ({ GPU: StandIn }) });
  if (isLeft(made)) throw made.left;
  using d = made.right;
  const m = axis("m", 5);
  const w = state("w", "f32", [m]);
  const ones = { form: "map" as const, name: "ones", nodes: [], axes: [m], stores: [into(w, [m], real(1))] };
  using program = await d.compile(plan([ones], [w]));
  using s = await d.alloc([{ path: "w", dtype: "f32", elements: 5 }]);
  await program.run(s, {}, new Map());
  expect(await s.read("w")).toEqual(new Float32Array(5).fill(1));
  StandIn.error = OUT_OF_MEMORY;
  expect(await faultOf(program.run(s, {}, new Map()))).toContain("use a smaller batch or model");
  await program.run(s, {}, new Map());
  StandIn.lost = true;
  expect(await faultOf(program.run(s, {}, new Map()))).toContain("go on from a checkpoint");
  expect(await faultOf(s.read("w"))).toContain("go on from a checkpoint");
});
