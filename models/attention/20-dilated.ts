// Dilated window (Longformer, LongNet)
import { dot, formula, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const dilated = (W: number, step: number) =>
  formula(qkv, ({ q, k, v }) => {
    const s = map({ s: logits({ q, k }), W, step }, ({ s, W, step }, { query: i, key: j }) =>
      j <= i && i - j < step * W && (i - j) % step === 0 ? s : -Infinity,
    );
    return dot(softmax(label(s, "scores"), "key"), v, "key");
  });
