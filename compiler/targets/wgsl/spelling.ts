// How WGSL writes each primitive. A total record: a new primitive does not compile until it has a row. Operands arrive
// converted to one type (`of`); results are WGSL's f32, i32 or bool.
import type { Primitive } from "../../../dsl/primitives.js";
import type { Type } from "../../lower/expr.js";
import type { HelperName } from "./helpers.js";

export interface Form {
  readonly of: Type;
  /** Names a function of helpers.ts, which is then printed with the shader. */
  readonly math: (name: HelperName) => string;
}
type Spelling = (form: Form, ...args: readonly string[]) => string;

const infix =
  (op: string): Spelling =>
  (_, a, b) =>
    `(${a} ${op} ${b})`;
const own =
  (name: string): Spelling =>
  (_, ...args) =>
    `${name}(${args.join(", ")})`;
const math =
  (name: HelperName): Spelling =>
  (form, ...args) =>
    `${form.math(name)}(${args.join(", ")})`;
const byType =
  (real: Spelling, int: Spelling): Spelling =>
  (form, ...args) =>
    (form.of === "real" ? real : int)(form, ...args);
const itself: Spelling = (_, a) => a as string;

export const spelling: { readonly [P in Primitive | "idiv" | "imod"]: Spelling } = {
  neg: (_, a) => `(-${a})`,
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  mod: byType(math("m_mod"), infix("%")), // truncated, as JavaScript's
  idiv: math("m_idiv"),
  imod: (form, a, b) => `(${a} - ${form.math("m_idiv")}(${a}, ${b}) * ${b})`,
  pow: math("m_pow"),
  min: own("min"),
  max: own("max"),
  abs: own("abs"),
  sign: own("sign"),
  floor: byType(own("floor"), itself),
  ceil: byType(own("ceil"), itself),
  round: byType(math("m_round"), itself),
  trunc: byType(own("trunc"), itself),
  sqrt: own("sqrt"),
  cbrt: math("m_cbrt"),
  exp: math("m_exp"),
  expm1: math("m_expm1"),
  log: math("m_log"),
  log1p: math("m_log1p"),
  log2: (form, a) => `(${form.math("m_log")}(${a}) * 1.44269504)`,
  log10: (form, a) => `(${form.math("m_log")}(${a}) * 0.4342944819)`,
  sin: math("m_sin"),
  cos: math("m_cos"),
  tan: math("m_tan"),
  asin: math("m_asin"),
  acos: math("m_acos"),
  atan: math("m_atan"),
  atan2: math("m_atan2"),
  sinh: math("m_sinh"),
  cosh: math("m_cosh"),
  tanh: math("m_tanh"),
  asinh: math("m_asinh"),
  acosh: math("m_acosh"),
  atanh: math("m_atanh"),
  hypot: math("m_hypot"),
  recip0: (_, a) => `select(1.0 / ${a}, 0.0, ${a} == 0.0)`,
  fma: own("fma"),
  lt: infix("<"),
  le: infix("<="),
  gt: infix(">"),
  ge: infix(">="),
  eq: infix("=="),
  // x ≠ x tests for NaN, which WGSL may assume away: by bits.
  ne: (form, a, b) => (form.of === "real" && a === b ? `((bitcast<u32>(${a}) & 0x7fffffffu) > 0x7f800000u)` : `(${a} != ${b})`),
  // Both sides are pure and cheap, and a branch is neither: SwiftShader takes minutes to compile some hundred branches in a loop.
  and: infix("&"),
  or: infix("|"),
  not: (_, a) => `(!${a})`,
  select: (_, c, a, b) => `select(${b}, ${a}, ${c})`,
  toF32: itself,
  toBf16: math("m_bf16"),
  toF16: (form, a) => `${form.math("m_f16_value")}(${form.math("m_f16_bits")}(${a}))`,
  toI32: byType(own("i32"), own("i32")),
  toBool: own("bool"),
  toReal: own("f32"),
};
