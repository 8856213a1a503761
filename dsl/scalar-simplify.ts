// Simplification of scalar expressions: local rewrites that keep every bit of the f64 value, for all values including
// NaN, infinities and −0. Idempotent: rewrites go on until none applies, and each makes the term smaller or moves it
// towards a normal form that none leads away from (constants to the right, fewer negations, fewer nots).
//
// What is not here, because it is not exact:
//   x + 0 → x     −0 + 0 is +0; done only where x is never −0 (x + −0, x − 0, and 0 − x are settled below)
//   x − x → 0     ∞ − ∞ and NaN are NaN; done for integers
//   x · 0 → 0     ∞ · 0 is NaN, −1 · 0 is −0
//   −(a − b)      0 − 0 is +0 either way
//   not(a < b)    NaN; done for integers, which have none
//   x² for pow    Math.pow promises no rounding
// `int` here means what typesOf says of indices, sizes and whole constants; arguments count as real.
import { evaluate, type Primitive, primitives, type Value } from "./primitives.js";
import { call, constant, type Scalar, terms } from "./scalar.js";

type Call = Extract<Scalar, { kind: "call" }>;
const isCall = <P extends Primitive>(t: Scalar, ...prims: readonly P[]): t is Call & { readonly prim: P } =>
  t.kind === "call" && (prims as readonly Primitive[]).includes(t.prim);
const is = (t: Scalar, value: Value) => t.kind === "const" && Object.is(t.value, value);
const part = (t: Call, i: number) => t.args[i] as Scalar;

/** Facts about a term, each kept with it: terms are immutable and shared. */
interface Facts {
  /** Finite and whole in f64 (it may be −0): indices, sizes, whole constants, and + − · of those. Sizes lie below 2³¹, so
   *  that it would take a product of more than thirty of them to reach infinity. */
  readonly int: boolean;
  readonly bool: boolean;
  /** Never the value −0. */
  readonly noMinusZero: boolean;
}
const known = new WeakMap<Scalar, Facts>();
function factsOf(t: Scalar): Facts {
  const cached = known.get(t);
  if (cached) return cached;
  // Parts first; iterative, because a term may be deep.
  for (const below of terms([t])) if (!known.has(below)) known.set(below, derive(below));
  return known.get(t) as Facts;
}
const wholePrims: ReadonlySet<Primitive> = new Set<Primitive>([
  "neg",
  "add",
  "sub",
  "mul",
  "min",
  "max",
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
]);
function derive(t: Scalar): Facts {
  if (t.kind === "const") return { int: Number.isSafeInteger(t.value), bool: typeof t.value === "boolean", noMinusZero: !Object.is(t.value, -0) };
  if (t.kind === "arg") return { int: false, bool: false, noMinusZero: false };
  if (t.kind !== "call") return { int: true, bool: false, noMinusZero: true };
  const of = t.args.map((a) => known.get(a) as Facts);
  const all = of.every((f) => f.noMinusZero);
  const some = of.some((f) => f.noMinusZero);
  const row: Facts = {
    int: wholePrims.has(t.prim) && of.every((f) => f.int),
    bool: primitives[t.prim].type(["real", "real", "real"]) === "bool" || (t.prim === "select" && of[1]?.bool === true && of[2]?.bool === true),
    noMinusZero: false,
  };
  switch (t.prim) {
    case "add": // −0 only as −0 + −0
      return { ...row, noMinusZero: some };
    case "sub": // −0 only as −0 − 0
      return { ...row, noMinusZero: of[0]?.noMinusZero === true };
    case "abs":
    case "exp":
    case "cosh":
    case "acos":
    case "hypot":
    case "toI32":
      return { ...row, noMinusZero: true };
    case "max": // of 0 and −0 it is 0, but −1 does not help against −0
    case "min":
    case "sqrt":
    case "floor": // ceil, round and trunc turn −0.2 into −0
    case "sign":
    case "toReal":
      return { ...row, noMinusZero: all };
    case "select":
      return { ...row, int: of[1]?.int === true && of[2]?.int === true, noMinusZero: of[1]?.noMinusZero === true && of[2]?.noMinusZero === true };
    default:
      return row;
  }
}
const isInt = (t: Scalar) => factsOf(t).int;
const isBool = (t: Scalar) => factsOf(t).bool;

const opposite = { lt: "ge", le: "gt", gt: "le", ge: "lt", eq: "ne", ne: "eq" } as const;
const mirrored = { lt: "gt", le: "ge", gt: "lt", ge: "le" } as const;
const rounders = ["floor", "ceil", "round", "trunc"] as const;
const formats = ["toF32", "toBf16", "toF16"] as const;

