// Packed documents: attend within one document
import { dot, formula, ints, label, map, rename, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const documents = formula({ ...qkv, doc: ints("time") }, ({ q, k, v, doc }) => {
  const s = map(
    { s: logits({ q, k }), di: rename(doc, { time: "query" }), dj: rename(doc, { time: "key" }) },
    ({ s, di, dj }, { query: i, key: j }) => (j <= i && di === dj ? s : -Infinity),
  );
  return dot(softmax(label(s, "scores"), "key"), v, "key");
});
