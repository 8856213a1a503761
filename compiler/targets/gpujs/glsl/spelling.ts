// How GLSL writes each primitive. A total record: a new primitive does not compile until it has a row here. Operands are names
// (or int literals) of the type the row asks for; a bool is the int 0 or 1.
import type { Primitive } from "../../../../dsl/primitives.js";
import type { Spelling } from "../spelling.js";
import type { GlslName } from "./math.js";

const real = (row: Spelling["real"]): Spelling => ({ operands: "real", real: row });
const same = (row: Spelling["real"], int: Spelling["real"] = row): Spelling => ({ operands: "same", real: row, int });
const math = (name: GlslName): Spelling => real((p, a) => `${p.helper(name)}(${a.join(", ")})`);
const infix = (op: string): Spelling => same((_, [x, y]) => `${x} ${op} ${y}`);
const comparison = (op: string): Spelling => ({ operands: "same", real: (_, [x, y]) => `${x} ${op} ${y}` });
/** Rounding to whole numbers changes no integer. */
const whole = (row: Spelling["real"]): Spelling => same(row, (_, [x]) => `${x}`);
const floorDivide: Spelling["real"] = (p, [x, y]) => `${p.helper<GlslName>("m_floor_div")}(${x}, ${y})`;
const isNan = (p: Parameters<Spelling["real"]>[0], x: string | undefined) => `${p.helper<GlslName>("m_is_nan")}(${x})`;

export const spelling: Readonly<Record<Primitive | "idiv" | "imod", Spelling>> = {
  neg: same(
    (_, [x]) => `-${x}`,
    (_, [x]) => `0 - ${x}`,
  ),
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: real((_, [x, y]) => `${x} / ${y}`),
  // Of negative ints, GLSL's own % is undefined; its quotient is cut off towards 0.
  mod: same(
    (p, [x, y]) => `${p.helper<GlslName>("m_mod")}(${x}, ${y})`,
    (_, [x, y]) => `${x} - (${x} / ${y}) * ${y}`,
  ),
  idiv: { operands: "int", real: floorDivide },
  imod: { operands: "int", real: (p, [x = "", y = ""], exact) => `${x} - ${floorDivide(p, [x, y], exact)} * ${y}` },
  pow: math("m_pow"),
  // GLSL's min and max may give either of a number and NaN.
  min: same(
    (p, [x, y]) => `(${x} < ${y} || ${isNan(p, x)}) ? ${x} : ${y}`,
    (_, [x, y]) => `min(${x}, ${y})`,
  ),
  max: same(
    (p, [x, y]) => `(${x} > ${y} || ${isNan(p, x)}) ? ${x} : ${y}`,
    (_, [x, y]) => `max(${x}, ${y})`,
  ),
  abs: same((_, [x]) => `abs(${x})`),
  sign: same(
    (p, [x]) => `${isNan(p, x)} ? ${x} : sign(${x})`,
    (_, [x]) => `sign(${x})`,
  ),
  floor: whole((_, [x]) => `floor(${x})`),
  ceil: whole((_, [x]) => `ceil(${x})`),
  trunc: whole((_, [x]) => `trunc(${x})`),
  round: whole((p, [x]) => `${p.helper<GlslName>("m_round")}(${x})`),
  sqrt: math("m_sqrt"),
  cbrt: math("m_cbrt"),
  exp: math("m_exp"),
  expm1: math("m_expm1"),
  log: math("m_log"),
  log1p: math("m_log1p"),
  log2: math("m_log2"),
  log10: math("m_log10"),
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
  recip0: real((_, [x]) => `${x} == 0.0 ? 0.0 : 1.0 / ${x}`),
  fma: math("m_fma"),
  lt: comparison("<"),
  le: comparison("<="),
  gt: comparison(">"),
  ge: comparison(">="),
  eq: comparison("=="),
  // x ≠ x asks whether it is NaN.
  ne: { operands: "same", real: (p, [x, y]) => (x === y ? isNan(p, x) : `${x} != ${y}`), int: (_, [x, y]) => `${x} != ${y}` },
  and: { operands: "bool", real: (_, [x, y]) => `${x} != 0 && ${y} != 0` },
  or: { operands: "bool", real: (_, [x, y]) => `${x} != 0 || ${y} != 0` },
  not: { operands: "bool", real: (_, [x]) => `${x} == 0` },
  select: { operands: "select", real: (_, [c, x, y]) => `${c} != 0 ? ${x} : ${y}`, int: (_, [c, x, y]) => `${c} != 0 ? ${x} : ${y}` },
  toF32: real((_, [x]) => `${x}`),
  toBf16: math("m_bf16"),
  toF16: math("m_f16"),
  toI32: { operands: "own", real: (p, [x]) => `${p.helper<GlslName>("m_int")}(${x})`, int: (_, [x]) => `${x}` },
  toBool: { operands: "own", real: (_, [x]) => `${x} != 0.0`, int: (_, [x]) => `${x} != 0` },
  toReal: real((_, [x]) => `${x}`),
};
