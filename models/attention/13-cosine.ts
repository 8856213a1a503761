// Cosine attention with temperature and position bias (Swin v2)
import { div, dot, formula, map, norm, softmax } from "../../dsl/index.js";
import { qkv } from "./base.js";

export const cosine = formula({ ...qkv, tau: "", b: "query key" }, ({ q, k, v, tau, b }) => {
  const cos = dot(div(q, norm(q, "dim")), div(k, norm(k, "dim")), "dim");
  const s = map({ cos, tau, b }, ({ cos, tau, b }) => cos / Math.max(tau, 0.01) + b);
  return dot(softmax(s, "key"), v, "key");
});
