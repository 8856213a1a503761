// Mallard: the public index.

export { type PlanProduct, type ProductAxis, type ProductSide, productsOf } from "./compiler/explain/products.js";
export { type KernelScaling, type Scaling, type Share, scalingOf } from "./compiler/explain/scaling.js";
export * from "./dsl/index.js";
export { CompileError } from "./runtime/backend.js";
export { type Checked, Checker, type Comparison } from "./runtime/check/checker.js";
export type { LogitModel, ModelInput } from "./runtime/check/logit-model.js";
export type { AnyOptimizer, LogitOptions, LogitWeight } from "./runtime/check/logit-programs.js";
export { type LogitCase, type LogitOutcome, LogitTrials, type Met } from "./runtime/check/logits.js";
export { type ExtentsByName, type Range, randomNumbers } from "./runtime/check/values.js";
export { type Decoding, type DecodingOptions, decoding, type LanguageDecoder } from "./runtime/decoding.js";
export {
  type BoundsText,
  boundsOf,
  boundsText,
  type DerivedBounds,
  type LogitBounds,
  type LogitText,
  type PathFormula,
  type RateFormula,
} from "./runtime/derived.js";
export type { HostArray } from "./runtime/device.js";
export type { DeviceName, DeviceOptions } from "./runtime/devices/index.js";
export { openPeak, type Peak, type PeakTask } from "./runtime/devices/native/peak.js";
export { type Diagnosis, diagnosesOf } from "./runtime/diagnoses.js";
export { DeviceError } from "./runtime/errors.js";
export { authored, excerpt } from "./runtime/excerpt.js";
export {
  type Boundary,
  type Count,
  type Half,
  type Quadratic,
  type Stage,
  stagesOf,
  type Temporaries,
  type Verdict,
  verdict,
} from "./runtime/explain.js";
export { type ExportedFile, type ExportTarget, exportedFiles, exportTargets, writeFiles } from "./runtime/export.js";
export { DivergedError, type NotFinite } from "./runtime/finite.js";
export { type Expression, type Halves, halvesOf } from "./runtime/halves.js";
export { type Kernel, kernelsOfProgram, type Printed, type Printer } from "./runtime/kernels.js";
export { memoryOf, type ProgramMemory } from "./runtime/memory.js";
export { type Precision, precisionOf, precisionText, readPrecision, type WeightUpdate } from "./runtime/precision.js";
export { cPrinter, gpujsPrinter, kernelsOf, type PrintedTarget, printedTargets, wgslPrinter } from "./runtime/printers.js";
export { type KernelSource, type KernelTime, kernelTimes } from "./runtime/profile.js";
export {
  type Attained,
  attained,
  type ExpressionProfileOptions,
  type ProfiledExpression,
  type ProfileOptions,
  profileExpression,
  profileRuns,
  type RunProfile,
  titleOf,
} from "./runtime/profiling.js";
export {
  type CompileOptions,
  compile,
  compileIn,
  inputLeaves,
  openSession,
  type Program,
  type Results,
} from "./runtime/program.js";
export { measureRoofs, type Roofs, roofsOf } from "./runtime/roofs.js";
export { type ProgramSpec, Session, SessionProgram } from "./runtime/session.js";
export { type Training, type TrainOptions, train } from "./runtime/train.js";
export { startTraining, type TrainingPrograms, type TrainingSpec, trainingPrograms } from "./runtime/training.js";
export type { TuneOptions, TuneProgress } from "./runtime/tune.js";
