// QK norm (Henry 2020; Qwen3): RMS norm with learned gains on both sides
import { formula, mul, rms } from "../../dsl/index.js";
import { causal } from "./05-causal.js";
import { qkv } from "./base.js";

export const qkNorm = formula({ ...qkv, gq: "dim", gk: "dim" }, ({ q, k, v, gq, gk }) =>
  causal({ q: mul(rms(q, "dim"), gq), k: mul(rms(k, "dim"), gk), v }),
);
