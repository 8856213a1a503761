// Grouped queries (Ainslie 2023): the same formula; q has one axis more than k and v
import { formula, merge, size, split } from "../../dsl/index.js";
import { multiHead } from "./01-multi-head.js";

export const groupedQuery = formula({ q: "head query dim", k: "group key dim", v: "group key value" }, ({ q, k, v }) => {
  const g = size(k, "group"),
    grouped = split(q, "head", { group: g, member: size(q, "head") / g });
  return merge(multiHead({ q: grouped, k, v }), ["group", "member"], "head");
});
