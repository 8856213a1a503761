// Factors of a sum's element that do not vary along the summed axes leave the sum, before gradients are taken:
//
//   Σ_key (e·r)·v            → r · Σ_key e·v                      r = recip0(l): softmax's own quotient
//   Σ_key exp(s − lse)·v     → (1/l) · Σ_key exp(s − m)·v         lse = m + log l
//   Σ_key (e₁·r₁ − λ·e₂·r₂)·v → r₁ · Σ_key e₁·v − λ·r₂ · Σ_key e₂·v
//
// Attention's quotient then needs the sum l no earlier than at the end of its row, and its gradient is Σ_value dO·acc, a
// sum over the output: Σ_key P·dP, which would need both contractions a second time, does not arise. The last rule
// takes a sum apart only where its terms wait for different folds along the summed axes; a common factor leaves whole.
//
// Only sums of quadratic values are rewritten. Every other fold keeps its author's bits.
import { fold } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { ordered } from "../../dsl/derivative/terms.js";
import type { FoldNode, Node, Shape } from "../../dsl/node.js";
import { inherit } from "../../dsl/places.js";
import { call, type Scalar, terms } from "../../dsl/scalar.js";
import { Meanings, type Term } from "./meaning.js";
import { type Factor, guarded, type Product, Products, productOf } from "./products.js";
import { isPointwise, quadratics } from "./quadratic.js";
import { below, order, type Rebuilt, rebuild } from "./walk.js";

export function reassociate(roots: readonly Node[]): Rebuilt {
  const all = order(roots);
  const quadratic = quadratics(all);
  if (quadratic.size === 0) return { roots, to: new Map(all.map((n) => [n, n])) };
  // A gradient with respect to a value needs that value where the author put it.
  const wanted = new Set(all.flatMap((n) => (n.op === "grad" ? [n.args[1]] : [])));
  const kept = new Set<Node>();
  const meanings = new Meanings((n) => kept.has(n));
  return rebuild(roots, (n, was) => {
    const [x] = was.op === "fold" ? was.args : [];
    const made = n.op === "fold" && n.args.length === 1 && kindOf(n.monoid) === "sum" && x && quadratic.has(x) ? sum(n, meanings, kept) : n;
    if (wanted.has(was)) kept.add(made);
    meanings.note(made);
    return made;
  });
}

function sum(n: FoldNode, meanings: Meanings, kept: ReadonlySet<Node>): Node {
  const [x] = n.args as readonly [Node];
  const p = new Products(meanings, n.over, (m) => kept.has(m)).of(x);
  const parts = distributed(p, n.over, meanings) ?? (p.outer.length > 0 ? [p] : undefined);
  if (!parts) return n;
  const [component] = Object.keys(n.monoid.empty) as [string];
  const along: Shape = Object.fromEntries(n.over.map((a) => [a, x.axes[a]!]));
  const sums = parts.map((q): Term => {
    const inner = productOf(q.inner.map((f) => shared(f, meanings)));
    const element = meanings.make({ body: inner.body, axes: { ...inner.axes, ...along } });
    inherit(element, n);
    const total = fold({ [component]: element }, n.monoid, n.over)[component] as Node;
    inherit(total, n);
    return guarded(productOf([{ ...meanings.of(total), kind: "times" }, ...q.outer.map((f) => reciprocal(f, meanings))]), { ...q, negative: false });
  });
  const total = sums
    .map((t, k) => ({ body: t.body, negative: parts[k]?.negative === true }))
    .reduce<Scalar | undefined>(
      (s, t) => (s ? call(t.negative ? "sub" : "add", s, t.body) : t.negative ? call("neg", t.body) : t.body),
      undefined,
    ) as Scalar;
  const axes: Shape = Object.assign({}, ...sums.map((t) => t.axes), n.axes);
  return ordered(meanings.make({ body: total, axes }), n.axes);
}
/** A factor that the graph has as a value of its own is read from there: a softmax's exponential, for its sum. */
function shared(f: Factor, meanings: Meanings): Factor {
  const known = meanings.find(f);
  return known ? { ...meanings.of(known), kind: f.kind } : f;
}
/** A factor that divides is a value of its own: one division a row. What is more than one value is one. */
function reciprocal(f: Factor, meanings: Meanings): Factor {
  const value = productOf([f]);
  const made = meanings.make(value);
  return { ...meanings.of(made), kind: "times" };
}

/** The terms of a sum in the product, each with the other factors, if some wait for a fold along the summed axes. */
function distributed(p: Product, over: readonly string[], meanings: Meanings): readonly Product[] | undefined {
  const sum = p.inner.find((f) => f.terms && f.kind === "times");
  if (!sum?.terms?.some((t) => t.outer.some((f) => waits(f, over, meanings)))) return undefined;
  const others = p.inner.filter((f) => f !== sum);
  return sum.terms.map((t) => ({
    negative: t.negative !== p.negative,
    inner: [...t.inner, ...others],
    outer: [...t.outer, ...p.outer],
    when: [...t.when, ...p.when],
  }));
}
/** Is the factor computed from a fold along one of the axes, point by point? */
function waits(f: Factor, over: readonly string[], meanings: Meanings): boolean {
  const read = terms([f.body]).flatMap((t) => (t.kind === "arg" ? [meanings.node(t.name)] : []));
  return order(read, (n) => (isPointwise(n) ? below(n) : [])).some((n) => n.op === "fold" && n.over.some((a) => over.includes(a)));
}
