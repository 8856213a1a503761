// Which monoid it is: the four that have short derivative rules, by the shape of their combine.
import type { MonoidBody } from "../node.js";
import { arg, call, type Scalar, substitute } from "../scalar.js";
import { combineOf } from "./rule.js";

export type MonoidKind = "sum" | "prod" | "max" | "min" | "general";
const known = [
  ["sum", "add", 0],
  ["prod", "mul", 1],
  ["max", "max", -Infinity],
  ["min", "min", Infinity],
] as const;

export function kindOf(m: MonoidBody): MonoidKind {
  const [component, ...more] = Object.keys(m.empty);
  if (component === undefined || more.length > 0) return "general";
  const x = arg(`x.${component}`);
  const y = arg(`y.${component}`);
  const combine = combineOf(m)[component];
  for (const [kind, prim, empty] of known)
    if (m.empty[component] === empty && (combine === call(prim, x, y) || combine === call(prim, y, x))) return kind;
  return "general";
}

export const mapValues = <A, B>(r: Readonly<Record<string, A>>, f: (a: A) => B): Readonly<Record<string, B>> =>
  Object.fromEntries(Object.entries(r).map(([k, v]) => [k, f(v)]));
/** A combine's result with other terms for its two sides' components. */
export const bindSides = (s: Scalar, x: (component: string) => Scalar, y: (component: string) => Scalar): Scalar =>
  substitute(s, (t) => (t.kind !== "arg" ? undefined : (t.name.startsWith("x.") ? x : y)(t.name.slice(2))));
/** combine(y, x). */
export const swapSides = (s: Scalar): Scalar =>
  bindSides(
    s,
    (c) => arg(`y.${c}`),
    (c) => arg(`x.${c}`),
  );
