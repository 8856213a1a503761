// Talking heads (Shazeer 2020): mix heads before and after the softmax
import { dot, formula, map, softmax } from "../../dsl/index.js";
import { logits } from "./base.js";

export const talkingHeads = formula(
  { q: "head query dim", k: "head key dim", v: "head key value", L: "head map", M: "map head" },
  ({ q, k, v, L, M }) => {
    const s = map(dot(logits({ q, k }), L, "head"), (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
    return dot(dot(softmax(s, "key"), M, "map"), v, "key");
  },
);
