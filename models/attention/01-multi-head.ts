// Multi-head attention, per head (Vaswani 2017)
import { dot, formula, softmax } from "../../dsl/index.js";
import { logits, qkv } from "./base.js";

export const multiHead = formula(qkv, ({ q, k, v }) => dot(softmax(logits({ q, k }), "key"), v, "key"));
