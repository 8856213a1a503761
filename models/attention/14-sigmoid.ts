// Sigmoid attention (Ramapuram 2024), b = −log n
import { dot, formula, map } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const sigmoidAttention = formula(qkv, ({ q, k, v }) => {
  const p = map(logits({ q, k }), (s, { query: i, key: j }, { key: n }) => (j <= i ? 1 / (1 + n * Math.exp(-s)) : 0));
  return dot(p, v, "key");
});
