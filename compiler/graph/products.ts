// A sum's element as a product: what varies along the summed axes, and what does not and may leave the sum.
//
//   inner   factors that vary along the axes
//   outer   factors that do not: Σ inner·outer = outer·Σ inner
//   when    conditions that do not: Σ (c ? x : 0) = c ? Σ x : 0
//
// Products are seen through maps and labels, and in their bodies through ·, /, −, guards (c ? x : 0) and exp, where a
// logarithm among the exponent's terms is a factor: exp(a − log l) = exp(a)/l. Only logarithms: exp(s − m) stays whole,
// since exp(s) alone may overflow. What a map computes without need for a rewrite stays the node that it is.
//
// A sum in a product is one factor. What its terms have in common leaves it; what they have besides is kept with it
// (`terms`), for who wants to distribute.
//
// Under a guard that varies along the axes, 1/l is not read where the guard is false, and a row without any true one may
// have l = 0. Leaving the sum it is read for every row, so that it leaves as recip0(l), and only where l is itself a sum:
// the row's normaliser, which is 0 for nothing but such rows. Other quotients stay.
import type { Node, Shape } from "../../dsl/node.js";
import { call, constant, type Scalar, terms } from "../../dsl/scalar.js";
import type { Meanings, Term } from "./meaning.js";
import { order } from "./walk.js";

export interface Factor extends Term {
  /** Multiplies, divides, or divides where it is not 0 (recip0). */
  readonly kind: "times" | "over" | "over0";
  /** Of a sum: its terms, where they have different outer factors. */
  readonly terms?: readonly Product[];
}
export interface Product {
  readonly negative: boolean;
  readonly inner: readonly Factor[];
  readonly outer: readonly Factor[];
  readonly when: readonly Term[];
}

const zero = constant(0);
const one = constant(1);
const isZero = (s: Scalar | undefined): boolean => s?.kind === "const" && s.value === 0;
const times = (t: Term): Factor => ({ ...t, kind: "times" });
const whole = (f: Factor): Product => ({ negative: false, inner: [f], outer: [], when: [] });
const leaves = (p: Product): boolean => p.outer.length > 0 || p.when.length > 0;
const distributes = (p: Product): boolean => p.inner.some((f) => f.terms);
const sameFactor = (a: Factor, b: Factor): boolean => a.kind === b.kind && a.body === b.body;

/** Π of factors. */
export function productOf(fs: readonly Factor[]): Term {
  const over = fs.filter((f) => f.kind === "over").map((f) => f.body);
  const up = fs.filter((f) => f.kind !== "over").map((f) => (f.kind === "over0" ? call("recip0", f.body) : f.body));
  const multiplied = (xs: readonly Scalar[]): Scalar => xs.reduce((a, b) => call("mul", a, b), one);
  const top = up.length === 0 ? one : up.slice(1).reduce((a, b) => call("mul", a, b), up[0] as Scalar);
  return {
    body: over.length === 0 ? top : call("div", top, over.length === 1 ? (over[0] as Scalar) : multiplied(over)),
    axes: Object.assign({}, ...fs.map((f) => f.axes)),
  };
}
/** x where the conditions hold, else 0; and its sign. */
export function guarded(x: Term, p: Pick<Product, "when" | "negative">): Term {
  const signed = p.negative ? call("neg", x.body) : x.body;
  return {
    body: p.when.reduceRight((y, c) => call("select", c.body, y, zero), signed),
    axes: Object.assign({}, x.axes, ...p.when.map((c) => c.axes)),
  };
}
const termOf = (p: Product): Term => guarded(productOf([...p.inner, ...p.outer]), p);
const summed = (ps: readonly Product[]): Term => ({
  body: ps
    .map((p) => ({ ...p, term: termOf({ ...p, negative: false }).body }))
    .reduce<Scalar | undefined>(
      (s, p) => (s ? call(p.negative ? "sub" : "add", s, p.term) : p.negative ? call("neg", p.term) : p.term),
      undefined,
    ) as Scalar,
  axes: Object.assign({}, ...ps.map((p) => termOf(p).axes)),
});
const multiply = (a: Product, b: Product): Product => ({
  negative: a.negative !== b.negative,
  inner: [...a.inner, ...b.inner],
  outer: [...a.outer, ...b.outer],
  when: [...a.when, ...b.when],
});
const inverse = (f: Factor): Factor => ({ body: f.body, axes: f.axes, kind: f.kind === "times" ? "over" : "times" });

