// Mallard: the trainer's index as browsers have it (package.json, "exports"): batches, training and generation of byte-level
// language models. What needs files or processes is in trainer.ts alone.
export { type Batch, trainingBatch, validationBatches } from "./runtime/data/batches.js";
export type { LanguageDecoder as Decoder } from "./runtime/decoding.js";
export { FULL, isFull, type Precision, precisionText, readPrecision, UPDATES, type WeightUpdate } from "./runtime/precision.js";
export * from "./runtime/train/config.js";
export { generate, type Sampling, TextStream } from "./runtime/train/generate.js";
export { type Ingredients, type LanguageModelProgram, languageModels, stored } from "./runtime/train/language-model.js";
export { type MeasuredStep, type MeasuredStepOptions, measuredStep } from "./runtime/train/measured-step.js";
export { type Problem, type ProblemKind, problem, textOf } from "./runtime/train/problem.js";
export type { Arrays, ProgramFactory, ProgramInfo, TrainingProgram } from "./runtime/train/program.js";
export { type Metrics, type Outcome, type RunRecord, type Training, train } from "./runtime/train/trainer.js";
