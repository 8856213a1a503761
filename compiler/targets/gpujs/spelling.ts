// How gpu.js writes each primitive. A total record: a new primitive does not compile until it has a row here.
//
// gpu.js computes in f32 (`webasm`) or f64 (`cpu`); the writer rounds every real result of `cpu` to f32, so both modes give
// the same bits. JavaScript's own functions, in f64 and rounded once, are the most accurate a target can have, so exp, log
// and their kin need no polynomials of ours here. What gpu.js lacks or gets wrong in f32 (hypot, round, %, fma, rounding
// to the storage types) is spelled out of parts. A bool is the number 0 or 1.

import type { Primitive } from "../../../dsl/primitives.js";
import type { Type } from "../../lower/expr.js";
import type { Helper } from "./helpers.js";

/** What a row may ask of the kernel's writer: names for intermediate values, and helper functions. */
export interface Parts {
  /** Binds a real, rounded to f32; gives its name. */
  real(text: string): string;
  /** Binds an integer; gives its name. */
  int(text: string): string;
  /** A name that nothing else has. */
  name(prefix: string): string;
  helper<H extends string>(name: H): H;
  /** A statement. */
  line(text: string): void;
}
/** Operands are names or literals, already converted to the type the row asks for. The text is a number for real and int
 *  results and a condition for bool ones. `exact` says that the quotient of two int operands is exact in f32. */
type Row = (p: Parts, a: readonly string[], exact: boolean) => string;
export interface Spelling {
  /** What the operands are converted to: "same" is int where all are int, else real; `select` converts its last two. */
  readonly operands: "real" | "int" | "bool" | "same" | "select" | "own";
  readonly real: Row;
  /** Where it differs for integer operands (`same`), or the result is an integer. */
  readonly int?: Row;
}

const real = (row: Row): Spelling => ({ operands: "real", real: row });
const math = (name: string): Spelling => real((_, a) => `Math.${name}(${a.join(", ")})`);
const arithmetic = (op: string): Spelling => ({ operands: "same", real: (_, [x, y]) => `${x} ${op} ${y}`, int: (_, [x, y]) => `${x} ${op} ${y}` });
const comparison = (op: string): Spelling => ({ operands: "same", real: (_, [x, y]) => `${x} ${op} ${y}` });
/** Rounding to whole numbers changes no integer. */
const whole = (row: Row): Spelling => ({ operands: "same", real: row, int: (_, [x]) => `${x}` });
const helper = (name: Helper): Spelling => real((p, a) => `${p.helper(name)}(${a.join(", ")})`);

/** ⌊x / y⌋ for y > 0. Where the f32 quotient may be off, two corrections by the exact remainder (i32 wraps, so it is exact). */
function floorDivide(p: Parts, x: string, y: string, exact: boolean): string {
  const q = p.int(`Math.floor(${x} / ${y})`);
  if (exact) return q;
  const r = p.int(`${x} - ${q} * ${y}`);
  const step = p.int(`Math.floor(${r} / ${y})`);
  const q2 = p.int(`${q} + ${step}`);
  const r2 = p.int(`${x} - ${q2} * ${y}`);
  const zero = p.int("0");
  const one = p.int("1");
  const up = p.int(`${r2} >= ${y} ? ${one} : ${zero}`);
  const down = p.int(`${r2} < 0 ? ${one} : ${zero}`);
  return p.int(`${q2} + ${up} - ${down}`);
}
function floorRemainder(p: Parts, x: string, y: string, exact: boolean): string {
  const q = floorDivide(p, x, y, exact);
  return `${x} - ${q} * ${y}`;
}
const magnitude = (p: Parts, x: string) => {
  const negative = p.int(`0 - ${x}`);
  return p.int(`${x} < 0 ? ${negative} : ${x}`);
};

