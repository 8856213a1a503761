// What is done against logits that grow, by name: one table from which a trainer builds model, optimizer and loss, and
// makes its help. An intervention changes one of the three and leaves the others; that every entry has all three keeps
// whoever uses the table free of cases.
import { ArgumentError, type Model, type Optimizer, type Tensor, type Tree } from "../dsl/index.js";
import { handle } from "../dsl/tensor.js";
import {
  type Attention,
  type Config,
  type Decoder,
  decoder,
  type GroupedConfig,
  gqa,
  gqaNormed,
  type LatentConfig,
  mha,
  mhaNormed,
  mla,
  mlaNormed,
  swiglu,
} from "./blocks.js";
import { qkClip } from "./qk-clip.js";
import { fixed, type QuackOptions, quack } from "./quack.js";
import { sigmaReparam } from "./sigma-reparam.js";

/** A decoder's attention, with its sizes. */
export type Architecture =
  | { readonly attention: "mha"; readonly config: Config }
  | { readonly attention: "gqa"; readonly config: GroupedConfig }
  | { readonly attention: "mla"; readonly config: LatentConfig };

/** What an intervention may be given; what it does not take it does not read. */
export interface InterventionOptions extends QuackOptions {
  /** Of a logit: QK clip's t (100 unless said), the soft cap's c (50). */
  readonly limit?: number;
  /** Of the z-loss: 1e-4 unless said. */
  readonly z?: number;
}
export interface Intervention {
  /** One line for help. */
  readonly about: string;
  /** The options that it takes. */
  readonly takes: readonly (keyof InterventionOptions)[];
  readonly decoder: (a: Architecture, o: InterventionOptions) => Decoder<Attention>;
  readonly optimizer: (inner: Optimizer, o: InterventionOptions) => Optimizer;
  /** What the loss gets: crossEntropy's `z`. */
  readonly loss: (o: InterventionOptions) => { readonly z: number };
}

const attentionOf = (a: Architecture): Attention =>
  a.attention === "mha" ? mha(a.config) : a.attention === "gqa" ? gqa(a.config) : a.config.latentNorm ? mlaNormed(a.config) : mla(a.config);
const withScores = (a: Architecture, more: Pick<Config, "softCap" | "muP">): Architecture =>
  a.attention === "mha"
    ? { ...a, config: { ...a.config, ...more } }
    : a.attention === "gqa"
      ? { ...a, config: { ...a.config, ...more } }
      : { ...a, config: { ...a.config, ...more } };
const usual: Pick<Intervention, "decoder" | "optimizer" | "loss"> = {
  decoder: (a) => decoder<Attention>(a.config, attentionOf(a)),
  optimizer: (inner) => inner,
  loss: () => ({ z: 0 }),
};
type Stream = Tensor<{ time: number; model: number }>;
/** Attention is a model seen by its form alone. */
const asModel = (a: Attention): Model<unknown, Attention["inputs"], Stream> => handle(a);
/** A transformation with another state, which a trainer only passes on. */
const passedOn = <S extends Tree>(o: Optimizer<S>): Optimizer => handle(o);

export const interventions = {
  none: { ...usual, about: "every weight at the same rate", takes: [] },
  fixed: {
    ...usual,
    about: "weights below the logits at τ times the rate",
    takes: ["tau"],
    optimizer: (inner, { tau = 0.1 }) => passedOn(fixed(inner, { tau })),
  },
  quack: {
    ...usual,
    about: "QuacK: weights below the logits at τ·f(W)/f(W)₀ times the rate, f from their partners' norms",
    takes: ["tau", "norm", "combine", "floor", "heuristic"],
    optimizer: (inner, { limit: _, z: __, ...o }) => passedOn(quack(inner, o)),
  },
  "qk-norm": {
    ...usual,
    about: "queries and keys are RMS-normed over a head, with learned gains, before the rotation",
    takes: [],
    decoder: (a) => {
      if (a.attention === "mha") return decoder<Attention>(a.config, mhaNormed({ ...a.config, qkNorm: true }));
      if (a.attention === "gqa") return decoder<Attention>(a.config, gqaNormed({ ...a.config, qkNorm: true }));
      throw new ArgumentError(
        "qk-norm: latent attention has none",
        "its keys stand in no cache by head that could be normed; choose another intervention",
      );
    },
  },
  "qk-clip": {
    ...usual,
    about: "after a step, heads whose greatest logit passed the limit are scaled back to it",
    takes: ["limit"],
    optimizer: (inner, { limit = 100 }) => passedOn(qkClip(inner, { limit })),
  },
  "soft-cap": {
    ...usual,
    about: "scores are c·tanh(ℓ/c)",
    takes: ["limit"],
    decoder: (a, { limit = 50 }) => usual.decoder(withScores(a, { softCap: limit }), {}),
  },
  "sigma-reparam": {
    ...usual,
    about: "every matrix of a block is γ·W/σ(W), σ the spectral norm, γ learned",
    takes: [],
    decoder: (a) => decoder<Attention>(a.config, sigmaReparam(asModel(attentionOf(a))), sigmaReparam(swiglu(a.config))),
  },
  mup: { ...usual, about: "logits are scaled by 1/d, not 1/√d", takes: [], decoder: (a) => usual.decoder(withScores(a, { muP: true }), {}) },
  "z-loss": { ...usual, about: "the loss has z·(log Σ exp)² of the output logits beside", takes: ["z"], loss: ({ z = 1e-4 }) => ({ z }) },
} as const satisfies Readonly<Record<string, Intervention>>;
export type InterventionName = keyof typeof interventions;
