// Sink tokens and a window (StreamingLLM)
import { dot, formula, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const sinkTokens = (n: number, W: number) =>
  formula(qkv, ({ q, k, v }) => {
    const s = map({ s: logits({ q, k }), n, W }, ({ s, n, W }, { query: i, key: j }) => (j <= i && (j < n || i - j < W) ? s : -Infinity));
    return dot(softmax(label(s, "scores"), "key"), v, "key");
  });
