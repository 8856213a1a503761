// Multi-head latent attention with decoupled RoPE (DeepSeek-V2); kr and the latent c are shared by the heads
import { add, dot, formula, map, size, softmax } from "../../dsl/index.js";

export const latent = formula(
  { qc: "query nope", qr: "query rope", c: "key latent", kr: "key rope", uk: "latent nope", uv: "latent value" },
  ({ qc, qr, c, kr, uk, uv }) => {
    const qk = add(dot(qc, dot(c, uk, "latent"), "nope"), dot(qr, kr, "rope"));
    const s = map({ qk, d: size(qc, "nope") + size(qr, "rope") }, ({ qk, d }, { query: i, key: j }) => (j <= i ? qk / Math.sqrt(d) : -Infinity));
    return dot(softmax(s, "key"), dot(c, uv, "latent"), "key");
  },
);
