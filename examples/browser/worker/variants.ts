// The attention variants that the page trains: each as an attention inside a decoder's blocks, made of the library's own formulas.
// A formula is written for one head and no batch, so a block is the same for all of them: projections, rotary positions,
// the formula, and the projection back.
import { type Axes, dot, grid, logSumExp, map, model, rename, rope, softmax, type Tensor, weight } from "@mallard-lang/mallard";
import {
  type Architecture,
  type Attention,
  alibi,
  type Config,
  decoder,
  dilated,
  interventions,
  offByOne,
  sinkTokens,
  softCap,
  window,
} from "@mallard-lang/mallard/models";
import { type Decoder, INTERVENTIONS, type Intervention, type InterventionConfig, type ModelConfig } from "@mallard-lang/mallard/trainer";
import type { VariantName } from "../settings.js";

export interface Variant {
  readonly title: string;
  readonly about: string;
  /** Those that can be had with it: some change the scores themselves, which a formula of its own has fixed. */
  readonly interventions: readonly Intervention[];
  readonly decoder: (c: ModelConfig, intervention: Intervention, o: InterventionConfig) => Decoder;
  /** From the labelled scores to what each query takes of each key. */
  readonly weights: (scores: Tensor<Axes>) => Tensor<Axes>;
}
const overKeys = { weights: (scores: Tensor<Axes>): Tensor<Axes> => softmax(scores, "key") };

type Own = {
  readonly model: number;
  readonly layer: number;
  readonly head: number;
  readonly dim: number;
  readonly ff: number;
  readonly vocab: number;
};
const sizes = (c: ModelConfig): Own => ({ model: c.model, layer: c.layer, head: c.head, dim: c.model / c.head, ff: c.ff, vocab: c.vocab });

/** Variants of which the library has whole decoders. */
const whole = (title: string, about: string, architecture: (c: ModelConfig) => Architecture, without: readonly Intervention[] = []): Variant => ({
  title,
  about,
  interventions: INTERVENTIONS.filter((i) => !without.includes(i)),
  decoder: (c, intervention, o) => interventions[intervention].decoder(architecture(c), o),
  ...overKeys,
});

type Of<A extends string> = Tensor<{ [K in A]: number }>;
/** Of all heads of one sequence. */
type Attend = (x: {
  q: Of<"query" | "head" | "dim">;
  k: Of<"key" | "head" | "dim">;
  v: Of<"key" | "head" | "value">;
}) => Of<"query" | "head" | "value">;

/** A decoder's attention by any formula of queries, keys and values. */
const attentionBy = (c: Config, attend: Attend) =>
  model(
    {
      wq: weight({ model: c.model }, { head: c.head, dim: c.dim }, { std: 0.02 }),
      wk: weight({ model: c.model }, { head: c.head, dim: c.dim }, { std: 0.02 }),
      wv: weight({ model: c.model }, { head: c.head, value: c.dim }, { std: 0.02 }),
      wo: weight({ head: c.head, value: c.dim }, { model: c.model }, { std: 0.02 }),
    },
    { x: "time model" },
    ({ wq, wk, wv, wo, x }) => {
      const xi = rename(x, { time: "query" });
      const xj = rename(x, { time: "key" });
      const q = rope(dot(xi, wq, "model"), "query", "dim", { base: 1e4 });
      const k = rope(dot(xj, wk, "model"), "key", "dim", { base: 1e4 });
      return rename(dot(attend({ q, k, v: dot(xj, wv, "model") }), wo, "head", "value"), { query: "time" });
    },
  );
/** What acts on the weights' updates alone goes with every formula. */
const onUpdates: readonly Intervention[] = ["none", "fixed", "quack", "qk-clip"];
const by = (title: string, about: string, attend: (c: ModelConfig) => Attend, weighed: Pick<Variant, "weights"> = overKeys): Variant => ({
  title,
  about,
  interventions: onUpdates,
  decoder: (c) => decoder<Attention>(sizes(c), attentionBy(sizes(c), attend(c))),
  ...weighed,
});

/** ALiBi's slopes, 2^(−8/H) to 2^(−8). */
const slopes = (head: number) => grid({ head }, ({ head: h }, { head: H }) => 2 ** ((-8 * (h + 1)) / H));

export const variants: Readonly<Record<VariantName, Variant>> = {
  "multi-head": whole("Multi-head", "causal attention, a head its own queries, keys and values", (c) => ({ attention: "mha", config: sizes(c) })),
  "grouped-query": whole("Grouped queries", "two query heads share a head of keys and values", (c) => ({
    attention: "gqa",
    config: { ...sizes(c), group: c.head / 2 },
  })),
  latent: whole(
    "Latent (MLA)",
    "keys and values from one small latent, rotary parts apart",
    (c) => ({
      attention: "mla",
      config: { ...sizes(c), cq: c.model / 4, latent: c.model / 8, nope: c.model / c.head, rope: c.model / c.head, value: (2 * c.model) / c.head },
    }),
    ["qk-norm"],
  ),
  window: by("Sliding window", "the last 16 keys", () => window(16)),
  alibi: by("ALiBi", "a bias that falls with distance, one slope a head", (c) => (x) => alibi({ ...x, m: slopes(c.head) })),
  dilated: by("Dilated window", "16 keys, every other one", () => dilated(16, 2)),
  "sink-tokens": by("Sink tokens", "the first 2 keys and the last 14", () => sinkTokens(2, 14)),
  "soft-cap": by("Soft cap", "scores are 20·tanh(ℓ/20)", () => softCap(20)),
  "off-by-one": by("Softmax off by one", "a head may attend to nothing: exp(s) / (1 + Σ exp(s))", () => offByOne, {
    weights: (s) =>
      map({ p: softmax(s, "key"), lse: logSumExp(s, "key") }, ({ p, lse }) => {
        const e = Math.exp(-Math.abs(lse)); // at most 1: nothing overflows
        return (p * (lse < 0 ? e : 1)) / (1 + e);
      }),
  }),
};
