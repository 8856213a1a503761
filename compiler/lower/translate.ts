// Scalars into typed index notation. JavaScript has one kind of number; a target has integers and reals, and index
// arithmetic must be exact. An operation on ints whose interval fits 32 bits stays int, all else is real.
import { type Scalar, terms } from "../../dsl/scalar.js";
import { apply, type Expr, int, num, real } from "./expr.js";
import { and, compare, iadd, idiv, imod, imul, ineg, isub, no, not, or, yes } from "./ints.js";
import { type Bounds, rangeOf } from "./ranges.js";

export interface Environment {
  readonly arg: (name: string) => Expr;
  readonly index: (axis: string) => Expr;
  readonly size: (axis: string) => Expr;
  readonly bounds: Bounds;
}

const limit = 2 ** 31;

export const toReal = (e: Expr): Expr => (e.type === "real" ? e : e.kind === "num" ? real(e.value) : apply("toReal", "real", e));
/** Truth as the number 1 or 0. */
const toInt = (e: Expr): Expr => (e.type !== "bool" ? e : e.kind === "num" ? int(e.value) : apply("select", "int", e, int(1), int(0)));
/** A real known to be integral (a floor), for use as an index. */
export const toIndex = (e: Expr): Expr =>
  e.type === "int" ? e : e.type === "bool" ? toInt(e) : e.kind === "num" ? int(Math.trunc(e.value)) : apply("toI32", "int", e);

export function select(c: Expr, a: Expr, b: Expr): Expr {
  if (c === yes || a === b) return a;
  if (c === no) return b;
  if (a.type === b.type) return apply("select", a.type, c, a, b);
  return a.type === "real" || b.type === "real" ? apply("select", "real", c, toReal(a), toReal(b)) : apply("select", "int", c, toInt(a), toInt(b));
}

export function translate(body: Scalar, env: Environment): Expr {
  const done = new Map<Scalar, Expr>();
  for (const t of terms([body]))
    done.set(
      t,
      one(t, (s) => done.get(s) as Expr, env),
    );
  return done.get(body) as Expr;
}

function one(t: Scalar, of: (s: Scalar) => Expr, env: Environment): Expr {
  switch (t.kind) {
    case "const":
      if (typeof t.value === "boolean") return t.value ? yes : no;
      return Number.isInteger(t.value) && Math.abs(t.value) < limit && !Object.is(t.value, -0) ? int(t.value) : real(t.value);
    case "arg":
      return env.arg(t.name);
    case "index":
      return env.index(t.axis);
    case "size":
      return env.size(t.axis);
    case "call":
      return operate(t.prim, t.args.map(of), env.bounds);
  }
}

/** Int when every operand is and the result fits 32 bits whatever the indices; undefined: compute in reals. */
function integral(e: Expr, bounds: Bounds): Expr | undefined {
  const [lo, hi] = rangeOf(e, bounds);
  return lo >= -limit && hi < limit ? e : undefined;
}

