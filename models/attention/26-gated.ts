// Gated output (Qwen 2025): o ⊙ σ(xW)
import { dot, formula, mul, sigmoid } from "../../dsl/index.js";
import { causal } from "./05-causal.js";
import { qkv } from "./base.js";

export const gated = formula({ ...qkv, x: "query model", w: "model value" }, ({ q, k, v, x, w }) =>
  mul(causal({ q, k, v }), sigmoid(dot(x, w, "model"))),
);