/** Products with respect to a set of summed axes. `opaque`: nodes that stay whole. */
export class Products {
  readonly #known = new Map<Node, Product>();
  constructor(
    readonly meanings: Meanings,
    readonly over: readonly string[],
    readonly opaque: (n: Node) => boolean,
  ) {}

  of(x: Node): Product {
    const parts = (n: Node): readonly Node[] => (this.#opens(n) ? n.args : []);
    for (const n of order([x], parts)) if (!this.#known.has(n)) this.#known.set(n, this.#product(n));
    return this.#known.get(x) as Product;
  }
  #varies(axes: Shape): boolean {
    return this.over.some((a) => a in axes);
  }
  #opens(n: Node): n is Extract<Node, { op: "map" | "label" }> {
    return !this.opaque(n) && n.dtype === "f32" && this.#varies(n.axes) && ((n.op === "map" && n.body.kind === "scalar") || n.op === "label");
  }
  #product(n: Node): Product {
    const self = times(this.meanings.of(n));
    if (n.op === "constant") return whole(self);
    if (!this.#varies(n.axes)) return { negative: false, inner: [], outer: [self], when: [] };
    if (!this.#opens(n)) return whole(self);
    const p = n.op === "label" ? (this.#known.get(n.args[0]) as Product) : this.#scalar(this.meanings.body(n), n.axes);
    if (leaves(p) || (distributes(p) && p.inner.length > 1)) return p;
    const sum = p.inner[0]?.terms;
    return whole(sum && !p.negative ? { ...self, terms: sum } : self);
  }

  /** Of a body over nodes; parts before wholes. */
  #scalar(body: Scalar, axes: Shape): Product {
    const axesOf = this.meanings.axes(body, axes);
    const done = new Map<Scalar, Product>();
    const of = (t: Scalar | undefined): Product => done.get(t as Scalar) as Product;
    const term = (t: Scalar): Term => ({ body: t, axes: axesOf.get(t) as Shape });
    for (const t of terms([body])) done.set(t, this.#step(t, of, term));
    return of(body);
  }
  #step(t: Scalar, of: (t: Scalar | undefined) => Product, term: (t: Scalar) => Term): Product {
    const self = times(term(t));
    if (t.kind === "arg") return this.#known.get(this.meanings.node(t.name)) ?? whole(self);
    if (t.kind === "const") return whole(self);
    if (!this.#varies(self.axes)) return { negative: false, inner: [], outer: [self], when: [] };
    if (t.kind !== "call") return whole(self);
    const made = this.#call(t, of, term);
    return made && (t.prim === "mul" || leaves(made) || distributes(made)) ? made : whole(self);
  }
  #call(t: Extract<Scalar, { kind: "call" }>, of: (t: Scalar | undefined) => Product, term: (t: Scalar) => Term): Product | undefined {
    const [a, b, c] = t.args as readonly [Scalar, Scalar, Scalar];
    switch (t.prim) {
      case "neg":
        return { ...of(a), negative: !of(a).negative };
      case "mul":
        return multiply(of(a), of(b));
      case "div": {
        const d = of(b);
        const below: Product = d.when.length > 0 ? whole(times(term(b))) : d;
        return multiply(of(a), { negative: below.negative, inner: below.inner.map(inverse), outer: below.outer.map(inverse), when: [] });
      }
      case "add":
        return this.#sum([of(a), of(b)]);
      case "sub":
        return this.#sum([of(a), { ...of(b), negative: !of(b).negative }]);
      case "select":
        if (isZero(c)) return this.#guard(term(a), of(b));
        return isZero(b) ? this.#guard({ ...term(a), body: call("not", a) }, of(c)) : undefined;
      case "exp":
        return this.#exp(a, term);
      default:
        return undefined;
    }
  }

  #sum(parts: readonly Product[]): Product | undefined {
    // A sum of sums is one sum.
    const all = parts.flatMap((p) => {
      const only = p.inner.length === 1 && p.when.length === 0 ? p.inner[0] : undefined;
      return only?.terms && only.kind === "times"
        ? only.terms.map((q) => ({ ...q, negative: q.negative !== p.negative, outer: [...q.outer, ...p.outer] }))
        : [p];
    });
    if (!all.some(leaves)) return undefined;
    const rest = all.map((p) => [...p.outer]);
    const common: Factor[] = [];
    if (all.every((p) => p.when.length === 0))
      for (const f of (all[0] as Product).outer) {
        const places = rest.map((fs) => fs.findIndex((g) => sameFactor(f, g)));
        if (places.some((i) => i < 0)) continue;
        common.push(f);
        rest.forEach((fs, k) => void fs.splice(places[k] as number, 1));
      }
    const left = all.map((p, k): Product => ({ ...p, outer: rest[k] as Factor[] }));
    const sum = times(summed(left));
    return { negative: false, inner: [left.some(leaves) ? { ...sum, terms: left } : sum], outer: common, when: [] };
  }

