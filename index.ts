// Mallard: the public index.
export * from "./dsl/index.js";
export { CompileError } from "./runtime/backend.js";
export type { HostArray } from "./runtime/device.js";
export type { DeviceName, DeviceOptions } from "./runtime/devices/index.js";
export { DeviceError } from "./runtime/errors.js";
export { type CompileOptions, compile, compileIn, openSession, type Program, type Results } from "./runtime/program.js";
export { Session } from "./runtime/session.js";
