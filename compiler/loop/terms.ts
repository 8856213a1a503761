// Working with index notation: traversal, substitution, exact integer constructors that fold constants, linear forms
// (an access as Σ coefficient · variable + constant) and intervals. All iterative, since bodies may be deep.
import { apply, type Buffer, type Expr, int, load, maxOf, num, partsOf, random, strides } from "../lower/expr.js";

/** Every term below the roots, parts before wholes, each once. */
export function termsOf(roots: readonly Expr[]): readonly Expr[] {
  const out: Expr[] = [];
  const seen = new Set<Expr>();
  const stack: { e: Expr; parts: readonly Expr[]; next: number }[] = [];
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    stack.push({ e: root, parts: partsOf(root), next: 0 });
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const part = top.parts[top.next++];
      if (part === undefined) {
        out.push(top.e);
        stack.pop();
      } else if (!seen.has(part)) {
        seen.add(part);
        stack.push({ e: part, parts: partsOf(part), next: 0 });
      }
    }
  }
  return out;
}

/** The same term over other parts. */
export function withParts(e: Expr, parts: readonly Expr[]): Expr {
  switch (e.kind) {
    case "num":
    case "var":
    case "local":
      return e;
    case "load": {
      const n = e.index.length;
      return load(e.buffer, parts.slice(0, n), e.inside ? (parts[n] as Expr) : null);
    }
    case "call":
      if (e.type === "int") return fold(e.prim, parts) ?? apply(e.prim, e.type, ...parts);
      return apply(e.prim, e.type, ...parts);
    case "random":
      return random(e.draw, e.key, parts.slice(0, -1), parts.at(-1) as Expr);
  }
}
function fold(prim: string, [a, b]: readonly Expr[]): Expr | undefined {
  if (!a || !b) return undefined;
  switch (prim) {
    case "add":
      return add(a, b);
    case "sub":
      return sub(a, b);
    case "mul":
      return mul(a, b);
    case "idiv":
      return idiv(a, b);
    case "imod":
      return imod(a, b);
    default:
      return undefined;
  }
}

/** Replaces terms from the leaves upwards; `f` sees each leaf, and gives undefined to keep it. */
export function replace(roots: readonly Expr[], f: (leaf: Expr) => Expr | undefined): readonly Expr[] {
  const done = new Map<Expr, Expr>();
  for (const e of termsOf(roots)) {
    const parts = partsOf(e);
    const own = f(e);
    if (own) done.set(e, own);
    else if (parts.length === 0) done.set(e, e);
    else {
      const now = parts.map((p) => done.get(p) as Expr);
      done.set(e, now.every((p, i) => p === parts[i]) ? e : withParts(e, now));
    }
  }
  return roots.map((r) => done.get(r) as Expr);
}
/** Replaces variables and locals by name. */
export const rename = (roots: readonly Expr[], to: ReadonlyMap<string, Expr>): readonly Expr[] =>
  to.size === 0 ? roots : replace(roots, (e) => (e.kind === "var" || e.kind === "local" ? to.get(e.name) : undefined));

/** Names of the variables and locals that a term depends on. */
export function namesOf(...roots: readonly Expr[]): ReadonlySet<string> {
  const out = new Set<string>();
  for (const e of termsOf(roots)) if (e.kind === "var" || e.kind === "local") out.add(e.name);
  return out;
}

