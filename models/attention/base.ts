// What most variants start from. A formula lifts over every axis it does not name: batch and heads come free.
import { dot, formula, label, scale, size } from "../../dsl/index.js";

export const qkv = { q: "query dim", k: "key dim", v: "key value" } as const;
/** q·k/√dim, under the name by which rules and statistics find it: before any mask, cap or bias. */
export const logits = formula({ q: "query dim", k: "key dim" }, ({ q, k }) => label(scale(dot(q, k, "dim"), size(q, "dim") ** -0.5), "logits"));
