// Integer-linear index arithmetic, and the two shapes built on it that views are made of: quotient and remainder.
import { call, constant, index, type Scalar } from "../scalar.js";

/** c + Σ k[axis]·index(axis). */
export interface Linear {
  readonly c: number;
  readonly k: ReadonlyMap<string, number>;
}
/** ⌊lin / div⌋, then mod `mod` if that is not null. */
export interface Form {
  readonly lin: Linear;
  readonly div: number;
  readonly mod: number | null;
}

export const plusScaled = (a: Linear, b: Linear, by: number): Linear => {
  const k = new Map(a.k);
  for (const [axis, v] of b.k) {
    const sum = (k.get(axis) ?? 0) + by * v;
    if (sum === 0) k.delete(axis);
    else k.set(axis, sum);
  }
  return { c: a.c + by * b.c, k };
};
const none: Linear = { c: 0, k: new Map() };
export const term = (axis: string): Linear => ({ c: 0, k: new Map([[axis, 1]]) });

export function linearOf(s: Scalar): Linear | null {
  if (s.kind === "const") return typeof s.value === "number" && Number.isInteger(s.value) ? { c: s.value, k: new Map() } : null;
  if (s.kind === "index") return term(s.axis);
  if (s.kind !== "call") return null;
  const parts = s.args.map(linearOf);
  const [a, b] = parts;
  if (!a) return null;
  if (s.prim === "neg") return plusScaled(none, a, -1);
  if (s.prim === "floor" || s.prim === "trunc" || s.prim === "round" || s.prim === "ceil" || s.prim === "toI32" || s.prim === "toReal") return a;
  if (!b) return null;
  if (s.prim === "add") return plusScaled(a, b, 1);
  if (s.prim === "sub") return plusScaled(a, b, -1);
  if (s.prim === "mul") return b.k.size === 0 ? plusScaled(none, a, b.c) : a.k.size === 0 ? plusScaled(none, b, a.c) : null;
  return null;
}
const divisor = (s: Scalar | undefined): number | null =>
  s?.kind === "const" && typeof s.value === "number" && Number.isInteger(s.value) && s.value > 0 ? s.value : null;

export function formOf(s: Scalar): Form | null {
  const lin = linearOf(s);
  if (lin) return { lin, div: 1, mod: null };
  if (s.kind !== "call") return null;
  if (s.prim === "mod") {
    const d = divisor(s.args[1]);
    const inner = formOf(s.args[0] as Scalar);
    return d !== null && inner && inner.mod === null ? { ...inner, mod: d } : null;
  }
  const [quotient] = s.args;
  if (s.prim === "floor" && quotient?.kind === "call" && quotient.prim === "div") {
    const d = divisor(quotient.args[1]);
    const inner = formOf(quotient.args[0] as Scalar);
    return d !== null && inner && inner.mod === null ? { ...inner, div: inner.div * d } : null;
  }
  return null;
}

export function fromLinear({ c, k }: Linear): Scalar {
  let out: Scalar | null = null;
  const entries = [...k].sort(([, a], [, b]) => Math.sign(b) - Math.sign(a)); // positive terms first: fewer negations
  for (const [axis, by] of entries) {
    const size = Math.abs(by);
    const t = size === 1 ? index(axis) : call("mul", index(axis), constant(size));
    if (out === null) out = by > 0 ? t : call("sub", constant(c), t);
    else out = call(by > 0 ? "add" : "sub", out, t);
  }
  if (out === null) return constant(c);
  const startsWithC = (entries[0]?.[1] ?? 1) < 0;
  return startsWithC || c === 0 ? out : call(c > 0 ? "add" : "sub", out, constant(Math.abs(c)));
}
