// Interval arithmetic on terms: what an int term is at least and at most, and whether a condition may or must hold, for all
// indices of a box. Bounds are terms themselves, over the box's corners and whatever stands still in it, so that a kernel
// evaluates them once a tile. A side that is not known is left open: `may` then says yes and `surely` no.
import { apply, type Expr, int, num, partsOf } from "../../lower/expr.js";
import { and, no, not, or, yes } from "../../lower/ints.js";
import { add, idiv, imax, imin, imod, linear, mul, namesOf, sub, termsOf } from "../terms.js";

/** Of an int term. */
export interface Bounds {
  readonly lo: Expr | undefined;
  readonly hi: Expr | undefined;
}
/** Of a condition: whether it holds somewhere in the box (or may), and whether it holds everywhere (for sure). */
export interface Truth {
  readonly may: Expr;
  readonly surely: Expr;
}
export interface Box {
  /** Variables that move inside the box, with their least and greatest values. */
  readonly ranges: ReadonlyMap<string, { readonly lo: Expr; readonly hi: Expr }>;
  /** Bounds of a load that moves inside the box (of 0 and 1, if it is a condition), where somebody knows them. */
  readonly load: (e: Expr & { kind: "load" }) => Bounds | undefined;
}

const open: Bounds = { lo: undefined, hi: undefined };
const open01: Bounds = { lo: int(0), hi: int(1) };
const compare = (op: "lt" | "le" | "eq", a: Expr, b: Expr): Expr => {
  if (a.kind === "num" && b.kind === "num")
    return (op === "lt" ? a.value < b.value : op === "le" ? a.value <= b.value : a.value === b.value) ? yes : no;
  return apply(op, "bool", a, b);
};
const choose = (c: Expr, a: Expr, b: Expr): Expr => (c === yes ? a : c === no ? b : a === b ? a : apply("select", "int", c, a, b));
const both = (a: Expr | undefined, b: Expr | undefined, f: (a: Expr, b: Expr) => Expr): Expr | undefined => (a && b ? f(a, b) : undefined);
const scaled = (e: Expr, by: number): Expr => (by === 1 ? e : by === -1 ? apply("neg", "int", e) : mul(e, int(by)));
const fixed = (b: Bounds): Expr | undefined => (b.lo !== undefined && b.lo === b.hi ? b.lo : undefined);

/** Bounds of a condition over a box. */
export function truth(condition: Expr, box: Box): Truth {
  const known = new Evaluator(box).run(condition);
  return known.truth ?? { may: yes, surely: no };
}

interface Known {
  readonly bounds?: Bounds;
  readonly truth?: Truth;
}
class Evaluator {
  readonly #known = new Map<Expr, Known>();
  constructor(readonly box: Box) {}

