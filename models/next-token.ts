// The loss of a language model at each position: the cross-entropy of the token that follows.
import { crossEntropy, type Tensor } from "../dsl/index.js";

type Tokens = Tensor<{ time: number }, "i32">;
/** `bound`: from tokens over time to logits over time and vocab. Lifts over batches, as every formula does. */
export const nextToken =
  ({ bound }: { readonly bound: (x: { readonly tokens: Tokens }) => Tensor<{ time: number; vocab: number }> }) =>
  (tokens: Tokens, following: Tokens): Tensor<{ time: number }> =>
    crossEntropy(bound({ tokens }), following, "vocab");
