// How JavaScript spells each scalar primitive, in f64. Operators where there are some; the rest is the primitive table's
// own function, handed to the generated code as `p`.
import type { Primitive } from "../../../dsl/primitives.js";
import { type Scalar, terms } from "../../../dsl/scalar.js";

type Spelling = (...args: readonly string[]) => string;
const infix =
  (sign: string): Spelling =>
  (a, b) =>
    `(${a} ${sign} ${b})`;
const own =
  (prim: Primitive): Spelling =>
  (...args) =>
    `p.${prim}.value(${args.join(", ")})`;
const maths =
  (name: string): Spelling =>
  (...args) =>
    `Math.${name}(${args.join(", ")})`;

export const spellings: { readonly [P in Primitive]: Spelling } = {
  neg: (a) => `(-${a})`,
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  mod: infix("%"),
  pow: infix("**"),
  min: maths("min"),
  max: maths("max"),
  abs: maths("abs"),
  sign: maths("sign"),
  floor: maths("floor"),
  ceil: maths("ceil"),
  round: maths("round"),
  trunc: maths("trunc"),
  sqrt: maths("sqrt"),
  cbrt: maths("cbrt"),
  exp: maths("exp"),
  expm1: maths("expm1"),
  log: maths("log"),
  log1p: maths("log1p"),
  log2: maths("log2"),
  log10: maths("log10"),
  sin: maths("sin"),
  cos: maths("cos"),
  tan: maths("tan"),
  asin: maths("asin"),
  acos: maths("acos"),
  atan: maths("atan"),
  atan2: maths("atan2"),
  sinh: maths("sinh"),
  cosh: maths("cosh"),
  tanh: maths("tanh"),
  asinh: maths("asinh"),
  acosh: maths("acosh"),
  atanh: maths("atanh"),
  hypot: maths("hypot"),
  recip0: own("recip0"),
  fma: own("fma"),
  lt: infix("<"),
  le: infix("<="),
  gt: infix(">"),
  ge: infix(">="),
  eq: infix("==="),
  ne: infix("!=="),
  and: infix("&&"),
  or: infix("||"),
  not: (a) => `(!${a})`,
  select: (c, a, b) => `(${c} ? ${a} : ${b})`,
  toF32: maths("fround"),
  toBf16: own("toBf16"),
  toF16: own("toF16"),
  toI32: own("toI32"),
  toBool: (a) => `Boolean(${a})`,
  toReal: (a) => `Number(${a})`,
};

export const literal = (v: number | boolean): string => (Object.is(v, -0) ? "(-0)" : typeof v === "number" && v < 0 ? `(${v})` : String(v));

/** Statements that compute the roots, one variable a call, and the roots' names. `leaf` spells arguments, indices and
 *  sizes; `name` makes unused variables. */
export function statements(
  roots: readonly Scalar[],
  leaf: (t: Exclude<Scalar, { kind: "call" | "const" }>) => string,
  name: () => string,
): { readonly lines: readonly string[]; readonly results: readonly string[] } {
  const spelled = new Map<Scalar, string>();
  const lines: string[] = [];
  for (const t of terms(roots)) {
    if (t.kind === "const") spelled.set(t, literal(t.value));
    else if (t.kind !== "call") spelled.set(t, leaf(t));
    else {
      const v = name();
      lines.push(`const ${v} = ${spellings[t.prim](...t.args.map((a) => spelled.get(a) as string))};`);
      spelled.set(t, v);
    }
  }
  return { lines, results: roots.map((r) => spelled.get(r) as string) };
}
