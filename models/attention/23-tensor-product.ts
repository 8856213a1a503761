// Tensor product attention (Zhang 2025): the factors a carry the heads, by lifting
import { dot, formula, scale, size } from "../../dsl/index.js";
import { causal } from "./05-causal.js";

export const tensorProduct = formula(
  { aq: "query rq", bq: "query rq dim", ak: "key rk", bk: "key rk dim", av: "key rv", bv: "key rv value" },
  ({ aq, bq, ak, bk, av, bv }) =>
    causal({
      q: scale(dot(aq, bq, "rq"), 1 / size(aq, "rq")),
      k: scale(dot(ak, bk, "rk"), 1 / size(ak, "rk")),
      v: scale(dot(av, bv, "rv"), 1 / size(av, "rv")),
    }),
);
