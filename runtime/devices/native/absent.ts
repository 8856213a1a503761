// The native device where there is none: a browser's bundle has this file in the place of index.ts (package.json,
// "browser"; the Vite plug-in does the same).
import { left } from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import type * as native from "./index.js";

export type { NativeDevice, NativeOptions } from "./device.js";

export const createNative: typeof native.createNative = async () =>
  left(new DeviceError({ kind: "Unsupported", reason: "a browser runs no native code", todo: 'use the portable device: { device: "gpujs" }' }));
