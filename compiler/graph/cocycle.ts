// Proves what a monoid's combine multiplies a component by: (x.c, y.c) ↦ x.c·R(x.m, y.m) + y.c·R(y.m, x.m) where m is a
// maximum (or a minimum) and R brings c up to date when m moves:
//
//   R(own, other) = exp(k·(own − max(own, other))),   so that   Σ_j c_j·exp(k·(m_j − max_j m_j))   is the whole fold
//
// because the factors along any way of combining multiply to the last one: (m₁ − m₂) + (m₂ − m₃) = m₁ − m₃. However the
// author spells R, it is a function of two numbers that is known once it is known in six situations: own less, equal,
// greater; own, other, both without a bound (−∞, the identity of a maximum). There R is evaluated on symbols, and must be
// exp(k·(own − other)), 1, 1; 0, 1. Where both are −∞ a masked row is told: 0, 1 and NaN are what authors write (NaN
// without a guard), and the split fold gives the same.
import { evaluate, type Primitive } from "../../dsl/primitives.js";
import { call, constant, type Scalar, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";

/** R: exp(rate·(own − whole)); `empty` is its value where own and whole are both the identity. */
export interface Rescale {
  readonly rate: number;
  readonly empty: number;
}

/** The factor of x.c in the combine of c and that of y.c, or undefined if it is not linear in the two. */
export function coefficients(body: Scalar, x: Scalar, y: Scalar): readonly [Scalar, Scalar] | undefined {
  const zero = constant(0);
  type Parts = readonly [Scalar, Scalar, Scalar]; // of x, of y, and what reads neither
  const done = new Map<Scalar, Parts | null>();
  const free = (p: Parts) => p[0] === zero && p[1] === zero;
  const each = (f: (i: 0 | 1 | 2) => Scalar): Parts => [simplify(f(0)), simplify(f(1)), simplify(f(2))];
  const step = (t: Scalar): Parts | null => {
    if (t === x) return [constant(1), zero, zero];
    if (t === y) return [zero, constant(1), zero];
    if (t.kind !== "call") return [zero, zero, t];
    const parts = t.args.map((a) => done.get(a) as Parts | null);
    if (parts.every((p) => p && free(p))) return [zero, zero, t];
    const [a, b, c] = parts;
    if (a === null || b === null || c === null) return null;
    const at = (p: Parts | undefined, i: 0 | 1 | 2) => (p as Parts)[i];
    const scale = (p: Parts, by: Scalar) => each((i) => (p[i] === zero ? zero : call("mul", p[i], by)));
    switch (t.prim) {
      case "neg":
        return each((i) => call("neg", at(a, i)));
      case "add":
        return each((i) => plus(at(a, i), at(b, i)));
      case "sub":
        return each((i) => (at(b, i) === zero ? at(a, i) : at(a, i) === zero ? call("neg", at(b, i)) : call("sub", at(a, i), at(b, i))));
      case "mul":
        if (a && b && free(b)) return scale(a, b[2]);
        return a && b && free(a) ? scale(b, a[2]) : null;
      case "div":
        return a && b && free(b) ? each((i) => (at(a, i) === zero ? zero : call("div", at(a, i), b[2]))) : null;
      case "fma":
        if (!a || !b || !c || !(free(a) || free(b))) return null;
        return each((i) => plus(at(free(b) ? scale(a, b[2]) : scale(b, a[2]), i), at(c, i)));
      case "select":
        if (!a || !free(a)) return null;
        return each((i) => (at(b, i) === at(c, i) ? at(b, i) : call("select", a[2], at(b, i), at(c, i))));
      default:
        return null;
    }
  };
  const plus = (p: Scalar, q: Scalar) => (p === zero ? q : q === zero ? p : call("add", p, q));
  for (const t of terms([body])) done.set(t, step(t));
  const out = done.get(body);
  return out && out[2] === zero ? [out[0], out[1]] : undefined;
}

/** What R is, as a function of its own side's extreme and the other's. */
export function rescale(r: Scalar, own: Scalar, other: Scalar, kind: "max" | "min"): Rescale | undefined {
  const none = kind === "max" ? -Infinity : Infinity;
  const [o, p] = [linear(1, 0), linear(0, 1)];
  const e = number(none);
  /** Own less than other counts as "behind": the other one is the extreme. */
  const at = (a: Value, b: Value, sign: Sign) => evaluated(r, own, other, a, b, sign);
  const behind = at(o, p, kind === "max" ? -1 : 1);
  const isOne = (v: Value | null) => v !== null && v.kind === "linear" && isNumber(v, 1);
  const isNone = (v: Value | null) => v !== null && v.kind === "linear" && isNumber(v, 0);
  if (behind?.kind !== "exp" || behind.of.constant !== 0 || behind.of.own !== -behind.of.other) return undefined;
  const rate = behind.of.own;
  if (kind === "max" ? !(rate > 0) : !(rate < 0)) return undefined;
  if (!isOne(at(o, p, kind === "max" ? 1 : -1)) || !isOne(at(o, o, 0)) || !isOne(at(o, e, kind === "max" ? 1 : -1))) return undefined;
  if (!isNone(at(e, p, kind === "max" ? -1 : 1))) return undefined;
  const both = at(e, e, 0);
  if (both?.kind === "special" && Number.isNaN(both.value)) return { rate, empty: NaN };
  return isOne(both) ? { rate, empty: 1 } : isNone(both) ? { rate, empty: 0 } : undefined;
}

/** own·x + other·y + constant, finite. */
interface Linear {
  readonly own: number;
  readonly other: number;
  readonly constant: number;
}
type Value =
  | ({ readonly kind: "linear" } & Linear)
  | { readonly kind: "exp"; readonly of: Linear }
  /** ±∞ and NaN. */
  | { readonly kind: "special"; readonly value: number }
  | { readonly kind: "bool"; readonly value: boolean };
/** Of own − other, where both are finite or it is known all the same. */
type Sign = -1 | 0 | 1;

const linear = (own: number, other: number, c = 0): Value => ({ kind: "linear", own, other, constant: c });
const number = (v: number): Value => (Number.isFinite(v) ? linear(0, 0, v) : { kind: "special", value: v });
const bool = (value: boolean): Value => ({ kind: "bool", value });
const isNumber = (v: Linear, value: number) => v.own === 0 && v.other === 0 && v.constant === value;
/** A value that is one known number. */
const plain = (v: Value): number | undefined =>
  v.kind === "special" ? v.value : v.kind === "linear" && v.own === 0 && v.other === 0 ? v.constant : undefined;

function evaluated(r: Scalar, own: Scalar, other: Scalar, a: Value, b: Value, sign: Sign): Value | null {
  const done = new Map<Scalar, Value | null>();
  for (const t of terms([r])) {
    if (t === own) done.set(t, a);
    else if (t === other) done.set(t, b);
    else if (t.kind === "const") done.set(t, typeof t.value === "boolean" ? bool(t.value) : number(t.value));
    else if (t.kind !== "call") done.set(t, null);
    else {
      const args = t.args.map((s) => done.get(s) as Value | null);
      // A branch that is not taken may be anything.
      const [c, x, y] = args;
      if (t.prim === "select" && c?.kind === "bool") done.set(t, (c.value ? x : y) as Value | null);
      else done.set(t, args.every((v) => v !== null) ? apply(t.prim, args, sign) : null);
    }
  }
  return done.get(r) as Value | null;
}

function apply(prim: Primitive, args: readonly Value[], sign: Sign): Value | null {
  const [x, y] = args as readonly [Value, Value];
  const numbers = args.map((v) => (v.kind === "bool" ? v.value : plain(v)));
  if (numbers.every((v) => v !== undefined)) {
    const v = evaluate(prim, numbers);
    return typeof v === "boolean" ? bool(v) : number(v);
  }
  switch (prim) {
    case "neg":
      return scaled(x, -1);
    case "add":
      return plus(x, y);
    case "sub": {
      const minus = scaled(y, -1);
      return minus && plus(x, minus);
    }
    case "mul": {
      if (x.kind === "exp" && y.kind === "exp") return exponential(plus({ kind: "linear", ...x.of }, { kind: "linear", ...y.of }));
      const [k, v] = plain(x) === undefined ? [plain(y), x] : [plain(x), y];
      return k === undefined ? null : scaled(v, k);
    }
    case "div": {
      if (y.kind === "exp") {
        const below = scaled({ kind: "linear", ...y.of }, -1);
        const top = plain(x) === 1 ? linear(0, 0) : x.kind === "exp" ? ({ kind: "linear", ...x.of } as const) : null;
        return top && below && exponential(plus(top, below));
      }
      const k = plain(y);
      return k === undefined ? null : scaled(x, 1 / k);
    }
    case "exp":
      return exponential(x);
    case "abs": {
      const s = order(x, linear(0, 0), sign);
      return s === null ? null : s < 0 ? scaled(x, -1) : x;
    }
    case "max":
    case "min": {
      if ([x, y].some((v) => Number.isNaN(plain(v)))) return number(NaN);
      const s = order(x, y, sign);
      return s === null ? null : (prim === "max" ? s >= 0 : s <= 0) ? x : y;
    }
    case "lt":
    case "le":
    case "gt":
    case "ge":
    case "eq":
    case "ne": {
      const s = order(x, y, sign);
      return s === null ? null : (apply(prim, [number(s), number(0)], sign) as Value);
    }
    default:
      return null;
  }
}
function plus(x: Value, y: Value): Value | null {
  if (x.kind === "linear" && y.kind === "linear") return linear(x.own + y.own, x.other + y.other, x.constant + y.constant);
  if (x.kind === "special" && y.kind === "linear") return x;
  return y.kind === "special" && x.kind === "linear" ? y : null;
}
function scaled(x: Value, k: number): Value | null {
  if (x.kind === "exp") return k === 1 ? x : k === 0 ? linear(0, 0) : null;
  if (x.kind === "special") return number(x.value * k);
  if (x.kind !== "linear" || !Number.isFinite(k)) return null;
  return linear(x.own * k, x.other * k, x.constant * k);
}
function exponential(x: Value | null): Value | null {
  if (x?.kind !== "linear") return null;
  return x.own === 0 && x.other === 0 ? number(Math.exp(x.constant)) : { kind: "exp", of: { own: x.own, other: x.other, constant: x.constant } };
}
/** The sign of x − y, where it is known. */
function order(x: Value, y: Value, sign: Sign): Sign | null {
  const [p, q] = [plain(x), plain(y)];
  if (p !== undefined && Math.abs(p) === Infinity && y.kind !== "special" && y.kind !== "bool") return p > 0 ? 1 : -1;
  if (q !== undefined && Math.abs(q) === Infinity && x.kind !== "special" && x.kind !== "bool") return q > 0 ? -1 : 1;
  if (x.kind !== "linear" || y.kind !== "linear") return null;
  const d = { own: x.own - y.own, other: x.other - y.other, constant: x.constant - y.constant };
  if (d.own === 0 && d.other === 0) return Math.sign(d.constant) as Sign;
  return d.constant === 0 && d.own === -d.other ? ((Math.sign(d.own) * sign) as Sign) : null;
}