  run(root: Expr): Known {
    for (const e of termsOf([root])) if (!this.#known.has(e)) this.#known.set(e, this.#own(e));
    return this.#known.get(root) as Known;
  }
  #moves(e: Expr): boolean {
    const names = namesOf(e);
    return [...this.box.ranges.keys()].some((v) => names.has(v));
  }
  #bounds(e: Expr): Bounds {
    return this.#known.get(e)?.bounds ?? open;
  }
  #truth(e: Expr): Truth {
    return this.#known.get(e)?.truth ?? { may: yes, surely: no };
  }
  #own(e: Expr): Known {
    if (e.type === "real") return {};
    // What stands still in the box is its own bound; locals are values of one row or pair.
    if (!this.#moves(e) && termsOf([e]).every((t) => t.kind !== "local" && t.kind !== "random"))
      return e.type === "int" ? { bounds: { lo: e, hi: e } } : { truth: { may: e, surely: e } };
    switch (e.kind) {
      case "num":
        return e.type === "int" ? { bounds: { lo: e, hi: e } } : { truth: { may: e, surely: e } };
      case "var":
        return { bounds: this.box.ranges.get(e.name) ?? { lo: e, hi: e } };
      case "load": {
        const b = this.box.load(e) ?? (e.type === "bool" ? open01 : open);
        if (e.type === "int") return { bounds: e.inside ? this.#withZero(b) : b };
        const outside = e.inside ? this.#truth(e.inside) : { may: yes, surely: yes };
        const holds = (x: Expr | undefined, otherwise: Expr) => (x ? not(compare("eq", x, int(0))) : otherwise);
        return { truth: { may: and(outside.may, holds(b.hi, yes)), surely: and(outside.surely, holds(b.lo, no)) } };
      }
      case "call":
        return e.type === "bool" ? { truth: this.#condition(e) } : { bounds: this.#int(e) };
      case "local":
        return {};
    }
  }
  /** A guarded load is 0 where its guard fails. */
  #withZero(b: Bounds): Bounds {
    return { lo: b.lo && imin(b.lo, int(0)), hi: b.hi && imax(b.hi, int(0)) };
  }

  /** Σ c·atom + constant, each atom at its bound: a variable on both sides of a difference cancels. */
  #linear(e: Expr): Bounds {
    const { of, constant } = linear(e);
    let lo: Expr | undefined = int(constant);
    let hi: Expr | undefined = int(constant);
    for (const [atom, c] of of) {
      const b = this.#bounds(atom);
      lo = both(lo, c > 0 ? b.lo : b.hi, (x, y) => add(scaled(y, c), x));
      hi = both(hi, c > 0 ? b.hi : b.lo, (x, y) => add(scaled(y, c), x));
    }
    return { lo, hi };
  }
  #int(e: Expr & { kind: "call" }): Bounds {
    const [p, q, r] = e.args as readonly [Expr, Expr, Expr];
    const [a, b] = [this.#bounds(p), q ? this.#bounds(q) : open];
    switch (e.prim) {
      case "add":
      case "sub":
      case "neg":
        return this.#linear(e);
      case "mul": {
        if (p.kind === "num" || q.kind === "num") return this.#linear(e);
        const [x, y] = [fixed(a), fixed(b)];
        const by = (f: Expr, o: Bounds): Bounds => {
          const ends = both(o.lo, o.hi, (l, h) => apply("min", "int", apply("mul", "int", f, l), apply("mul", "int", f, h)));
          const most = both(o.lo, o.hi, (l, h) => apply("max", "int", apply("mul", "int", f, l), apply("mul", "int", f, h)));
          return { lo: ends, hi: most };
        };
        return x ? by(x, b) : y ? by(y, a) : open;
      }
      case "min":
        return { lo: both(a.lo, b.lo, imin), hi: a.hi && b.hi ? imin(a.hi, b.hi) : (a.hi ?? b.hi) };
      case "max":
        return { lo: a.lo && b.lo ? imax(a.lo, b.lo) : (a.lo ?? b.lo), hi: both(a.hi, b.hi, imax) };
      case "abs": {
        const lo = both(a.lo, a.hi, (l, h) => imax(int(0), imax(l, scaled(h, -1))));
        return { lo: lo ?? int(0), hi: both(a.lo, a.hi, (l, h) => imax(scaled(l, -1), h)) };
      }
      case "idiv": {
        const d = fixed(b);
        return d ? { lo: a.lo && idiv(a.lo, d), hi: a.hi && idiv(a.hi, d) } : open;
      }
      case "imod":
        return this.#remainder(a, fixed(b), int(0));
      case "mod": {
        // The sign of the dividend's: where it is not negative the remainder is as of floor division.
        const d = fixed(b);
        if (!d) return open;
        const size = imax(d, scaled(d, -1));
        const least = a.lo ? choose(compare("lt", a.lo, int(0)), sub(int(1), size), int(0)) : sub(int(1), size);
        const positive = this.#remainder(a, size, least);
        const wraps = a.lo ? compare("lt", a.lo, int(0)) : yes;
        return {
          lo: positive.lo && choose(wraps, least, positive.lo),
          hi: positive.hi && choose(wraps, sub(size, int(1)), positive.hi),
        };
      }
      case "select": {
        const c = this.#truth(p);
        const [x, y] = [this.#bounds(q), this.#bounds(r)];
        const of = (l: Expr | undefined, m: Expr | undefined, f: (l: Expr, m: Expr) => Expr) =>
          both(l, m, (s, t) => choose(c.surely, s, choose(not(c.may), t, f(s, t))));
        return { lo: of(x.lo, y.lo, imin), hi: of(x.hi, y.hi, imax) };
      }
      case "toI32":
        if (p.type === "bool") {
          const c = this.#truth(p);
          return { lo: choose(c.surely, int(1), int(0)), hi: choose(c.may, int(1), int(0)) };
        }
        return p.type === "int" ? a : open;
      default:
        return open;
    }
  }
  /** a mod d ≥ 0: exact where the whole box lies in one period. */
  #remainder(a: Bounds, d: Expr | undefined, least: Expr): Bounds {
    if (!d) return open;
    const once = both(a.lo, a.hi, (l, h) => compare("eq", idiv(l, d), idiv(h, d)));
    if (!once || !a.lo || !a.hi) return { lo: least, hi: sub(d, int(1)) };
    return { lo: choose(once, imod(a.lo, d), least), hi: choose(once, imod(a.hi, d), sub(d, int(1))) };
  }

  #condition(e: Expr & { kind: "call" }): Truth {
    const [p, q, r] = e.args as readonly [Expr, Expr, Expr];
    switch (e.prim) {
      case "and": {
        const [a, b] = [this.#truth(p), this.#truth(q)];
        return { may: and(a.may, b.may), surely: and(a.surely, b.surely) };
      }
      case "or": {
        const [a, b] = [this.#truth(p), this.#truth(q)];
        return { may: or(a.may, b.may), surely: or(a.surely, b.surely) };
      }
      case "not":
        return opposite(this.#truth(p));
      case "select": {
        const [c, a, b] = [this.#truth(p), this.#truth(q), this.#truth(r)];
        return {
          may: or(and(c.may, a.may), and(not(c.surely), b.may)),
          surely: and(or(not(c.may), a.surely), or(c.surely, b.surely)),
        };
      }
      case "toBool":
        if (p.type === "bool") return this.#truth(p);
        return p.type === "int" ? opposite(this.#compare("eq", p, int(0))) : { may: yes, surely: no };
      case "lt":
      case "le":
      case "eq":
        return this.#compare(e.prim, p, q);
      case "gt":
        return this.#compare("lt", q, p);
      case "ge":
        return this.#compare("le", q, p);
      case "ne":
        return opposite(this.#compare("eq", p, q));
      default:
        return { may: yes, surely: no };
    }
  }
  #compare(op: "lt" | "le" | "eq", p: Expr, q: Expr): Truth {
    if (p.type === "bool" && q.type === "bool") {
      // Conditions are equal where both hold or neither does.
      const [a, b] = [this.#truth(p), this.#truth(q)];
      const same = {
        may: or(and(a.may, b.may), and(not(a.surely), not(b.surely))),
        surely: or(and(a.surely, b.surely), and(not(a.may), not(b.may))),
      };
      return op === "eq" ? same : { may: yes, surely: no };
    }
    const [a, b] = [whole(p), whole(q)];
    if (!a || !b) return { may: yes, surely: no };
    this.run(a);
    this.run(b);
    const d = this.#linear(apply("sub", "int", a, b));
    const below = (x: Expr | undefined, otherwise: Expr) => (x ? compare(op === "lt" ? "lt" : "le", x, int(0)) : otherwise);
    if (op !== "eq") return { may: below(d.lo, yes), surely: below(d.hi, no) };
    const [not0, above0] = [d.lo ? compare("le", d.lo, int(0)) : yes, d.hi ? compare("le", int(0), d.hi) : yes];
    const only0 = both(d.lo, d.hi, (l, h) => and(compare("eq", l, int(0)), compare("eq", h, int(0)))) ?? no;
    return { may: and(not0, above0), surely: only0 };
  }
}
const opposite = (t: Truth): Truth => ({ may: not(t.surely), surely: not(t.may) });
/** The int term that a real one equals: comparisons of whole numbers are the same in both. */
function whole(e: Expr): Expr | undefined {
  if (e.type === "int") return e;
  if (e.kind === "num" && e.type === "real" && Number.isInteger(e.value) && Math.abs(e.value) < 2 ** 31) return num(e.value, "int");
  if (e.kind === "call" && e.prim === "toReal" && partsOf(e)[0]?.type === "int") return e.args[0];
  return undefined;
}
