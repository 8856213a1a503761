// What names stand for while a function is read: numbers and booleans as scalar expressions, records of values,
// captured functions, and the built-in ones.
import type { Arrow } from "../../dsl/node.js";
import { type Primitive, primitives } from "../../dsl/primitives.js";
import { constant, type Scalar } from "../../dsl/scalar.js";

export interface ScalarValue {
  readonly kind: "scalar";
  readonly term: Scalar;
  readonly type: "number" | "boolean";
}
export interface RecordValue {
  readonly kind: "record";
  /** A Map: no field of a JavaScript object, such as `constructor`, is among them. */
  readonly fields: ReadonlyMap<string, Value>;
  /** For messages: "inputs", "indices", "sizes", "an object". */
  readonly what: string;
  /** What it is when used as a number: a monoid's only component. */
  readonly bare: ScalarValue | null;
}
export interface FunctionValue {
  readonly kind: "function";
  readonly fn: Arrow;
}
export interface BuiltinValue {
  readonly kind: "builtin";
  readonly builtin: Builtin;
}
export type Value = ScalarValue | RecordValue | FunctionValue | BuiltinValue;

export const numeric = (term: Scalar): ScalarValue => ({ kind: "scalar", term, type: "number" });
export const logical = (term: Scalar): ScalarValue => ({ kind: "scalar", term, type: "boolean" });
export const record = (what: string, entries: Iterable<readonly [string, Value]>, bare: ScalarValue | null = null): RecordValue => ({
  kind: "record",
  fields: new Map(entries),
  what,
  bare,
});
export function captured(value: number | boolean | Arrow): Value {
  if (typeof value === "number") return numeric(constant(value));
  if (typeof value === "boolean") return logical(constant(value));
  const builtin = builtinOf(value);
  return builtin ? { kind: "builtin", builtin } : { kind: "function", fn: value };
}

/** A function of Math, Number or the global object that is a primitive, or made of primitives. */
export type Builtin =
  | { readonly name: string; readonly form: "primitive"; readonly prim: Primitive }
  /** Any number of arguments: folded from the left. */
  | { readonly name: string; readonly form: "variadic"; readonly prim: "min" | "max"; readonly empty: number }
  | { readonly name: string; readonly form: "isNaN" | "isFinite" | "Number" | "Boolean" };

// biome-ignore format: a list
const sameName = [
  "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "cbrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
  "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "hypot", "pow",
] as const satisfies readonly (Primitive & keyof Math)[];

const math = new Map<string, Builtin>([
  ...sameName.map((p): [string, Builtin] => [p, { name: `Math.${p}`, form: "primitive", prim: p }]),
  ["fround", { name: "Math.fround", form: "primitive", prim: "toF32" }],
  ["min", { name: "Math.min", form: "variadic", prim: "min", empty: Infinity }],
  ["max", { name: "Math.max", form: "variadic", prim: "max", empty: -Infinity }],
]);
const number = new Map<string, Builtin>([
  ["isNaN", { name: "Number.isNaN", form: "isNaN" }],
  ["isFinite", { name: "Number.isFinite", form: "isFinite" }],
]);
const namespaces: ReadonlyMap<string, { readonly object: object; readonly functions: ReadonlyMap<string, Builtin> }> = new Map([
  ["Math", { object: Math, functions: math }],
  ["Number", { object: Number, functions: number }],
]);
const globals = new Map<string, Builtin>([
  ["Number", { name: "Number", form: "Number" }],
  ["Boolean", { name: "Boolean", form: "Boolean" }],
  ["isNaN", { name: "isNaN", form: "isNaN" }],
  ["isFinite", { name: "isFinite", form: "isFinite" }],
]);

export const isNamespace = (name: string): boolean => namespaces.has(name);
export const globalFunction = (name: string): Builtin | undefined => globals.get(name);
export const namesIn = (namespace: string): readonly string[] => [...(namespaces.get(namespace)?.functions.keys() ?? [])];

/** Math.exp, Math.PI, Number.EPSILON, …; undefined where scalar functions do not have it. */
export function memberOf(namespace: string, name: string): Value | undefined {
  const space = namespaces.get(namespace);
  const builtin = space?.functions.get(name);
  if (builtin) return { kind: "builtin", builtin };
  if (!space || !Object.hasOwn(space.object, name)) return undefined;
  const value = (space.object as { readonly [name: string]: unknown })[name]; // an own property, just checked
  return typeof value === "number" ? numeric(constant(value)) : undefined;
}

/** Functions of the platform have no text to read, but their identity says what they are. */
function builtinOf(fn: Arrow): Builtin | undefined {
  for (const [name, b] of math) if ((Math as unknown as { readonly [name: string]: unknown })[name] === fn) return b; // read by name only
  return undefined;
}

export const arityOf = (b: Builtin): number | null => (b.form === "variadic" ? null : b.form === "primitive" ? primitives[b.prim].arity : 1);
