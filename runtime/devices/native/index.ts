// The native device for programs as the C target prints them.
import * as E from "fp-ts/lib/Either.js";
import { c } from "../../../compiler/targets/c/program.js";
import { DeviceError } from "../../errors.js";
import { createNativeWith, type EmitC, type NativeDevice, type NativeOptions } from "./device.js";

export type { NativeDevice, NativeOptions } from "./device.js";

const emit: EmitC = (plan) =>
  E.mapLeft(({ target, kernel, message }: { readonly target: string; readonly kernel: string; readonly message: string }) => {
    return new DeviceError({ kind: "Target", target, kernel, message });
  })(c.compile(plan));

/** Left says why there is none on this machine, and what to do. */
export const createNative = (options: NativeOptions = {}): Promise<E.Either<DeviceError, NativeDevice>> => createNativeWith(emit, options);
