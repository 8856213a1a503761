// The devices by name: one line each.
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { type Backend, compiledBackend, oracleBackend } from "../backend.js";
import type { DeviceError } from "../errors.js";
import { createGpujs } from "./gpujs/index.js";
import { createNative } from "./native/index.js";

export interface DeviceOptions {
  readonly threads?: number | undefined;
  readonly cacheDir?: string | undefined;
  /** One line for the user, where something falls short of what was asked for. */
  readonly notice?: ((line: string) => void) | undefined;
}
type Open = (o: DeviceOptions) => Promise<Either<DeviceError, Backend>>;

export const devices = {
  native: async (o) => {
    const d = await createNative(o);
    return isLeft(d) ? d : right(compiledBackend(d.right, d.right.threads));
  },
  gpujs: async () => {
    const d = await createGpujs();
    return isLeft(d) ? d : right(compiledBackend(d.right, 1));
  },
  js: async () => right(oracleBackend()),
} as const satisfies Readonly<Record<string, Open>>;
export type DeviceName = keyof typeof devices;
