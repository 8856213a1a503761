// Arrows: closed scalar functions that an author writes in plain TypeScript. While an expression is built they are
// called once with dummy numbers, only to learn what they return: a number, a mask, or a record of these. Their
// meaning is read from their source by the compiler.
//
// Note [Calling convention]. How an arrow of a node is called, by whoever reads or executes it:
//   map     names ≠ [] or captured ≠ {}: f(values by name, indices, sizes); names = [""]: f(the value, indices, sizes)
//   grid    names = [] and captured = {}: f(indices, sizes)
//   view    f(indices of the fresh axes, {...sizes of the fresh axes, ...sizes of x's axes, ...constants}): where an axis
//           is fresh and of x, its size is x's
//   monoid  f(record of components, record of components)
// Values, captured numbers, booleans and functions share the first record. Sizes and indices hold every axis of the
// result; a size is a number, the run-time one for an upTo axis.
import { ArrowError, MallardError, quote } from "./errors.js";
import { didYouMean } from "./nearest.js";
import type { Arrow, Body, DType, Node, Shape } from "./node.js";
import { UpTo } from "./node.js";
import { describe } from "./tensor.js";

export type Captures = Readonly<Record<string, number | boolean | Arrow>>;
export const arrowBody = (fn: Arrow, captured: Captures = {}, field: string | null = null): Body => ({ kind: "arrow", fn, captured, field });

/** A record that refuses names it does not have. */
export function strict<T>(what: string, kind: string, values: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  return new Proxy(values, {
    get: (target, name) => {
      if (typeof name === "symbol" || Object.hasOwn(target, name)) return Reflect.get(target, name);
      const there = Object.keys(target);
      throw new ArrowError(`${what}: the arrow reads ${kind} "${name}", which is not there`, `${didYouMean(name, there)}it can read ${quote(there)}`);
    },
  });
}
export const dummy = (d: DType): number | boolean => (d === "bool" ? true : 1);
export const probeSizes = (s: Shape): Record<string, number> =>
  Object.fromEntries(Object.entries(s).map(([a, e]) => [a, e instanceof UpTo ? e.max : e]));
export const probeIndices = (s: Shape): Record<string, number> => Object.fromEntries(Object.keys(s).map((a) => [a, 0]));
export const probeValues = (inputs: Readonly<Record<string, Node>>, captured: Captures): Record<string, number | boolean | Arrow> => ({
  ...Object.fromEntries(Object.entries(inputs).map(([k, n]) => [k, dummy(n.dtype)])),
  ...captured,
});

/** Calls an arrow; what it throws of itself becomes a typed error. */
export function call(what: string, fn: unknown, args: readonly unknown[]): unknown {
  if (typeof fn !== "function") throw new ArrowError(`${what}: an arrow is wanted, ${describe(fn)} is given`);
  try {
    return fn(...args);
  } catch (cause) {
    if (cause instanceof MallardError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ArrowError(
      `${what}: the arrow fails on numbers: ${why}`,
      "an arrow computes with numbers and Math alone; tensor operations belong outside it",
      { cause },
    );
  }
}
const dtypes: Readonly<Record<string, DType>> = { number: "f32", boolean: "bool" };
const scalarType = (what: string, x: unknown, field: string): DType => {
  const d = dtypes[typeof x];
  if (d) return d;
  throw new ArrowError(
    `${what}: the arrow gives ${describe(x)}${field}; a number or a boolean is wanted`,
    "every path must return a number, a boolean or a record of these",
  );
};
/** What an arrow gives: one scalar type, or one by field. */
export function resultType(what: string, x: unknown): DType | Readonly<Record<string, DType>> {
  if (typeof x !== "object" || x === null) return scalarType(what, x, "");
  if (x instanceof Promise) throw new ArrowError(`${what}: the arrow gives a promise`, "an arrow is a scalar function: leave async out");
  const fields = Object.entries(x);
  if (fields.length === 0 || Array.isArray(x))
    throw new ArrowError(
      `${what}: the arrow gives ${Array.isArray(x) ? "an array" : "an empty record"}`,
      "name its results: ({ a, b }) => ({ p: a + b, q: a - b })",
    );
  return Object.fromEntries(fields.map(([f, v]) => [f, scalarType(what, v, ` as "${f}"`)]));
}
