// Closed scalar expressions: what the body of a `map`, an index arrow or a monoid's combine means once it has
// been read. A DAG over hash-consed terms, so that equal terms are one object and comparison is identity.
//
// Values are JavaScript's: numbers (f64 in the oracle, the target's arithmetic elsewhere) and booleans. The table of
// primitives (value, derivative, interval, whether it yields integers) is `primitives.ts`.
import type { Primitive } from "./primitives.js";

export type Scalar =
  | { readonly id: number; readonly kind: "const"; readonly value: number | boolean }
  /** The value of an input of the enclosing node, by the name it has there. */
  | { readonly id: number; readonly kind: "arg"; readonly name: string }
  /** The index along an axis of the enclosing node's result. */
  | { readonly id: number; readonly kind: "index"; readonly axis: string }
  /** The extent of an axis (a run-time value for `upTo` axes). */
  | { readonly id: number; readonly kind: "size"; readonly axis: string }
  | { readonly id: number; readonly kind: "call"; readonly prim: Primitive; readonly args: readonly Scalar[] };

// A term's key holds the ids of its parts, so the table only ever compares short strings.
const table = new Map<string, Scalar>();
let nextId = 0;

function cons(key: string, make: (id: number) => Scalar): Scalar {
  const known = table.get(key);
  if (known) return known;
  const term = make(nextId++);
  table.set(key, term);
  return term;
}

/** −0 and NaN are values of their own: `1 / x` tells −0 from 0. */
export const constant = (value: number | boolean): Scalar =>
  cons(`c${Object.is(value, -0) ? "-0" : String(value)}`, (id) => ({ id, kind: "const", value }));
export const arg = (name: string): Scalar => cons(`a${name}`, (id) => ({ id, kind: "arg", name }));
export const index = (axis: string): Scalar => cons(`i${axis}`, (id) => ({ id, kind: "index", axis }));
export const size = (axis: string): Scalar => cons(`s${axis}`, (id) => ({ id, kind: "size", axis }));
export const call = (prim: Primitive, ...args: readonly Scalar[]): Scalar =>
  cons(`${prim}(${args.map((a) => a.id).join(",")})`, (id) => ({ id, kind: "call", prim, args }));

/** Every term below the roots, parts before wholes, each once. Iterative: bodies may be deep. */
export function terms(roots: readonly Scalar[]): readonly Scalar[] {
  const out: Scalar[] = [];
  const seen = new Set<Scalar>();
  const stack: { term: Scalar; next: number }[] = [];
  for (const root of roots) {
    if (!seen.has(root)) {
      seen.add(root);
      stack.push({ term: root, next: 0 });
    }
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const part = top.term.kind === "call" ? top.term.args[top.next++] : undefined;
      if (part === undefined) {
        out.push(top.term);
        stack.pop();
      } else if (!seen.has(part)) {
        seen.add(part);
        stack.push({ term: part, next: 0 });
      }
    }
  }
  return out;
}

/** Replaces leaves (args, indices, sizes) and rebuilds; a leaf for which `f` gives undefined stays. */
export function substitute(root: Scalar, f: (leaf: Scalar) => Scalar | undefined): Scalar {
  const done = new Map<Scalar, Scalar>();
  for (const term of terms([root])) {
    done.set(term, term.kind === "call" ? call(term.prim, ...term.args.map((a) => done.get(a) as Scalar)) : (f(term) ?? term));
  }
  return done.get(root) as Scalar;
}
