// The settings of a run, as its config.json keeps them. One list each of model sizes, optimizers, interventions and
// devices: types, help texts and messages are made from these.

/** A byte-level decoder: vocabulary 256, `time` bytes a sequence, `batch` sequences a micro-batch. */
export interface ModelConfig {
  readonly vocab: number;
  readonly model: number;
  readonly layer: number;
  readonly head: number;
  readonly ff: number;
  readonly time: number;
  readonly batch: number;
}
export const MODEL_SIZES = {
  micro: { vocab: 256, model: 64, layer: 2, head: 4, ff: 256, time: 64, batch: 8 },
  tiny: { vocab: 256, model: 128, layer: 4, head: 4, ff: 512, time: 128, batch: 16 },
  small: { vocab: 256, model: 384, layer: 6, head: 6, ff: 1536, time: 256, batch: 8 },
} as const satisfies Readonly<Record<string, ModelConfig>>;
export type ModelSize = keyof typeof MODEL_SIZES;

export const OPTIMIZERS = ["adamw", "sgd"] as const;
export type OptimizerName = (typeof OPTIMIZERS)[number];

/** none: every weight at the same rate; fixed: query and key weights at τ times it; quack: QuacK (quack.md). */
export const INTERVENTIONS = ["none", "fixed", "quack"] as const;
export type Intervention = (typeof INTERVENTIONS)[number];

export const DEVICES = ["native", "gpujs", "js"] as const;
export type DeviceName = (typeof DEVICES)[number];

/** What the compiled program depends on, beside the model. */
export interface ProgramConfig {
  readonly optimizer: OptimizerName;
  readonly intervention: Intervention;
  /** Factor of the query and key rates; counts for the interventions fixed and quack. */
  readonly tau: number;
  /** Greatest norm of the whole gradient; null leaves it as it is. */
  readonly clip: number | null;
  /** Micro-batches summed before an update. */
  readonly accumulate: number;
  /** Sequences of the probe batch. */
  readonly probeSequences: number;
  readonly device: DeviceName;
  readonly threads: number;
  /** Key of the initial weights (and of the data order). */
  readonly seed: number;
}

export interface TrainerConfig {
  readonly steps: number;
  /** Rate after warm-up: lr·min(1, t / warmup). */
  readonly lr: number;
  readonly warmup: number;
  /** Steps between two validations, each of which also writes a checkpoint. */
  readonly evalEvery: number;
  /** Batches of a validation. */
  readonly evalBatches: number;
  /** Steps between two readings of the change of the logits; 0 for none. */
  readonly probeEvery: number;
}

export const rateAt = (t: number, { lr, warmup }: TrainerConfig): number => (warmup > 0 ? lr * Math.min(1, t / warmup) : lr);
