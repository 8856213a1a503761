// How values change when one quantity u moves: the shift rule of every scalar primitive. When u becomes u + t, a value
//
//   fixed    stays what it is
//   adds c   becomes x + c·t
//   scales k becomes x·exp(k·t)
//
// for every t; or it changes in another way, which is null. So exp(x − u) scales by −1, Σ of them does, and their
// quotient is fixed: a softmax does not depend on what was subtracted, whatever that is, and neither does its gradient.
// A constant 0 scales with anything, ±∞ adds and scales with anything. Rounding to a storage format counts as the
// identity, as it does for derivatives.
import type { Primitive, Value } from "./primitives.js";
import { type Scalar, terms } from "./scalar.js";

export type Grade =
  | { readonly kind: "fixed"; readonly value?: Value }
  | { readonly kind: "adds"; readonly by: number }
  | { readonly kind: "scales"; readonly by: number };
/** Its parameters are as many as the primitive's arity says; call it through `gradeOf`. */
type Rule = (...args: never[]) => Grade | null;
type Rule1 = (x: Grade) => Grade | null;
type Rule2 = (x: Grade, y: Grade) => Grade | null;

export const fixed: Grade = { kind: "fixed" };
const constant = (value: Value): Grade => ({ kind: "fixed", value });
export const adds = (by: number): Grade => (by === 0 ? fixed : { kind: "adds", by });
export const scales = (by: number): Grade => (by === 0 ? fixed : { kind: "scales", by });

const isZero = (g: Grade) => g.kind === "fixed" && g.value === 0;
const isInfinite = (g: Grade) => g.kind === "fixed" && (g.value === Infinity || g.value === -Infinity);
/** A number known here, or undefined. */
const known = (g: Grade): number | undefined => (g.kind === "fixed" && typeof g.value === "number" ? g.value : undefined);

/** What two values that change alike do. */
function same(x: Grade, y: Grade): Grade | null {
  if (x.kind === "fixed" && y.kind === "fixed") return x.value !== undefined && Object.is(x.value, y.value) ? x : fixed;
  if ((isZero(x) && y.kind === "scales") || isInfinite(x)) return y;
  if ((isZero(y) && x.kind === "scales") || isInfinite(y)) return x;
  return x.kind !== "fixed" && x.kind === y.kind && x.by === y.by ? x : null;
}
/** The exponent of a value's factor, or null. */
const exponent = (g: Grade): number | null => (g.kind === "scales" ? g.by : g.kind === "fixed" ? 0 : null);

const neg: Rule1 = (x) => (x.kind === "adds" ? adds(-x.by) : x.kind === "scales" ? x : x.value === undefined ? fixed : constant(-Number(x.value)));
const add: Rule2 = (x, y) => {
  if (x.kind === "scales" || y.kind === "scales") return same(x, y);
  return adds((x.kind === "adds" ? x.by : 0) + (y.kind === "adds" ? y.by : 0));
};
const mul: Rule2 = (x, y) => {
  if (isZero(x) || isZero(y)) return constant(0);
  for (const [a, b] of [
    [x, y],
    [y, x],
  ] as const)
    if (a.kind === "adds") {
      const c = known(b);
      return c === undefined || !Number.isFinite(c) ? null : adds(a.by * c);
    }
  return scales((exponent(x) as number) + (exponent(y) as number));
};
const div: Rule2 = (x, y) => {
  if (isZero(x)) return y.kind === "adds" ? null : x;
  if (x.kind === "adds") {
    const c = known(y);
    return c === undefined || c === 0 || !Number.isFinite(c) ? null : adds(x.by / c);
  }
  return y.kind === "adds" ? null : scales((exponent(x) as number) - (exponent(y) as number));
};
/** Follows a factor with a power of it. */
const power =
  (p: number): Rule1 =>
  (x) =>
    x.kind === "adds" ? null : scales((exponent(x) as number) * p);
