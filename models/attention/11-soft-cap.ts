// Soft-capped logits (Gemma 2)
import { dot, formula, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const softCap = (c: number) =>
  formula(qkv, ({ q, k, v }) => {
    const s = map({ s: logits({ q, k }), c }, ({ s, c }, { query: i, key: j }) => (j <= i ? c * Math.tanh(s / c) : -Infinity));
    return dot(softmax(label(s, "scores"), "key"), v, "key");
  });
