// Learned sink logit (gpt-oss): e^s / (e^z + Σ e^s) = softmax(s) · σ(lse − z)
import { dot, formula, label, logSumExp, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const sinkLogit = formula({ ...qkv, z: "" }, ({ q, k, v, z }) => {
  const s = label(
    map(logits({ q, k }), (s, { query: i, key: j }) => (j <= i ? s : -Infinity)),
    "scores",
  );
  return map({ o: dot(softmax(s, "key"), v, "key"), lse: logSumExp(s, "key"), z }, ({ o, lse, z }) => {
    const e = Math.exp(lse < z ? lse - z : z - lse); // at most 1: a row without keys has lse = −∞
    return (o * (lse < z ? e : 1)) / (1 + e);
  });
});
