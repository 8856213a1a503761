// ALiBi (Press 2022), one slope m a head
import { dot, formula, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const alibi = formula({ ...qkv, m: "" }, ({ q, k, v, m }) => {
  const s = map({ s: logits({ q, k }), m }, ({ s, m }, { query: i, key: j }) => (j <= i ? s - m * (i - j) : -Infinity));
  return dot(softmax(label(s, "scores"), "key"), v, "key");
});