export const spelling: Readonly<Record<Primitive | "idiv" | "imod", Spelling>> = {
  neg: { operands: "same", real: (_, [x]) => `-${x}`, int: (_, [x]) => `0 - ${x}` },
  add: arithmetic("+"),
  sub: arithmetic("-"),
  mul: arithmetic("*"),
  div: real((_, [x, y]) => `${x} / ${y}`),
  mod: {
    operands: "same",
    real: (p, [x, y]) => `${p.helper("mallardFmod")}(${x}, ${y})`,
    int: (p, [x = "", y = ""], exact) => {
      const rest = p.int(floorRemainder(p, magnitude(p, x), magnitude(p, y), exact));
      const negative = p.int(`0 - ${rest}`);
      return `${x} < 0 ? ${negative} : ${rest}`;
    },
  },
  idiv: { operands: "int", real: (p, [x = "", y = ""], exact) => floorDivide(p, x, y, exact) },
  imod: { operands: "int", real: (p, [x = "", y = ""], exact) => floorRemainder(p, x, y, exact) },
  pow: math("pow"),
  min: { operands: "same", real: (_, [x, y]) => `Math.min(${x}, ${y})`, int: (_, [x, y]) => `${x} < ${y} ? ${x} : ${y}` },
  max: { operands: "same", real: (_, [x, y]) => `Math.max(${x}, ${y})`, int: (_, [x, y]) => `${x} > ${y} ? ${x} : ${y}` },
  abs: { operands: "same", real: (_, [x]) => `Math.abs(${x})`, int: (p, [x = ""]) => magnitude(p, x) },
  sign: {
    operands: "same",
    real: (_, [x]) => `Math.sign(${x})`,
    int: (p, [x]) => {
      const one = p.int("1");
      const zero = p.int("0");
      const minus = p.int("-1");
      const down = p.int(`${x} < 0 ? ${minus} : ${zero}`);
      return `${x} > 0 ? ${one} : ${down}`;
    },
  },
  floor: whole((_, [x]) => `Math.floor(${x})`),
  ceil: whole((_, [x]) => `Math.ceil(${x})`),
  trunc: whole((_, [x]) => `Math.trunc(${x})`),
  // webasm's Math.round is floor(x + ½), which is wrong just below ½ and above 2^23.
  round: whole((p, [x]) => {
    const low = p.real(`Math.floor(${x})`);
    const up = p.real(`${low} + 1`);
    const rest = p.real(`${x} - ${low}`);
    return `${rest} >= 0.5 ? ${up} : ${low}`;
  }),
  sqrt: math("sqrt"),
  cbrt: math("cbrt"),
  exp: math("exp"),
  expm1: math("expm1"),
  log: math("log"),
  log1p: math("log1p"),
  log2: math("log2"),
  log10: math("log10"),
  sin: math("sin"),
  cos: math("cos"),
  tan: math("tan"),
  asin: math("asin"),
  acos: math("acos"),
  atan: math("atan"),
  atan2: math("atan2"),
  sinh: math("sinh"),
  cosh: math("cosh"),
  tanh: math("tanh"),
  asinh: math("asinh"),
  acosh: math("acosh"),
  atanh: math("atanh"),
  // The larger times √(1 + ratio²): no overflow; 0 and ∞ are themselves.
  hypot: real((p, [x, y]) => {
    const a = p.real(`Math.abs(${x})`);
    const b = p.real(`Math.abs(${y})`);
    const most = p.real(`Math.max(${a}, ${b})`);
    const least = p.real(`Math.min(${a}, ${b})`);
    const ratio = p.real(`${least} / ${most}`);
    const square = p.real(`${ratio} * ${ratio}`);
    const inner = p.real(`1 + ${square}`);
    const root = p.real(`Math.sqrt(${inner})`);
    const scaled = p.real(`${most} * ${root}`);
    const infinite = p.real("Infinity");
    const finite = p.real(`${most} === 0 ? ${most} : ${scaled}`);
    const right = p.real(`${b} === ${infinite} ? ${infinite} : ${finite}`);
    return `${a} === ${infinite} ? ${infinite} : ${right}`;
  }),
  recip0: real((p, [x]) => {
    const inverse = p.real(`1 / ${x}`);
    return `${x} === 0 ? 0 : ${inverse}`;
  }),
  fma: helper("mallardFma"),
  lt: comparison("<"),
  le: comparison("<="),
  gt: comparison(">"),
  ge: comparison(">="),
  eq: comparison("==="),
  ne: comparison("!=="),
  and: { operands: "bool", real: (_, [x, y]) => `${x} !== 0 && ${y} !== 0` },
  or: { operands: "bool", real: (_, [x, y]) => `${x} !== 0 || ${y} !== 0` },
  not: { operands: "bool", real: (_, [x]) => `${x} === 0` },
  select: { operands: "select", real: (_, [c, x, y]) => `${c} !== 0 ? ${x} : ${y}`, int: (_, [c, x, y]) => `${c} !== 0 ? ${x} : ${y}` },
  toF32: real((_, [x]) => `${x}`),
  toBf16: helper("mallardToBf16"),
  toF16: helper("mallardToF16"),
  // The writer's `| 0` truncates and takes NaN to 0; what is too large for it is chosen apart.
  toI32: {
    operands: "own",
    real: (p, [x]) => {
      const least = p.real("-2147483648");
      const beyond = p.real("2147483648");
      const most = p.int("2147483647");
      const held = p.real(`Math.max(${least}, ${x})`);
      const whole = p.int(held);
      return `${x} >= ${beyond} ? ${most} : ${whole}`;
    },
    int: (_, [x]) => `${x}`,
  },
  toBool: { operands: "own", real: (_, [x]) => `${x} !== 0` },
  toReal: real((_, [x]) => `${x}`),
};

/** Whether a row's text for this result is a condition (to be turned into 0 or 1). */
export const isCondition = (type: Type): boolean => type === "bool";
