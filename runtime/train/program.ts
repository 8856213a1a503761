// What the trainer and the generator need of a compiled language model, and no more: they know batches, rates and
// named arrays; the program knows expressions, kernels and devices. `language-model.ts` builds the real one.
import type { Either } from "fp-ts/lib/Either.js";
import type { Batch } from "../data/batches.js";
import type { NotFinite } from "../finite.js";
import type { Storage } from "../precision.js";
import type { TuneOptions } from "../tune.js";
import type { Bounds } from "./bounds.js";
import type { ModelConfig, ProgramConfig } from "./config.js";
import type { Problem } from "./problem.js";

/** A float array and its axes' sizes, row-major. `dtype`: what it is stored as, f32 unless said; values of half width are given as
 *  f32, which holds them. */
export interface NamedArray {
  readonly dtype?: Storage;
  readonly data: Float32Array;
  readonly shape: readonly number[];
}
/** By path, such as "blocks.attention.wq". */
export type Arrays = ReadonlyMap<string, NamedArray>;

export interface StepResult {
  /** Mean over all tokens of the step, in nats a byte, before the update. */
  readonly loss: number;
  /** Greatest attention logit of the step (before the update), over all layers, heads and unmasked pairs. */
  readonly maxLogit: number;
  /** The same apart, row-major [layer, head]. */
  readonly maxLogits?: Float32Array;
  /** Norm of the whole gradient, before clipping. */
  readonly gradNorm?: number;
  /** The weight whose gradient has the greatest norm, and that norm. */
  readonly steepest?: { readonly weight: string; readonly norm: number };
  /** Where they were asked for: bounds of how far the step moves the logits, each row-major [layer, head]. */
  readonly bounds?: Bounds;
  /** What was not finite: the weights that the step left are of no use. Left out where all is well. */
  readonly fault?: NotFinite;
}

/** Attention logits of every layer on a batch, with the inputs each layer's attention had. Masked pairs are −Infinity
 *  or left out, the same way each time; layer and head are outermost. */
export interface Probe {
  readonly logits: Float32Array;
  readonly inputs: Float32Array;
  /** Where bounds are asked for: the inputs' greatest norms, by layer. */
  readonly norms?: readonly Float32Array[];
}

export interface ProgramInfo {
  readonly parameters: number;
  readonly device: string;
  /** What computes: "2 threads", or the adapter's name. */
  readonly hardware: string;
  /** Of the weights, and of the optimizer's state, as they are stored. */
  readonly bytes: { readonly params: number; readonly state: number };
  readonly kernels: number;
  readonly compileMs: number;
  /** How many steps may be asked for while one is under way, since results come back late; none unless said. */
  readonly ahead?: number | undefined;
}

export interface TrainingProgram {
  readonly info: ProgramInfo;
  /** One update with rate `lr`; `t` counts from 1; with bounds of the change of the logits for attentions whose inputs have
   *  these norms. The batch has `accumulate` × `batch` sequences, micro-batch outermost. */
  step(batch: Batch, lr: number, t: number, bounded?: Required<Pick<Probe, "norms">>): Promise<StepResult>;
  /** Mean loss over a batch of `batch` sequences; changes nothing. */
  evaluate(batch: Batch): Promise<number>;
  /** Logits on a batch of `probeSequences` sequences; changes nothing. */
  probe(batch: Batch): Promise<Probe>;
  /** The logits that the present weights give where every layer's attention gets these inputs. */
  probeFrozen(inputs: Float32Array): Promise<Float32Array>;
  /** Feeds tokens at positions `at`, `at` + 1, … (0 starts anew) and returns the logits [vocab] after the last one.
   *  at + tokens.length ≤ time. */
  decode(tokens: Int32Array, at: number): Promise<Float32Array>;
  weights(): Promise<Arrays>;
  /** The optimizer's state. */
  state(): Promise<Arrays>;
  /** Refuses paths, shapes or storage that are not the program's own; with `convert`, other storage is converted: values are
   *  rounded to the program's, a weight takes its master's value where the program keeps none, and a master that there was none
   *  of begins as its weight. `state` is null where only the weights matter. */
  load(weights: Arrays, state: Arrays | null, o?: { readonly convert?: boolean }): Promise<Either<Problem, void>>;
  [Symbol.dispose](): void;
}

/** `training` compiles the step; `generation` only what `decode` needs: step, evaluate and probe are not asked of it. */
export type Purpose = "training" | "generation";
/** `tune`: what is compiled for the purpose is measured first; later programs take what is known by then. */
export type ProgramFactory = (
  model: ModelConfig,
  options: ProgramConfig,
  purpose: Purpose,
  tune?: TuneOptions,
) => Promise<Either<Problem, TrainingProgram>>;
