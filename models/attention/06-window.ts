// Sliding window (Longformer, Mistral)
import { dot, formula, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const window = (W: number) =>
  formula(qkv, ({ q, k, v }) => {
    const s = map({ s: logits({ q, k }), W }, ({ s, W }, { query: i, key: j }) => (j <= i && i - j < W ? s : -Infinity));
    return dot(softmax(label(s, "scores"), "key"), v, "key");
  });
