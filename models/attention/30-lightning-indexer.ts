// DeepSeek sparse attention: keep the k keys with the greatest index score, then attend
import { at, dot, formula, map, scale, size, softmax, top } from "../../dsl/index.js";

export const lightningIndexer = (n: number) =>
  formula({ q: "head query dim", k: "key dim", v: "key value", qi: "part query idim", ki: "key idim", w: "part query" }, ({ q, k, v, qi, ki, w }) => {
    const score = dot(
      map(dot(qi, ki, "idim"), (s) => Math.max(s, 0)),
      w,
      "part",
    );
    const { index: key } = top(
      map(score, (s, { query: i, key: j }) => (j <= i ? s : -Infinity)),
      "key",
      { slot: n },
    );
    // Where there are fewer keys than slots, the slots left over have index −1.
    const s = map({ s: scale(dot(q, at(k, { key }), "dim"), size(q, "dim") ** -0.5), key }, ({ s, key }, { query: i }) =>
      key >= 0 && key <= i ? s : -Infinity,
    );
    return dot(softmax(s, "slot"), at(v, { key }), "slot");
  });
