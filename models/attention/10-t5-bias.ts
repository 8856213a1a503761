// T5 relative bias, learned, logarithmic buckets up to distance 128 (Raffel 2020)
import { dot, formula, label, map, sizes, softmax, view } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const t5 = formula({ ...qkv, b: "bucket" }, ({ q, k, v, b }) => {
  const s = logits({ q, k });
  const bias = view(b, sizes(s, "query", "key"), ({ query: i, key: j }, { bucket: n }) => {
    const d = Math.max(i - j, 0),
      half = n / 2;
    return { bucket: d < half ? d : Math.min(n - 1, half + Math.floor((half * Math.log(d / half)) / Math.log(128 / half))) };
  });
  const biased = map({ s, bias }, ({ s, bias }, { query: i, key: j }) => (j <= i ? s + bias : -Infinity));
  return dot(softmax(label(biased, "scores"), "key"), v, "key");
});