/** One rewrite at the top of a call whose parts are simplified; the term itself where none applies. */
function step(t: Call): Scalar {
  const [a, b, c] = t.args as readonly [Scalar, Scalar, Scalar];
  if (t.args.every((x) => x.kind === "const")) {
    return constant(
      evaluate(
        t.prim,
        t.args.map((x) => (x as Extract<Scalar, { kind: "const" }>).value),
      ),
    );
  }
  if (primitives[t.prim].commutative && a.kind === "const") return call(t.prim, b, a);
  switch (t.prim) {
    case "neg":
      return isCall(a, "neg") ? part(a, 0) : t;
    case "add":
      if (is(b, -0) || (is(b, 0) && factsOf(a).noMinusZero)) return a;
      if (isCall(b, "neg")) return call("sub", a, part(b, 0));
      if (isCall(a, "neg")) return call("sub", b, part(a, 0));
      return t;
    case "sub":
      if (is(b, 0) || (is(b, -0) && factsOf(a).noMinusZero)) return a;
      if (is(a, -0)) return call("neg", b);
      if (isCall(b, "neg")) return call("add", a, part(b, 0));
      return a === b && isInt(a) ? constant(0) : t;
    case "mul":
      if (is(b, 1)) return a;
      if (is(b, -1)) return call("neg", a);
      return isCall(a, "neg") && isCall(b, "neg") ? call("mul", part(a, 0), part(b, 0)) : t;
    case "div":
      if (is(b, 1)) return a;
      if (is(b, -1)) return call("neg", a);
      return isCall(a, "neg") && isCall(b, "neg") ? call("div", part(a, 0), part(b, 0)) : t;
    case "pow": // both exact by the language's definition, for NaN too
      if (is(b, 1)) return a;
      return is(b, 0) || is(b, -0) ? constant(1) : t;
    case "min":
    case "max":
      return a === b ? a : t;
    case "abs":
      if (isCall(a, "neg")) return call("abs", part(a, 0));
      return isCall(a, "abs", "exp", "cosh", "sqrt", "hypot") && (a.prim !== "sqrt" || factsOf(a).noMinusZero) ? a : t;
    case "floor":
    case "ceil":
    case "round":
    case "trunc":
      return isInt(a) || isCall(a, ...rounders) ? a : t;
    case "sign":
      return isCall(a, "sign") ? a : t;
    case "lt":
    case "le":
    case "gt":
    case "ge":
      if (a.kind === "const") return call(mirrored[t.prim], b, a);
      return a === b && isInt(a) ? constant(t.prim === "le" || t.prim === "ge") : t;
    case "eq":
      if (is(b, true) && isBool(a)) return a;
      if (is(b, false) && isBool(a)) return call("not", a);
      return a === b && (isInt(a) || isBool(a)) ? constant(true) : t;
    case "ne":
      if (is(b, false) && isBool(a)) return a;
      if (is(b, true) && isBool(a)) return call("not", a);
      return a === b && (isInt(a) || isBool(a)) ? constant(false) : t;
    case "and":
      if (is(b, true) || a === b) return a;
      return is(b, false) ? constant(false) : t;
    case "or":
      if (is(b, false) || a === b) return a;
      return is(b, true) ? constant(true) : t;
    case "not": {
      if (isCall(a, "not")) return part(a, 0);
      if (isCall(a, "eq", "ne")) return call(opposite[a.prim], ...a.args);
      if (isCall(a, "lt", "le", "gt", "ge") && a.args.every(isInt)) return call(opposite[a.prim], ...a.args);
      return t;
    }
    case "select":
      return select(t, a, b, c);
    case "toF32":
      return isCall(a, ...formats) ? a : t; // f16 and bf16 are subsets of f32
    case "toBf16":
    case "toF16":
      return isCall(a, t.prim) ? a : t;
    case "toI32":
      return isCall(a, "toI32") ? a : t;
    case "toBool":
      return isBool(a) ? a : t;
    default:
      return t;
  }
}

function select(t: Call, c: Scalar, a: Scalar, b: Scalar): Scalar {
  if (is(c, true) || a === b) return a;
  if (is(c, false)) return b;
  if (isCall(c, "not")) return call("select", part(c, 0), b, a);
  if (is(a, true) && is(b, false)) return c;
  if (is(a, false) && is(b, true)) return call("not", c);
  // A condition decides the same one below it.
  if (isCall(a, "select") && part(a, 0) === c) return call("select", c, part(a, 1), b);
  if (isCall(b, "select") && part(b, 0) === c) return call("select", c, a, part(b, 2));
  // c ? (d ? x : b) : b  →  c && d ? x : b
  if (isCall(a, "select") && part(a, 2) === b) return call("select", call("and", c, part(a, 0)), part(a, 1), b);
  // c ? a : (d ? a : x)  →  c || d ? a : x
  if (isCall(b, "select") && part(b, 1) === a) return call("select", call("or", c, part(b, 0)), a, part(b, 2));
  return t;
}

const done = new WeakMap<Scalar, Scalar>();
/** The same value in fewer or plainer terms. Results are kept with the terms, so asking twice costs nothing. */
export function simplify(root: Scalar): Scalar {
  const known = done.get(root);
  if (known) return known;
  // A rewrite may build a term that is not simplified itself, so terms wait on a stack until their parts are done.
  const stack: Scalar[] = [root];
  for (let t = stack.at(-1); t; t = stack.at(-1)) {
    if (done.has(t)) {
      stack.pop();
      continue;
    }
    if (t.kind !== "call") {
      done.set(t, t);
      continue;
    }
    const waiting = t.args.filter((a) => !done.has(a));
    if (waiting.length > 0) {
      stack.push(...waiting);
      continue;
    }
    const rebuilt = call(t.prim, ...t.args.map((a) => done.get(a) as Scalar)) as Call;
    const next = rebuilt !== t && done.has(rebuilt) ? (done.get(rebuilt) as Scalar) : step(rebuilt);
    if (next === rebuilt) {
      done.set(rebuilt, rebuilt);
      done.set(t, rebuilt);
    } else if (done.has(next)) {
      done.set(rebuilt, done.get(next) as Scalar);
      done.set(t, done.get(next) as Scalar);
    } else stack.push(next);
  }
  return done.get(root) as Scalar;
}
