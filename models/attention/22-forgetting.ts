// Forgetting transformer (Lin 2025): s + Σ_{l=j+1..i} log f_l
import { cumsum, dot, formula, label, map, rename, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const forgetting = formula({ ...qkv, logf: "time" }, ({ q, k, v, logf }) => {
  const F = cumsum(logf, "time");
  const s = map({ s: logits({ q, k }), Fi: rename(F, { time: "query" }), Fj: rename(F, { time: "key" }) }, ({ s, Fi, Fj }, { query: i, key: j }) =>
    j <= i ? s + Fi - Fj : -Infinity,
  );
  return dot(softmax(label(s, "scores"), "key"), v, "key");
});
