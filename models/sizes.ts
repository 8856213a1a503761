// Sizes of known models, and counting parameters. A model is an expression: nothing is allocated until it runs.
import { leavesOf, type Tree } from "../dsl/index.js";
import type { Config, LatentConfig } from "./blocks.js";

const shared = { model: 2048, layer: 14, head: 32, ff: 8192, vocab: 49152 } as const;
/** QuacK's 1B model with multi-head attention: `transformer(PAPER_MHA)` has 1,040,246,784 parameters, 1,792 more with
 *  `qkNorm`. */
export const PAPER_MHA = { ...shared, dim: 64 } as const satisfies Config;
/** QuacK's 1B model with latent attention: `latentTransformer(PAPER_MLA)` has 998,041,600 parameters. */
export const PAPER_MLA = { ...shared, cq: 512, latent: 256, nope: 64, rope: 64, value: 128 } as const satisfies LatentConfig;

/** Numbers that a model's parameters have: shared weights count once. */
export const parameterCount = (m: { readonly params: unknown }): number =>
  [...new Set(leavesOf(m.params as Tree).map(({ tensor }) => tensor))].reduce(
    (n, { axes }) => n + Object.values(axes as Readonly<Record<string, number>>).reduce((p, size) => p * size, 1), // weights have fixed sizes
    0,
  );