// Exact integer arithmetic on terms, constants folded.
const value = (e: Expr): number | undefined => (e.kind === "num" ? e.value : undefined);
export const add = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (x !== undefined && y !== undefined) return int(x + y);
  if (x === 0) return b;
  if (y === 0) return a;
  // (t + c) + d = t + (c + d)
  if (y !== undefined && a.kind === "call" && a.prim === "add") {
    const c = value(a.args[1] as Expr);
    if (c !== undefined) return add(a.args[0] as Expr, int(c + y));
  }
  return apply("add", "int", a, b);
};
export const sub = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (a === b) return int(0);
  if (y !== undefined) return x !== undefined ? int(x - y) : add(a, int(-y));
  const [p, q] = [linear(a), linear(b)];
  if (p.of.size === q.of.size && [...p.of].every(([e, c]) => q.of.get(e) === c)) return int(p.constant - q.constant);
  return apply("sub", "int", a, b);
};
export const mul = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (x !== undefined && y !== undefined) return int(x * y);
  if (x === 0 || y === 0) return int(0);
  if (x === 1) return b;
  if (y === 1) return a;
  return apply("mul", "int", a, b);
};
export const idiv = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (y === 1) return a;
  if (x !== undefined && y !== undefined && y > 0) return int(Math.floor(x / y));
  return apply("idiv", "int", a, b);
};
export const imod = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (y === 1) return int(0);
  if (x !== undefined && y !== undefined && y > 0) return int(x - y * Math.floor(x / y));
  return apply("imod", "int", a, b);
};
export const imin = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (a === b) return a;
  return x !== undefined && y !== undefined ? int(Math.min(x, y)) : apply("min", "int", a, b);
};
export const imax = (a: Expr, b: Expr): Expr => {
  const x = value(a);
  const y = value(b);
  if (a === b) return a;
  return x !== undefined && y !== undefined ? int(Math.max(x, y)) : apply("max", "int", a, b);
};
/** ⌈a / d⌉ for a ≥ 0. */
export const ceilDiv = (a: Expr, d: number): Expr => idiv(add(a, int(d - 1)), int(d));
export const sum = (xs: readonly Expr[]): Expr => xs.reduce(add, int(0));
export const product = (xs: readonly Expr[]): Expr => xs.reduce(mul, int(1));
export const less = (a: Expr, b: Expr): Expr => apply("lt", "bool", a, b);
export const asReal = (e: Expr): Expr => (e.type === "real" ? e : e.kind === "num" ? num(e.value, "real") : apply("toReal", "real", e));

/** Σ coefficient · atom + constant. Atoms are terms that are no sum or product by a constant. */
export interface Linear {
  readonly of: ReadonlyMap<Expr, number>;
  readonly constant: number;
}
export function linear(root: Expr): Linear {
  const of = new Map<Expr, number>();
  let constant = 0;
  const work: [Expr, number][] = [[root, 1]];
  for (let item = work.pop(); item; item = work.pop()) {
    const [e, scale] = item;
    if (e.kind === "num") constant += scale * e.value;
    else if (e.kind === "call" && e.type === "int" && e.prim === "add") work.push([e.args[0] as Expr, scale], [e.args[1] as Expr, scale]);
    else if (e.kind === "call" && e.type === "int" && e.prim === "sub") work.push([e.args[0] as Expr, scale], [e.args[1] as Expr, -scale]);
    else if (e.kind === "call" && e.type === "int" && e.prim === "neg") work.push([e.args[0] as Expr, -scale]);
    else if (e.kind === "call" && e.type === "int" && e.prim === "mul") {
      const [a, b] = e.args as [Expr, Expr];
      if (a.kind === "num") work.push([b, scale * a.value]);
      else if (b.kind === "num") work.push([a, scale * b.value]);
      else of.set(e, (of.get(e) ?? 0) + scale);
    } else of.set(e, (of.get(e) ?? 0) + scale);
  }
  for (const [e, c] of of) if (c === 0) of.delete(e);
  return { of, constant };
}
/** How a term depends on a variable: its coefficient, or undefined where it is not linear in it. */
export function coefficient(e: Expr, v: string): number | undefined {
  let out = 0;
  for (const [atom, c] of linear(e).of) {
    if (atom.kind === "var" && atom.name === v) out += c;
    else if (namesOf(atom).has(v)) return undefined;
  }
  return out;
}
/** The element offset of a place, as a term. */
export const offset = (b: Buffer, index: readonly Expr[]): Expr => {
  const steps = strides(b);
  return sum(index.map((e, i) => mul(e, int(steps[i] as number))));
};

