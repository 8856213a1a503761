// How a list of statements ends: what early returns leave to be joined.
import type { Scalar } from "../../dsl/scalar.js";
import type { Value } from "./values.js";

/** With a value, by running on, or by a condition on one or the other. */
export type End =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "runs on" }
  | { readonly kind: "branch"; readonly test: Scalar; readonly at: number; readonly whenTrue: End; readonly whenFalse: End };
export const runsOn: End = { kind: "runs on" };

/** Some path runs on. */
export const continues = (e: End): boolean => e.kind === "runs on" || (e.kind === "branch" && (continues(e.whenTrue) || continues(e.whenFalse)));
/** The paths that run on go on with `rest`. */
export const follow = (e: End, rest: End): End =>
  e.kind === "runs on" ? rest : e.kind === "value" ? e : { ...e, whenTrue: follow(e.whenTrue, rest), whenFalse: follow(e.whenFalse, rest) };
