// Index arithmetic: builds int and bool expressions in a normal form (Σ coefficient·atom + constant), so that undoing
// a split or a merge cancels: (h·D + d) div D is h where 0 ≤ d < D is proved.
import { apply, type Expr, int, load, num, random } from "./expr.js";
import { type Bounds, type Range, rangeOf } from "./ranges.js";

interface Linear {
  readonly terms: ReadonlyMap<Expr, number>;
  readonly constant: number;
}

function linear(e: Expr): Linear {
  if (e.kind === "num") return { terms: new Map(), constant: e.value };
  if (e.kind === "call") {
    const [a, b] = e.args as readonly [Expr, Expr];
    if (e.prim === "add") return combine(linear(a), linear(b), 1);
    if (e.prim === "sub") return combine(linear(a), linear(b), -1);
    if (e.prim === "neg") return combine({ terms: new Map(), constant: 0 }, linear(a), -1);
    if (e.prim === "mul" && b.kind === "num") return scaled(linear(a), b.value);
    if (e.prim === "mul" && a.kind === "num") return scaled(linear(b), a.value);
  }
  return { terms: new Map([[e, 1]]), constant: 0 };
}
function combine(a: Linear, b: Linear, sign: number): Linear {
  const terms = new Map(a.terms);
  for (const [t, c] of b.terms) {
    const sum = (terms.get(t) ?? 0) + sign * c;
    if (sum === 0) terms.delete(t);
    else terms.set(t, sum);
  }
  return { terms, constant: a.constant + sign * b.constant };
}
const scaled = (a: Linear, by: number): Linear =>
  by === 0 ? { terms: new Map(), constant: 0 } : { terms: new Map([...a.terms].map(([t, c]) => [t, c * by])), constant: a.constant * by };

/** Positive terms first, then the constant: `query - tap + 3`, not `-tap + query + 3`. */
function build({ terms, constant }: Linear): Expr {
  const term = (t: Expr, c: number) => (c === 1 ? t : apply("mul", "int", t, int(c)));
  let out: Expr | undefined;
  for (const [t, c] of [...terms].sort(([a], [b]) => a.id - b.id)) if (c > 0) out = out ? apply("add", "int", out, term(t, c)) : term(t, c);
  for (const [t, c] of [...terms].sort(([a], [b]) => a.id - b.id))
    if (c < 0) out = out ? apply("sub", "int", out, term(t, -c)) : c === -1 ? apply("neg", "int", t) : term(t, c);
  if (!out) return int(constant);
  return constant === 0 ? out : constant > 0 ? apply("add", "int", out, int(constant)) : apply("sub", "int", out, int(-constant));
}

/** e = constant + Σ coefficient·atom: how loads find strides. */
export const linearForm = (e: Expr): { readonly terms: ReadonlyMap<Expr, number>; readonly constant: number } => linear(e);

export const iadd = (a: Expr, b: Expr): Expr => build(combine(linear(a), linear(b), 1));
export const isub = (a: Expr, b: Expr): Expr => build(combine(linear(a), linear(b), -1));
export const ineg = (a: Expr): Expr => isub(int(0), a);
export function imul(a: Expr, b: Expr): Expr {
  if (a.kind === "num") return build(scaled(linear(b), a.value));
  if (b.kind === "num") return build(scaled(linear(a), b.value));
  return a.id < b.id ? apply("mul", "int", a, b) : apply("mul", "int", b, a);
}

