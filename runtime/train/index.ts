// The trainer as a whole: data, runs, training, generation, and which devices there are to do it on.

export { type Batch, trainingBatch, validationBatches } from "../data/batches.js";
export { type Corpus, GUTENBERG, loadCorpus } from "../data/corpus.js";
export type { LanguageDecoder as Decoder } from "../decoding.js";
export { FULL, isFull, type Precision, precisionText, readPrecision, UPDATES, type WeightUpdate } from "../precision.js";
export { TUNE_SECONDS, type TuneOptions, type TuneProgress } from "../tune.js";
export {
  ADAMW_LR,
  ADAPTERS,
  type Adapter,
  ATTENTIONS,
  type AttentionConfig,
  type AttentionName,
  COMBINES,
  DEVICES,
  type DeviceName,
  defaultsOf,
  INTERVENTIONS,
  type Intervention,
  type InterventionConfig,
  MODEL_SIZES,
  type ModelConfig,
  type ModelSize,
  NORMS,
  namesOf,
  OPTIMIZERS,
  type OptimizerName,
  type ProgramConfig,
  SCHEDULES,
  type ScheduleName,
  STEP_SIZES,
  type StepSize,
  type TrainerConfig,
} from "./config.js";
export { pickDevice } from "./devices.js";
export { generate, type Sampling, TextStream } from "./generate.js";
export { type Ingredients, type LanguageModelProgram, languageModels, stored } from "./language-model.js";
export { type Check, examine, type Findings } from "./machine.js";
export { type MeasuredStep, type MeasuredStepOptions, measuredStep } from "./measured-step.js";
export { type Problem, type ProblemKind, problem, textOf } from "./problem.js";
export type { Arrays, ProgramFactory, ProgramInfo, TrainingProgram } from "./program.js";
export { RUN_FORMAT, type RunConfig } from "./run-config.js";
export { type Checkpoint, checkParent, createRun, openRun, type RunFolder, type WritableRun } from "./run-folder.js";
export { type Metrics, type Outcome, type RunRecord, type Training, train } from "./trainer.js";
