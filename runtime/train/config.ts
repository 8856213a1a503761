// The settings of a run, as its config.json keeps them. One table each of model sizes, attentions, optimizers, schedules,
// interventions and devices: types, help texts, messages and the tables of docs/training.md are made from these, or held
// to them by a test.

import type { Precision } from "../precision.js";

/** Sizes of the attention's own parts; query heads are the model's `head`. */
export type AttentionConfig =
  | { readonly kind: "mha" }
  /** Key and value heads. */
  | { readonly kind: "gqa"; readonly group: number }
  /** Widths of the query's latent, of the keys' and values', and of a head's three parts. */
  | {
      readonly kind: "mla";
      readonly cq: number;
      readonly latent: number;
      readonly nope: number;
      readonly rope: number;
      readonly value: number;
    };
export type AttentionName = AttentionConfig["kind"];

/** A byte-level decoder: vocabulary 256, `time` bytes a sequence, `batch` sequences a micro-batch. */
export interface ModelConfig {
  readonly vocab: number;
  readonly model: number;
  readonly layer: number;
  readonly head: number;
  readonly ff: number;
  readonly time: number;
  readonly batch: number;
  readonly attention: AttentionConfig;
}
const mha = { kind: "mha" } as const;
export const MODEL_SIZES = {
  micro: { vocab: 256, model: 64, layer: 2, head: 4, ff: 256, time: 64, batch: 8, attention: mha },
  tiny: { vocab: 256, model: 128, layer: 4, head: 4, ff: 512, time: 128, batch: 16, attention: mha },
  small: { vocab: 256, model: 384, layer: 6, head: 6, ff: 1536, time: 256, batch: 8, attention: mha },
} as const satisfies Readonly<Record<string, ModelConfig>>;
export type ModelSize = keyof typeof MODEL_SIZES;
/** Those whose training step is measured: the command's own, and one with the width, depth and vocabulary of the smallest GPT-2. */
export const STEP_SIZES = {
  ...MODEL_SIZES,
  base: { vocab: 50257, model: 768, layer: 12, head: 12, ff: 3072, time: 512, batch: 1, attention: mha },
} as const satisfies Readonly<Record<string, ModelConfig>>;
export type StepSize = keyof typeof STEP_SIZES;

type Sizes = Pick<ModelConfig, "model" | "head">;
interface AttentionRow<K extends AttentionName> {
  readonly about: string;
  /** Sizes that fit a model. */
  readonly of: (m: Sizes) => Extract<AttentionConfig, { readonly kind: K }>;
}
export const ATTENTIONS: { readonly [K in AttentionName]: AttentionRow<K> } = {
  mha: { about: "multi-head", of: () => mha },
  gqa: { about: "grouped queries: two query heads share a key and value head", of: ({ head }) => ({ kind: "gqa", group: head / 2 }) },
  mla: {
    about: "latent: queries from a latent of a quarter of the width, keys and values from one of an eighth, rotary parts apart",
    // The proportions of the paper's 1B model (models/sizes.ts).
    of: ({ model, head }) => ({ kind: "mla", cq: model / 4, latent: model / 8, nope: model / head, rope: model / head, value: (2 * model) / head }),
  },
};

/** `lr`: the rate unless said, which suits the sizes above. `squares`: whether it keeps averages of squared gradients. */
export const OPTIMIZERS = {
  adamw: { lr: 3e-3, squares: true, about: "Adam, its decay decoupled (β 0.9, 0.95)" },
  sgd: { lr: 0.1, squares: false, about: "gradient descent with momentum 0.9; its step has no bound unless --clip-step states one" },
  lion: { lr: 1e-3, squares: false, about: "the sign of a mean of gradients (β 0.9, 0.99)" },
  muon: { lr: 0.02, squares: true, about: "momentum made orthogonal (five Newton–Schulz steps); AdamW for embedding and gains, at --adamw-lr" },
} as const satisfies Readonly<Record<string, { readonly lr: number; readonly squares: boolean; readonly about: string }>>;
export type OptimizerName = keyof typeof OPTIMIZERS;
/** Of the AdamW beside Muon. */
export const ADAMW_LR = OPTIMIZERS.adamw.lr;