/** Splits e into multiples of d and a rest that lies within [0, d). */
function divisible(e: Expr, d: number, bounds: Bounds): { readonly whole: Expr; readonly rest: Expr } | undefined {
  const l = linear(e);
  const whole = new Map<Expr, number>();
  const rest = new Map<Expr, number>();
  for (const [t, c] of l.terms) (c % d === 0 ? whole : rest).set(t, c);
  const shift = Math.floor(l.constant / d) * d;
  const left = build({ terms: rest, constant: l.constant - shift });
  const [lo, hi] = rangeOf(left, bounds);
  if (lo < 0 || hi >= d) return undefined;
  return { whole: build({ terms: new Map([...whole].map(([t, c]) => [t, c / d])), constant: shift / d }), rest: left };
}
export function idiv(a: Expr, b: Expr, bounds: Bounds): Expr {
  if (b.kind === "num" && b.value >= 1) {
    if (b.value === 1) return a;
    const parts = divisible(a, b.value, bounds);
    if (parts) return parts.whole;
  }
  return apply("idiv", "int", a, b);
}
export function imod(a: Expr, b: Expr, bounds: Bounds): Expr {
  const [lo, hi] = rangeOf(a, bounds);
  const [least] = rangeOf(b, bounds);
  if (lo >= 0 && hi < least) return a;
  if (b.kind === "num" && b.value >= 1) {
    if (b.value === 1) return int(0);
    const parts = divisible(a, b.value, bounds);
    if (parts) return parts.rest;
    // Multiples of the divisor do not matter to the remainder.
    const l = linear(a);
    const kept = new Map([...l.terms].filter(([, c]) => c % b.value !== 0));
    if (kept.size < l.terms.size) return imod(build({ terms: kept, constant: l.constant }), b, bounds);
  }
  return apply("imod", "int", a, b);
}

/** The same expression with other indices in place of variables, int sums in normal form again. Loads are for `load`, if
 *  that takes them. */
export function substituted(
  root: Expr,
  to: ReadonlyMap<string, Expr>,
  take: (e: Expr, go: (p: Expr) => Expr) => Expr | undefined = () => undefined,
): Expr {
  const done = new Map<Expr, Expr>();
  const go = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const made = take(e, go) ?? again(e, to, go);
    done.set(e, made);
    return made;
  };
  return go(root);
}
function again(e: Expr, to: ReadonlyMap<string, Expr>, go: (p: Expr) => Expr): Expr {
  switch (e.kind) {
    case "num":
    case "local":
      return e;
    case "var":
      return to.get(e.name) ?? e;
    case "load":
      return load(e.buffer, e.index.map(go), e.inside && go(e.inside));
    case "random":
      return random(e.draw, e.key, e.extend.map(go), go(e.counter));
    case "call": {
      const args = e.args.map(go);
      const [a, b] = args as [Expr, Expr];
      if (args.every((x, i) => x === e.args[i])) return e;
      if (e.type === "int" && e.prim === "add") return iadd(a, b);
      if (e.type === "int" && e.prim === "sub") return isub(a, b);
      if (e.type === "int" && e.prim === "neg") return ineg(a);
      if (e.type === "int" && e.prim === "mul") return imul(a, b);
      return apply(e.prim, e.type, ...args);
    }
  }
}

export const yes = num(1, "bool");
export const no = num(0, "bool");
export const not = (a: Expr): Expr =>
  a === yes ? no : a === no ? yes : a.kind === "call" && a.prim === "not" ? (a.args[0] as Expr) : apply("not", "bool", a);
export const and = (a: Expr, b: Expr): Expr => (a === yes || a === b ? b : b === yes ? a : a === no || b === no ? no : apply("and", "bool", a, b));
export const or = (a: Expr, b: Expr): Expr => (a === no || a === b ? b : b === no ? a : a === yes || b === yes ? yes : apply("or", "bool", a, b));

type Comparison = "lt" | "le" | "gt" | "ge" | "eq" | "ne";
/** What a − b in [lo, hi] says of a comparison of a with b, if anything. */
export function decidedBy(op: Comparison, lo: number, hi: number): Expr | undefined {
  const known = {
    lt: [hi < 0, lo >= 0],
    le: [hi <= 0, lo > 0],
    gt: [lo > 0, hi <= 0],
    ge: [lo >= 0, hi < 0],
    eq: [lo === 0 && hi === 0, lo > 0 || hi < 0],
    ne: [lo > 0 || hi < 0, lo === 0 && hi === 0],
  }[op];
  return known[0] ? yes : known[1] ? no : undefined;
}
export const isComparison = (prim: string): prim is Comparison => ["lt", "le", "gt", "ge", "eq", "ne"].includes(prim);
/** Compares ints, deciding what intervals decide. */
export function compare(op: Comparison, a: Expr, b: Expr, bounds: Bounds): Expr {
  const [lo, hi]: Range = rangeOf(isub(a, b), bounds);
  return decidedBy(op, lo, hi) ?? apply(op, "bool", a, b);
}
/** 0 ≤ e < extent. */
export const within = (e: Expr, extent: Expr, bounds: Bounds): Expr => and(compare("ge", e, int(0), bounds), compare("lt", e, extent, bounds));