type CallPrim = Extract<Scalar, { kind: "call" }>["prim"];
export function operate(prim: CallPrim, args: readonly Expr[], bounds: Bounds): Expr {
  const [a, b, c] = args as readonly [Expr, Expr, Expr];
  const ints = args.every((x) => x.type === "int");
  const reals = (type: "real" | "bool" = "real") => folded(prim, type, args.map(toReal));
  switch (prim) {
    case "add":
      return (ints && integral(iadd(a, b), bounds)) || reals();
    case "sub":
      return (ints && integral(isub(a, b), bounds)) || reals();
    case "mul":
      return (ints && integral(imul(a, b), bounds)) || reals();
    case "div":
      return a.kind === "num" && b.kind === "num" && ints && b.value !== 0 && Number.isInteger(a.value / b.value) ? int(a.value / b.value) : reals();
    case "pow": {
      const r = toReal(a);
      if (b.kind === "num" && b.value === 2) return folded("mul", "real", [r, r]);
      if (b.kind === "num" && b.value === 3) return folded("mul", "real", [r, folded("mul", "real", [r, r])]);
      return reals();
    }
    case "neg":
      // −0 is no int: JavaScript's -(0) differs from 0 only under division and sign tests of zero.
      return (ints && integral(ineg(a), bounds)) || reals();
    case "min":
    case "max":
      if (!ints) return reals();
      if (a === b) return a;
      return compare(prim === "min" ? "le" : "ge", a, b, bounds) === yes
        ? a
        : compare(prim === "min" ? "ge" : "le", a, b, bounds) === yes
          ? b
          : apply(prim, "int", a, b);
    case "abs":
      if (!ints) return reals();
      return rangeOf(a, bounds)[0] >= 0 ? a : apply("abs", "int", a);
    case "sign":
      return ints ? apply("sign", "int", a) : reals();
    case "mod": {
      if (!ints) return reals();
      const [lo] = rangeOf(a, bounds);
      const [least] = rangeOf(b, bounds);
      if (least >= 1) return lo >= 0 ? imod(a, b, bounds) : apply("mod", "int", a, b);
      return reals(); // x % 0 is NaN
    }
    case "floor":
    case "trunc": {
      if (a.type === "int") return a;
      const quotient = divided(a);
      if (quotient && rangeOf(quotient[1], bounds)[0] >= 1 && (prim === "floor" || rangeOf(quotient[0], bounds)[0] >= 0))
        return idiv(quotient[0], quotient[1], bounds);
      return reals();
    }
    case "ceil":
    case "round":
      return a.type === "int" ? a : reals();
    case "lt":
    case "le":
    case "gt":
    case "ge":
    case "eq":
    case "ne": {
      if (args.every((x) => x.type !== "real")) return compare(prim, toInt(a), toInt(b), bounds);
      return reals("bool");
    }
    case "and":
      return and(a, b);
    case "or":
      return or(a, b);
    case "not":
      return not(a);
    case "select":
      return select(a, b, c);
    case "toReal":
      return toReal(a);
    case "toI32":
      return toIndex(a);
    case "toBool":
      return a.type === "bool" ? a : a.type === "int" ? compare("ne", a, int(0), bounds) : folded("ne", "bool", [a, real(0)]);
    default:
      return reals();
  }
}

/** Recognises int ÷ int under its conversion to reals. */
function divided(e: Expr): readonly [Expr, Expr] | undefined {
  if (e.kind !== "call" || e.prim !== "div") return undefined;
  const ints = e.args.map((x) =>
    x.kind === "call" && x.prim === "toReal" && x.args[0]?.type === "int"
      ? x.args[0]
      : x.kind === "num" && Number.isInteger(x.value) && Math.abs(x.value) < limit
        ? int(x.value)
        : undefined,
  );
  return ints[0] && ints[1] ? [ints[0], ints[1]] : undefined;
}

/** Identities that hold for every value, the sign of zero apart where adding it is the question. */
function folded(prim: CallPrim, type: "real" | "bool", args: readonly Expr[]): Expr {
  const [a, b] = args as readonly [Expr, Expr];
  const is = (e: Expr | undefined, v: number) => e?.kind === "num" && e.value === v;
  if (prim === "mul" && is(a, 1)) return b;
  if ((prim === "mul" || prim === "div") && is(b, 1)) return a;
  if (prim === "add" && is(a, 0)) return b;
  if ((prim === "add" || prim === "sub") && is(b, 0)) return a;
  if (args.every((x) => x.kind === "num")) {
    const [x, y] = args.map((e) => (e as Extract<Expr, { kind: "num" }>).value) as [number, number];
    const value = { add: x + y, sub: x - y, mul: x * y, div: x / y, neg: -x, pow: x ** y, sqrt: Math.sqrt(x), exp: Math.exp(x), log: Math.log(x) }[
      prim as string
    ];
    if (value !== undefined) return num(value, type);
  }
  return apply(prim, type, ...args);
}
