// The derivative of every scalar primitive: its partial derivative in each argument, written in the language itself.
// `null` where it is zero everywhere it exists (steps, comparisons, conditions). Given the arguments and the result,
// because many derivatives reuse the result.
//
// Conventions, each a choice among subgradients: abs' at 0 is 0; ties of max and min split half and half, so that the
// mass is 1; recip0' = −recip0², 0 at 0; hypot at the origin is flat; x^y has no derivative in y at x = 0 (0 there);
// rounding to a storage format counts as the identity; a condition gets no gradient.
import type { Primitive } from "./primitives.js";
import { call, constant, type Scalar } from "./scalar.js";

export type Partials = (args: readonly Scalar[], result: Scalar) => readonly (Scalar | null)[];

const zero = constant(0);
const one = constant(1);
const half = constant(0.5);
const add = (a: Scalar, b: Scalar) => call("add", a, b);
const sub = (a: Scalar, b: Scalar) => call("sub", a, b);
const mul = (a: Scalar, b: Scalar) => call("mul", a, b);
const div = (a: Scalar, b: Scalar) => call("div", a, b);
const neg = (a: Scalar) => call("neg", a);
const square = (a: Scalar) => mul(a, a);
const isZero = (a: Scalar) => call("eq", a, zero);

/** A row of one argument. */
const unary =
  (f: (x: Scalar, result: Scalar) => Scalar | null): Partials =>
  ([x], r) => [f(x as Scalar, r)];
const binary =
  (f: (x: Scalar, y: Scalar, result: Scalar) => readonly [Scalar | null, Scalar | null]): Partials =>
  ([x, y], r) =>
    f(x as Scalar, y as Scalar, r);
const flat: Partials = (args) => args.map(() => null);
const identity = unary(() => one);
/** 1 where x is chosen over y, ½ at a tie. */
const chosen = (x: Scalar, y: Scalar, prim: "gt" | "lt") => call("select", call(prim, x, y), one, call("select", call("eq", x, y), half, zero));

export const partials: { readonly [P in Primitive]: Partials } = {
  neg: unary(() => constant(-1)),
  add: binary(() => [one, one]),
  sub: binary(() => [one, constant(-1)]),
  mul: binary((x, y) => [y, x]),
  div: binary((_, y, r) => [div(one, y), neg(div(r, y))]),
  mod: binary((x, y) => [one, neg(call("trunc", div(x, y)))]),
  // y·x^(y−1) would be 0·∞ at x = y = 0.
  pow: binary((x, y, r) => [
    call("select", isZero(y), zero, mul(y, call("pow", x, sub(y, one)))),
    call("select", isZero(x), zero, mul(r, call("log", x))),
  ]),
  min: binary((x, y) => [chosen(x, y, "lt"), chosen(y, x, "lt")]),
  max: binary((x, y) => [chosen(x, y, "gt"), chosen(y, x, "gt")]),
  abs: unary((x) => call("select", isZero(x), zero, call("sign", x))),
  sign: flat,
  floor: flat,
  ceil: flat,
  round: flat,
  trunc: flat,
  sqrt: unary((_, r) => div(half, r)),
  cbrt: unary((_, r) => div(constant(1 / 3), square(r))),
  exp: unary((_, r) => r),
  expm1: unary((x) => call("exp", x)),
  log: unary((x) => div(one, x)),
  log1p: unary((x) => div(one, add(one, x))),
  log2: unary((x) => div(constant(Math.LOG2E), x)),
  log10: unary((x) => div(constant(Math.LOG10E), x)),
  sin: unary((x) => call("cos", x)),
  cos: unary((x) => neg(call("sin", x))),
  tan: unary((_, r) => add(one, square(r))),
  // (1−x)(1+x) keeps the digits that 1−x² loses near ±1.
  asin: unary((x) => div(one, call("sqrt", mul(sub(one, x), add(one, x))))),
  acos: unary((x) => div(constant(-1), call("sqrt", mul(sub(one, x), add(one, x))))),
  atan: unary((x) => div(one, add(one, square(x)))),
  atan2: binary((y, x) => {
    const d = add(square(x), square(y));
    return [div(x, d), neg(div(y, d))];
  }),
  sinh: unary((x) => call("cosh", x)),
  cosh: unary((x) => call("sinh", x)),
  tanh: unary((_, r) => mul(sub(one, r), add(one, r))),
  asinh: unary((x) => div(one, call("hypot", x, one))),
  acosh: unary((x) => div(one, mul(call("sqrt", sub(x, one)), call("sqrt", add(x, one))))),
  atanh: unary((x) => div(one, mul(sub(one, x), add(one, x)))),
  hypot: binary((x, y, r) => [mul(x, call("recip0", r)), mul(y, call("recip0", r))]),
  recip0: unary((_, r) => neg(square(r))),
  fma: ([x, y]) => [y as Scalar, x as Scalar, one],
  lt: flat,
  le: flat,
  gt: flat,
  ge: flat,
  eq: flat,
  ne: flat,
  and: flat,
  or: flat,
  not: flat,
  select: ([c]) => [null, call("select", c as Scalar, one, zero), call("select", c as Scalar, zero, one)],
  toF32: identity,
  toBf16: identity,
  toF16: identity,
  toI32: flat,
  toBool: flat,
  toReal: identity,
};
