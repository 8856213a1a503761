// The native device for programs as the C target prints them.
import * as E from "fp-ts/lib/Either.js";
import { c } from "../../../compiler/targets/c/program.js";
import { DeviceError } from "../../errors.js";
import { type TuneOptions, tuner } from "../../tune.js";
import { createNativeWith, type EmitC, type NativeDevice, type NativeOptions } from "./device.js";

export type { NativeDevice, NativeOptions } from "./device.js";

const emit: EmitC = (plan, choices) =>
  E.mapLeft(({ target, kernel, message }: { readonly target: string; readonly kernel: string; readonly message: string }) => {
    return new DeviceError({ kind: "Target", target, kernel, message });
  })(c.compile(plan, choices));

/** Left says why there is none on this machine, and what to do. `tune`: programs are measured before they are compiled. */
export const createNative = (
  options: NativeOptions & { readonly tune?: TuneOptions | undefined } = {},
): Promise<E.Either<DeviceError, NativeDevice>> => {
  const notice = options.notice ?? ((line: string) => process.stderr.write(`${line}\n`));
  return createNativeWith(emit, options, options.tune && tuner(options.tune, notice));
};
