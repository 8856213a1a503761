// Causal mask
import { dot, formula, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const causal = formula(qkv, ({ q, k, v }) => {
  const s = map(logits({ q, k }), (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
  return dot(softmax(label(s, "scores"), "key"), v, "key");
});
