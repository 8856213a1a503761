// Retention (Sun 2023): no softmax, decay γ a head
import { dot, formula, map } from "../../dsl/index.js";
import { qkv } from "./base.js";

export const retention = formula({ ...qkv, gamma: "" }, ({ q, k, v, gamma }) =>
  dot(
    map({ s: dot(q, k, "dim"), gamma }, ({ s, gamma }, { query: i, key: j }) => (j <= i ? s * gamma ** (i - j) : 0)),
    v,
    "key",
  ),
);
