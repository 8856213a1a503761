// Stick-breaking (Tan 2024): σ(z_ij) Π_{j<k<i} (1 − σ(z_ik)), in logarithms
import { cumsum, dot, formula, map } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const stickBreaking = formula(qkv, ({ q, k, v }) => {
  const z = logits({ q, k });
  const rest = map(z, (z, { query: i, key: j }) => (j < i ? -Math.max(z, 0) - Math.log1p(Math.exp(-Math.abs(z))) : 0)); // log(1 − σ(z))
  const p = map({ z, rest, after: cumsum(rest, "key", { reverse: true, exclusive: true }) }, ({ z, rest, after }, { query: i, key: j }) =>
    j < i ? Math.exp(z + rest + after) : 0,
  );
  return dot(p, v, "key");
});