  #guard(c: Term, p: Product): Product {
    if (!this.#varies(c.axes)) return { ...p, when: [c, ...p.when] };
    const inner = [...p.inner];
    const outer: Factor[] = [];
    for (const f of p.outer) {
      const safe = this.#safe(f);
      if (safe) outer.push(safe);
      else inner.push(f);
    }
    const under = (fs: readonly Factor[]): Factor => {
      const x = productOf(fs);
      return times({ body: call("select", c.body, x.body, zero), axes: { ...x.axes, ...c.axes } });
    };
    const sum = inner.find((f) => f.terms && f.kind === "times");
    const others = inner.filter((f) => f !== sum);
    const distributed = sum?.terms?.map((q): Product | undefined => {
      const safe = q.outer.map((f) => this.#safe(f));
      return safe.every((f) => f !== undefined) ? { ...q, inner: [under([...q.inner, ...others])], outer: safe as Factor[] } : undefined;
    });
    const made = under(inner);
    return { ...p, outer, inner: [distributed?.every((q) => q !== undefined) ? { ...made, terms: distributed as Product[] } : made] };
  }
  /** The factor as it may be read where the guard is false. */
  #safe(f: Factor): Factor | undefined {
    if (f.kind === "over0") return f;
    if (f.kind === "over") return this.#normaliser(f.body) ? { ...f, kind: "over0" } : undefined;
    const n = f.body.kind === "arg" ? this.meanings.node(f.body.name) : undefined;
    const body = n?.op === "map" && n.body.kind === "scalar" ? this.meanings.body(n) : f.body;
    if (body.kind === "call" && body.prim === "div" && body.args[0] === one && this.#normaliser(body.args[1] as Scalar)) {
      const below = body.args[1] as Scalar;
      return { body: below, axes: f.axes, kind: "over0" };
    }
    const below = denominators(body);
    return below.length === 0 || below.every((d) => d === guardedAgainst(body)) ? f : undefined;
  }
  #normaliser(t: Scalar): boolean {
    let n = t.kind === "arg" ? this.meanings.node(t.name) : undefined;
    while (n?.op === "label" || n?.op === "stop") n = n.args[0];
    return n?.op === "fold" && n.over.some((a) => this.over.includes(a));
  }

  /** exp(a − log l + …) = exp(a + …) / l. */
  #exp(exponent: Scalar, term: (t: Scalar) => Term): Product | undefined {
    const all = this.#addends(term(exponent), 0);
    const logs = all.filter((x) => x.log);
    if (logs.length === 0) return undefined;
    const rest = all.filter((x) => !x.log);
    const axes: Shape = Object.assign({}, ...rest.map((x) => x.axes));
    const sum = rest.reduce<Scalar | undefined>(
      (s, x) => (s ? call(x.negative ? "sub" : "add", s, x.body) : x.negative ? call("neg", x.body) : x.body),
      undefined,
    );
    return {
      negative: false,
      inner: sum ? [times({ body: call("exp", sum), axes })] : [],
      outer: logs.map((x) => ({ body: x.log as Scalar, axes: x.axes, kind: x.negative ? "over" : "times" })),
      when: [],
    };
  }
  /** The terms of a sum in an exponent, in order. `log`: the term is the logarithm of this, the same all along the axes.
   *  Other maps are looked into for a logarithm alone; a few deep is all that anyone writes. */
  #addends(of: Term, depth: number): readonly Addend[] {
    const whole = this.meanings.axes(of.body, of.axes);
    const out: Addend[] = [];
    const todo: { readonly t: Scalar; readonly negative: boolean }[] = [{ t: of.body, negative: false }];
    for (let x = todo.pop(); x; x = todo.pop()) {
      const { t, negative } = x;
      const axes = whole.get(t) as Shape;
      if (t.kind === "call" && (t.prim === "add" || t.prim === "sub")) {
        const [a, b] = t.args as readonly [Scalar, Scalar];
        todo.push({ t: b, negative: t.prim === "sub" ? !negative : negative }, { t: a, negative });
      } else if (t.kind === "call" && t.prim === "neg") todo.push({ t: t.args[0] as Scalar, negative: !negative });
      else if (!this.#varies(axes) && t.kind === "call" && t.prim === "log") out.push({ body: t, axes, negative, log: t.args[0] as Scalar });
      else {
        const below = depth > 8 ? undefined : this.#opened(t, axes, depth);
        for (const y of below ?? [{ body: t, axes, negative: false }]) out.push({ ...y, negative: y.negative !== negative });
      }
    }
    return out;
  }
  /** The terms of a value that has a logarithm among them: m + log l, or log l with −∞ said for l = 0. */
  #opened(t: Scalar, axes: Shape, depth: number): readonly Addend[] | undefined {
    let body = t;
    if (t.kind === "arg") {
      let n = this.meanings.node(t.name);
      while (n.op === "label" && !this.opaque(n)) n = n.args[0];
      if (n.op !== "map" || n.body.kind !== "scalar" || n.dtype !== "f32" || this.opaque(n)) return undefined;
      body = this.meanings.body(n);
    }
    if (body.kind === "call" && body.prim === "select") {
      if (this.#varies(axes)) return undefined;
      const [c, a, b] = body.args as readonly [Scalar, Scalar, Scalar];
      if (a.kind !== "const" || a.value !== -Infinity || c.kind !== "call" || c.prim !== "eq" || !isZero(c.args[1])) return undefined;
      const inside = this.#addends({ body: b, axes }, depth + 1);
      // Where l is 0, log l is −∞ as well.
      return inside.some((x) => x.log === c.args[0] && !x.negative) ? inside : undefined;
    }
    if (body === t) return undefined;
    const inside = this.#addends({ body, axes }, depth + 1);
    return inside.some((x) => x.log) ? inside : undefined;
  }
}
/** What a body divides by, numbers apart. */
const denominators = (body: Scalar): readonly Scalar[] =>
  terms([body]).flatMap((t) => (t.kind === "call" && t.prim === "div" && t.args[1]?.kind !== "const" ? [t.args[1] as Scalar] : []));
/** d, of a body that is 0 where d is. */
function guardedAgainst(body: Scalar): Scalar | undefined {
  if (body.kind !== "call" || body.prim !== "select" || !isZero(body.args[1])) return undefined;
  const [c] = body.args as readonly [Scalar];
  return c.kind === "call" && c.prim === "eq" && isZero(c.args[1]) ? c.args[0] : undefined;
}
interface Addend extends Term {
  readonly negative: boolean;
  readonly log?: Scalar;
}
