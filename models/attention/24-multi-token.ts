// Multi-token attention (Golovneva 2025): a learned convolution over the scores
import { dot, formula, map, sizes, softmax, taps } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const multiToken = formula({ ...qkv, theta: "a b" }, ({ q, k, v, theta }) => {
  const s = map(logits({ q, k }), (s, { query: i, key: j }) => (j <= i ? s : 0));
  const mixed = dot(taps(taps(s, "query", sizes(theta, "a")), "key", sizes(theta, "b"), { centre: true }), theta, "a", "b");
  return dot(
    softmax(
      map(mixed, (s, { query: i, key: j }) => (j <= i ? s : -Infinity)),
      "key",
    ),
    v,
    "key",
  );
});
