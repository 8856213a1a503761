// What masks leave of an attention's logits.
import { lift } from "../map.js";
import { handle, nodeOf } from "../tensor.js";
import type { Axes, Tensor } from "../types.js";

const kept = ({ l, s }: { readonly l: number; readonly s: number }) => (s === -Infinity ? -Infinity : l);
/** The values labelled "logits", which are before soft cap and bias, and −∞ where the attention's "scores" are: of what a
 *  mask lets through. Axes as the two have them, query and key among them. */
export const unmasked = (logits: Tensor<Axes, "f32">, scores: Tensor<Axes, "f32">): Tensor<Axes, "f32"> =>
  handle(lift({ l: nodeOf(logits, "unmasked: the logits"), s: nodeOf(scores, "unmasked: the scores") }, kept));
