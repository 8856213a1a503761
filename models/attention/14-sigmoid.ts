// Sigmoid attention (Ramapuram 2024), b = −log n
import { dot, formula, map } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const sigmoidAttention = formula(qkv, ({ q, k, v }) => {
  const p = map(logits({ q, k }), (s, { query: i, key: j }, { key: n }) => {
    const e = Math.exp(s < 0 ? s : -s); // at most 1: neither σ nor its derivative overflows
    return j <= i ? (s < 0 ? e : 1) / (s < 0 ? e + n : 1 + n * e) : 0;
  });
  return dot(p, v, "key");
});
