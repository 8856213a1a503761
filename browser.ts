// Mallard: the public index as browsers have it (package.json, "exports"): the language, compiling and running it, training.
// What needs files or processes is in index.ts alone.
export * from "./dsl/index.js";
export { CompileError } from "./runtime/backend.js";
export { type Decoding, type DecodingOptions, decoding, type LanguageDecoder } from "./runtime/decoding.js";
export type { HostArray } from "./runtime/device.js";
export type { DeviceName, DeviceOptions } from "./runtime/devices/index.js";
export { DeviceError } from "./runtime/errors.js";
export { DivergedError, type NotFinite } from "./runtime/finite.js";
export { type Expression, type Halves, halvesOf } from "./runtime/halves.js";
export { type Kernel, kernelsOfProgram, type Printed, type Printer } from "./runtime/kernels.js";
export { type Precision, precisionOf, precisionText, readPrecision, type WeightUpdate } from "./runtime/precision.js";
export { cPrinter, gpujsPrinter, kernelsOf, type PrintedTarget, printedTargets, wgslPrinter } from "./runtime/printers.js";
export {
  type CompileOptions,
  compile,
  compileIn,
  inputLeaves,
  openSession,
  type Program,
  type Results,
} from "./runtime/program.js";
export { type ProgramSpec, Session, SessionProgram } from "./runtime/session.js";
export { type Training, type TrainOptions, train } from "./runtime/train.js";
export { startTraining, type TrainingPrograms, type TrainingSpec, trainingPrograms } from "./runtime/training.js";
export type { TuneOptions, TuneProgress } from "./runtime/tune.js";
