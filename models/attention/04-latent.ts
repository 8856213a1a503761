// Multi-head latent attention with decoupled RoPE (DeepSeek-V2); kr and the latent c are shared by the heads
import { add, dot, formula, label, map, scale, size, softmax } from "../../dsl/index.js";

export const latent = formula(
  { qc: "query nope", qr: "query rope", c: "key latent", kr: "key rope", uk: "latent nope", uv: "latent value" },
  ({ qc, qr, c, kr, uk, uv }) => {
    const qk = add(dot(qc, dot(c, uk, "latent"), "nope"), dot(qr, kr, "rope"));
    const logits = label(scale(qk, (size(qc, "nope") + size(qr, "rope")) ** -0.5), "logits");
    const s = map(logits, (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
    return dot(softmax(label(s, "scores"), "key"), dot(c, uv, "latent"), "key");
  },
);
