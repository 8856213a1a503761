// How C spells each primitive, for one number (suffix 1), for eight (8), for as many as the machine has lanes (W) and for
// one int64 (l). The record is total: a new primitive does not compile until it has a row. Arguments arrive converted to one
// operand type (`of`).
import type { Primitive } from "../../../dsl/primitives.js";
import type { Type } from "../../lower/expr.js";

export interface Form {
  readonly suffix: "1" | "8" | "W" | "l";
  /** What the arguments are. */
  readonly of: Type;
}
type Spelling = (form: Form, ...args: readonly string[]) => string;

const infix =
  (op: string): Spelling =>
  (_, a, b) =>
    `(${a} ${op} ${b})`;
const named =
  (name: string): Spelling =>
  ({ suffix }, ...args) =>
    `${name}${suffix}(${args.join(", ")})`;
const byType =
  (real: Spelling, int: Spelling, bool: Spelling = int): Spelling =>
  (form, ...args) =>
    (form.of === "real" ? real : form.of === "int" ? int : bool)(form, ...args);
const isVector = ({ suffix }: Form) => suffix === "8" || suffix === "W";
/** Conditions of vectors are compared by name: of sixteen lanes they are bits of a mask. */
const comparison =
  (name: string, op: string): Spelling =>
  (form, ...args) =>
    (isVector(form) ? named(`${form.of === "real" ? "" : form.of === "int" ? "i" : "b"}${name}`) : infix(op))(form, ...args);
const itself: Spelling = (_, a) => a as string;
const power = (s: string | undefined) => {
  const n = Number(s);
  return Number.isInteger(n) && n > 0 && (n & (n - 1)) === 0 ? Math.log2(n) : undefined;
};

export const spelling: { readonly [P in Primitive | "idiv" | "imod"]: Spelling } = {
  neg: (_, a) => `(-${a})`,
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  mod: byType(named("fmod"), named("rem")),
  pow: named("m_pow"),
  min: byType(named("min"), named("imin")),
  max: byType(named("max"), named("imax")),
  abs: byType(named("abs"), (form, a) => named("imax")(form, a as string, `(-${a})`)),
  sign: byType(named("sign"), (form, a) => (isVector(form) ? `((${a} < 0) - (${a} > 0))` : `((${a} > 0) - (${a} < 0))`)),
  floor: byType(named("floor"), itself),
  ceil: byType(named("ceil"), itself),
  round: byType(named("round"), itself),
  trunc: byType(named("trunc"), itself),
  sqrt: named("sqrt"),
  cbrt: named("m_cbrt"),
  exp: named("m_exp"),
  expm1: named("m_expm1"),
  log: named("m_log"),
  log1p: named("m_log1p"),
  log2: named("m_log2"),
  log10: named("m_log10"),
  sin: named("m_sin"),
  cos: named("m_cos"),
  tan: named("m_tan"),
  asin: named("m_asin"),
  acos: named("m_acos"),
  atan: named("m_atan"),
  atan2: named("m_atan2"),
  sinh: named("m_sinh"),
  cosh: named("m_cosh"),
  tanh: named("m_tanh"),
  asinh: named("m_asinh"),
  acosh: named("m_acosh"),
  atanh: named("m_atanh"),
  hypot: named("m_hypot"),
  recip0: named("recip0"),
  fma: byType(named("fma"), (_, a, b, c) => `(${a} * ${b} + ${c})`),
  lt: comparison("lt", "<"),
  le: comparison("le", "<="),
  gt: comparison("gt", ">"),
  ge: comparison("ge", ">="),
  eq: comparison("eq", "=="),
  ne: comparison("ne", "!="),
  and: infix("&"),
  or: infix("|"),
  not: (form, a) => (isVector(form) ? named("not")(form, a as string) : `(!${a})`),
  select: byType(named("sel"), named("seli"), named("selb")),
  toF32: itself,
  toBf16: ({ suffix }, a) => `bf16_value${suffix}(bf16_bits${suffix}(${a}))`,
  toF16: ({ suffix }, a) => `f16_value${suffix}(f16_bits${suffix}(${a}))`,
  toI32: byType(named("f_to_i"), itself, (form, a) => (isVector(form) ? named("ib")(form, a as string) : (a as string))),
  toBool: byType(
    (form, a) =>
      isVector(form) ? `(ne${form.suffix}(${a}, K${form.suffix}(0.0f)) & eq${form.suffix}(${a}, ${a}))` : `((${a} != 0.0f) & (${a} == ${a}))`,
    (form, a) => (isVector(form) ? `ine${form.suffix}(${a}, KI${form.suffix}(0))` : `(${a} != 0)`),
    itself,
  ),
  toReal: byType(
    itself,
    ({ suffix }, a) => (suffix === "l" ? `(float)${a}` : `to_f${suffix}(${a})`),
    (form, a) => (isVector(form) ? `to_f${form.suffix}(${named("ib")(form, a as string)})` : `to_f1(${a})`),
  ),
  idiv: (form, a, b) => (power(b) !== undefined ? `(${a} >> ${power(b)})` : named("idiv")(form, a as string, b as string)),
  imod: (form, a, b) => (power(b) !== undefined ? `(${a} & ${Number(b) - 1})` : `(${a} - ${b} * ${named("idiv")(form, a as string, b as string)})`),
};
