// Prefix LM (T5): one prefix length a sequence
import { dot, formula, ints, label, map, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const prefix = formula({ ...qkv, prefix: ints("") }, ({ q, k, v, prefix }) => {
  const s = map({ s: logits({ q, k }), prefix }, ({ s, prefix }, { query: i, key: j }) => (j <= i || j < prefix ? s : -Infinity));
  return dot(softmax(label(s, "scores"), "key"), v, "key");
});
