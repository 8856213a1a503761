// The README's attention variant: see its kernels with `node dist/cli/main.js kernels examples/alibi.ts#alibi`.
import { dot, formula, label, map, scale, size, softmax } from "@mallard-lang/mallard";

/** ALiBi (Press 2022): attention for one head, whose bias falls with distance. */
export const alibi = formula({ q: "query dim", k: "key dim", v: "key value", slope: "" }, ({ q, k, v, slope }) => {
  const s = label(scale(dot(q, k, "dim"), size(q, "dim") ** -0.5), "logits");
  const scores = map({ s, slope }, ({ s, slope }, { query: i, key: j }) => (j <= i ? s - slope * (i - j) : -Infinity));
  return dot(softmax(scores, "key"), v, "key");
});