/** Of a factor, a shift that is this many times its exponent. */
const logarithm =
  (times: number): Rule1 =>
  (x) =>
    x.kind === "adds" ? null : adds((exponent(x) as number) * times);
/** Nothing is known but that equal arguments give equal results. */
const rigid: Rule = (...args: readonly Grade[]) => (args.every((x) => x.kind === "fixed") ? fixed : null);
const compared: Rule2 = (x, y) => same(x, y) && fixed;
const identity: Rule1 = (x) => x;

export const shiftRules: { readonly [P in Primitive]: Rule } = {
  neg,
  add,
  sub: ((x, y) => add(x, neg(y) as Grade)) satisfies Rule2,
  mul,
  div,
  mod: rigid,
  pow: ((x, y) => {
    const p = known(y);
    return p === undefined || !Number.isFinite(p) || x.kind !== "scales" ? rigid(...([x, y] as never[])) : scales(x.by * p);
  }) satisfies Rule2,
  min: same,
  max: same,
  abs: power(1),
  sign: ((x) => (x.kind === "adds" ? null : fixed)) satisfies Rule1,
  floor: rigid,
  ceil: rigid,
  round: rigid,
  trunc: rigid,
  sqrt: power(1 / 2),
  cbrt: power(1 / 3),
  exp: ((x) => (x.kind === "adds" ? scales(x.by) : x.kind === "fixed" ? (x.value === -Infinity ? constant(0) : fixed) : null)) satisfies Rule1,
  expm1: rigid,
  log: logarithm(1),
  log1p: rigid,
  log2: logarithm(Math.LOG2E),
  log10: logarithm(Math.LOG10E),
  sin: rigid,
  cos: rigid,
  tan: rigid,
  asin: rigid,
  acos: rigid,
  atan: rigid,
  atan2: ((y, x) => (y.kind === "adds" || x.kind === "adds" ? null : compared(y, x))) satisfies Rule2,
  sinh: rigid,
  cosh: rigid,
  tanh: rigid,
  asinh: rigid,
  acosh: rigid,
  atanh: rigid,
  hypot: ((x, y) => {
    const g = x.kind === "adds" || y.kind === "adds" ? null : same(x, y);
    return g?.kind === "fixed" ? fixed : g;
  }) satisfies Rule2,
  recip0: power(-1),
  fma: ((x, y, z) => {
    const p = mul(x, y);
    return p && add(p, z);
  }) satisfies (x: Grade, y: Grade, z: Grade) => Grade | null,
  lt: compared,
  le: compared,
  gt: compared,
  ge: compared,
  eq: compared,
  ne: compared,
  and: rigid,
  or: rigid,
  not: rigid,
  select: ((c, x, y) => (c.kind === "fixed" ? same(x, y) : null)) satisfies (c: Grade, x: Grade, y: Grade) => Grade | null,
  toF32: identity,
  toBf16: identity,
  toF16: identity,
  toI32: rigid,
  toBool: rigid,
  toReal: rigid,
};

/** How a body changes, given its arguments; `given` decides terms that are known as a whole. */
export function gradeOf(body: Scalar, arg: (name: string) => Grade | null, given: (t: Scalar) => Grade | undefined = () => undefined): Grade | null {
  const done = new Map<Scalar, Grade | null>();
  for (const t of terms([body])) done.set(t, given(t) ?? one(t, arg, done));
  return done.get(body) as Grade | null;
}
function one(t: Scalar, arg: (name: string) => Grade | null, done: ReadonlyMap<Scalar, Grade | null>): Grade | null {
  if (t.kind === "const") return constant(t.value);
  if (t.kind === "arg") return arg(t.name);
  if (t.kind !== "call") return fixed;
  const args = t.args.map((a) => done.get(a) as Grade | null);
  // The cast stands for what the table cannot say: as many arguments as the primitive has.
  return args.every((g) => g !== null) ? (shiftRules[t.prim] as (...args: readonly Grade[]) => Grade | null)(...args) : null;
}
