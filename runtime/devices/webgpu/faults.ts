// What a host's faults are for the user.
import { type Either, isLeft } from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import type { GpuFault } from "./host.js";

/** `what`: the memory that was asked for, or the program that ran. */
export function errorOf(fault: GpuFault, what: string): DeviceError {
  switch (fault.kind) {
    case "lost":
      return new DeviceError({ kind: "DeviceLost", device: "webgpu", reason: fault.reason, message: fault.message });
    case "memory":
      return new DeviceError({ kind: "OutOfMemory", what, bytes: fault.bytes });
    case "refused":
      return new DeviceError({ kind: "Refused", device: "webgpu", what: fault.what, message: fault.message });
  }
}
export function answer<T>(given: Either<GpuFault, T>, what: string): T {
  if (isLeft(given)) throw errorOf(given.left, what);
  return given.right;
}
