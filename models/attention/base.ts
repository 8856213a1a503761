// What most variants start from. A formula lifts over every axis it does not name: batch and heads come free.
import { dot, formula, scale, size } from "../../dsl/index.js";

export const qkv = { q: "query dim", k: "key dim", v: "key value" } as const;
export const logits = formula({ q: "query dim", k: "key dim" }, ({ q, k }) => scale(dot(q, k, "dim"), size(q, "dim") ** -0.5));