export const SCHEDULES = {
  constant: { about: "stays" },
  cosine: { about: "falls to 0 at the last step along half a cosine" },
  wsd: { about: "stays, and falls to 0 linearly over the last --cooldown steps" },
} as const satisfies Readonly<Record<string, { readonly about: string }>>;
export type ScheduleName = keyof typeof SCHEDULES;

export const NORMS = ["frobenius", "spectral"] as const;
export const COMBINES = ["max", "sum"] as const;
/** What an intervention may be given. */
export interface InterventionConfig {
  /** Factor of the rates of the weights that the logits are made of. */
  readonly tau: number;
  readonly norm: (typeof NORMS)[number];
  /** How the paths from a weight to the logits combine. */
  readonly combine: (typeof COMBINES)[number];
  /** Added below every norm. */
  readonly floor: number;
  /** Of a logit. */
  readonly limit: number;
}
/** What is done against logits that grow; what each is, the table of interventions in `models` says. */
export const INTERVENTIONS = ["none", "fixed", "quack", "qk-norm", "qk-clip", "soft-cap", "sigma-reparam", "mup"] as const;
export type Intervention = (typeof INTERVENTIONS)[number];
const plain: InterventionConfig = { tau: 1, norm: "frobenius", combine: "max", floor: 0, limit: 100 };
/** What counts unless said. QuacK starts at the rates of all other weights and lowers them as the partners grow; a fixed
 *  factor is all there is. The limits are Kimi K2's and Gemma 2's. */
export const defaultsOf = (intervention: Intervention): InterventionConfig =>
  intervention === "fixed" ? { ...plain, tau: 0.1 } : intervention === "soft-cap" ? { ...plain, limit: 50 } : plain;

export const DEVICES = ["native", "webgpu", "gpujs", "js"] as const;
export type DeviceName = (typeof DEVICES)[number];
/** What webgpu runs on where it is not the machine's GPU. */
export const ADAPTERS = ["software"] as const;
export type Adapter = (typeof ADAPTERS)[number];

/** What the compiled program depends on, beside the model's sizes. */
export interface ProgramConfig extends InterventionConfig {
  readonly optimizer: OptimizerName;
  /** Rate of Muon's AdamW, as a multiple of the schedule's: rates rise and fall together. */
  readonly partner: number;
  /** Decoupled decay of the matrices; embedding and gains have none. */
  readonly decay: number;
  readonly intervention: Intervention;
  /** Greatest norm of the whole gradient; null leaves it as it is. */
  readonly clip: number | null;
  /** Greatest norm D of a matrix's step at rate 1; null leaves it as it is. */
  readonly clipStep: number | null;
  /** Weight of the squared log-sum-exp of the output logits in the loss. */
  readonly zLoss: number;
  /** Whether certificate and budget of the logits' change are evaluated in every probed step. */
  readonly bounds: boolean;
  /** Micro-batches summed before an update. */
  readonly accumulate: number;
  /** Sequences of the probe batch. */
  readonly probeSequences: number;
  /** What weights, optimizer state and kept activations are stored as. */
  readonly precision: Precision;
  readonly device: DeviceName;
  /** Of webgpu: the machine's GPU unless said. */
  readonly adapter?: Adapter | undefined;
  readonly threads: number;
  /** Key of the initial weights (and of the data order). */
  readonly seed: number;
}

export interface TrainerConfig {
  readonly steps: number;
  /** Rate after warm-up. */
  readonly lr: number;
  readonly schedule: ScheduleName;
  /** Steps in which the rate rises linearly to lr. */
  readonly warmup: number;
  /** Steps of wsd's fall. */
  readonly cooldown: number;
  /** Steps between two validations, each of which also writes a checkpoint. */
  readonly evalEvery: number;
  /** Batches of a validation. */
  readonly evalBatches: number;
  /** Steps between two readings of the change of the logits; 0 for none. */
  readonly probeEvery: number;
}

export const namesOf = <K extends string>(table: Readonly<Record<K, unknown>>): readonly K[] => Object.keys(table) as K[]; // its own keys
