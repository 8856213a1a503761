// 2-simplicial attention (Clift 2019; Roy 2025): one softmax over pairs (j, k)
import { dot, formula, map, mul, scale, size, softmax } from "../../dsl/index.js";

export const simplicial = formula({ q: "query dim", k: "key dim", k2: "key2 dim", v: "key value", v2: "key2 value" }, ({ q, k, k2, v, v2 }) => {
  const s = scale(dot(mul(q, k), k2, "dim"), size(q, "dim") ** -0.5);
  const p = softmax(
    map(s, (s, { query: i, key: j, key2: l }) => (j <= i && l <= i ? s : -Infinity)),
    "key",
    "key2",
  );
  return dot(p, mul(v, v2), "key", "key2");
});