export interface Interval {
  readonly lo: number;
  readonly hi: number;
}
const everything: Interval = { lo: -Infinity, hi: Infinity };
const int32: Interval = { lo: -(2 ** 31), hi: 2 ** 31 - 1 };
/** The values that an int term takes, given those of variables and locals by name. */
export function interval(root: Expr, ranges: ReadonlyMap<string, Interval>, known = new Map<Expr, Interval>()): Interval {
  for (const e of termsOf([root])) if (!known.has(e)) known.set(e, own(e, ranges, known));
  return known.get(root) as Interval;
}
const times = (x: number, y: number) => (x === 0 || y === 0 ? 0 : x * y);
function own(e: Expr, ranges: ReadonlyMap<string, Interval>, known: ReadonlyMap<Expr, Interval>): Interval {
  const at = (i: number) => known.get((e as { args: readonly Expr[] }).args[i] as Expr) as Interval;
  switch (e.kind) {
    case "num":
      return { lo: e.value, hi: e.value };
    case "var":
    case "local":
      return ranges.get(e.name) ?? (e.type === "bool" ? { lo: 0, hi: 1 } : e.type === "int" ? int32 : everything);
    case "load":
      return e.type === "bool" ? { lo: 0, hi: 1 } : e.type === "int" ? int32 : everything;
    case "random":
      return everything;
    case "call": {
      if (e.type === "bool") return { lo: 0, hi: 1 };
      if (e.type !== "int") return everything;
      switch (e.prim) {
        case "neg":
          return { lo: -at(0).hi, hi: -at(0).lo };
        case "add":
          return { lo: at(0).lo + at(1).lo, hi: at(0).hi + at(1).hi };
        case "sub":
          return { lo: at(0).lo - at(1).hi, hi: at(0).hi - at(1).lo };
        case "mul": {
          const [a, b] = [at(0), at(1)];
          const all = [times(a.lo, b.lo), times(a.lo, b.hi), times(a.hi, b.lo), times(a.hi, b.hi)];
          return { lo: Math.min(...all), hi: Math.max(...all) };
        }
        case "min":
          return { lo: Math.min(at(0).lo, at(1).lo), hi: Math.min(at(0).hi, at(1).hi) };
        case "max":
          return { lo: Math.max(at(0).lo, at(1).lo), hi: Math.max(at(0).hi, at(1).hi) };
        case "abs": {
          const a = at(0);
          return { lo: a.lo > 0 ? a.lo : a.hi < 0 ? -a.hi : 0, hi: Math.max(Math.abs(a.lo), Math.abs(a.hi)) };
        }
        case "sign":
          return { lo: at(0).lo > 0 ? 1 : at(0).lo >= 0 ? 0 : -1, hi: at(0).hi < 0 ? -1 : at(0).hi <= 0 ? 0 : 1 };
        case "idiv": {
          const [a, b] = [at(0), at(1)];
          const d = Math.max(1, b.lo);
          return { lo: Math.floor(a.lo / (a.lo < 0 ? d : Math.max(d, b.hi))), hi: Math.floor(a.hi / (a.hi < 0 ? Math.max(d, b.hi) : d)) };
        }
        case "imod": {
          const [a, b] = [at(0), at(1)];
          return a.lo >= 0 && a.hi < b.lo ? a : { lo: 0, hi: Math.max(0, b.hi - 1) };
        }
        case "mod": {
          const [a, b] = [at(0), at(1)];
          const m = Math.max(0, Math.max(Math.abs(b.lo), Math.abs(b.hi)) - 1);
          return { lo: a.lo >= 0 ? 0 : -Math.min(m, -a.lo), hi: a.hi <= 0 ? 0 : Math.min(m, a.hi) };
        }
        case "select":
          return { lo: Math.min(at(1).lo, at(2).lo), hi: Math.max(at(1).hi, at(2).hi) };
        case "fma": {
          const [a, b, c] = [at(0), at(1), at(2)];
          const all = [times(a.lo, b.lo), times(a.lo, b.hi), times(a.hi, b.lo), times(a.hi, b.hi)];
          return { lo: Math.min(...all) + c.lo, hi: Math.max(...all) + c.hi };
        }
        case "floor":
        case "ceil":
        case "round":
        case "trunc":
        case "toI32": {
          const a = at(0);
          return (e.args[0] as Expr).type === "real" ? int32 : a;
        }
        default:
          return int32;
      }
    }
  }
}
/** The greatest extent a term of extents can have. */
export const maxExtent = maxOf;
