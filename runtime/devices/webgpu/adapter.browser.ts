// Where a WebGPU adapter comes from in a browser, page or worker.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import { type FoundAdapter, ownGpu } from "./gpu.js";

/** undefined: the machine's GPU. */
export type AdapterChoice = "software" | undefined;

export async function findAdapter(choice: AdapterChoice): Promise<Either<DeviceError, FoundAdapter>> {
  const none = (reason: string) =>
    left(
      new DeviceError({
        kind: "NoAdapter",
        device: "webgpu",
        reason,
        todo: "use a browser that has WebGPU (Chrome or Edge 113, Safari 26, Firefox 141 or later) on a secure page (https or localhost), or the gpujs device",
      }),
    );
  const gpu = ownGpu();
  if (!gpu) return none("this browser has no navigator.gpu");
  try {
    const adapter = await gpu.requestAdapter(choice === "software" ? { forceFallbackAdapter: true } : { powerPreference: "high-performance" });
    return adapter ? right({ adapter, from: gpu }) : none("the browser's WebGPU has no adapter for this machine");
  } catch (e) {
    return none(e instanceof Error ? e.message : String(e));
  }
}
