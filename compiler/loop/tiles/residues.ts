// Masks that hold at every d-th distance only (a dilated window) leave most of every tile empty: rows and over indices of
// other residues never meet. So both axes are taken apart into residue and quotient, i = d·t + ρ and j = d·s + σ: the
// residues become leading axes, the mask's congruence a condition on them alone, and tiles of quotients are dense.
import { apply, type Expr, int, variable } from "../../lower/expr.js";
import type { Axis, Nest, Store } from "../../lower/nest.js";
import { freshName, type Span, spanOf } from "../spans.js";
import { add, idiv, imod, linear, mul, rename, replace, sub } from "../terms.js";

type TilesNest = Nest & { form: "tiles" };
export interface Separated {
  readonly nest: TilesNest;
  readonly rows: readonly Span[];
  readonly over: readonly Span[];
}

/** Quotients that an axis must leave for its tiles to be worth the name. */
const LEAST = 32;

/** The nest over the mask's residues, or as it is. */
export function separated(nest: TilesNest): Separated {
  const same: Separated = { nest, rows: nest.rows.map(spanOf), over: nest.over.map(spanOf) };
  const [row, over] = [same.rows.at(-1), same.over.at(-1)];
  if (!row || !over) return same;
  const found = congruence(nest.mask, row.v, over.v);
  if (!found || row.max < LEAST * found.modulus || over.max < LEAST * found.modulus) return same;
  const d = found.modulus;
  const [t, s] = [apart(row, d), apart(over, d)];
  const to = new Map([
    [row.v, t.index],
    [over.v, s.index],
  ]);
  // Multiples of the modulus do not matter to the remainder.
  const [condition] = rename([found.condition], to) as readonly [Expr];
  const remainder = reduced(rename([found.of], to)[0] as Expr, d);
  const plain = apply("eq", "bool", imod(remainder, int(d)), int(0));
  const here = (e: Expr): Expr => replace(rename([e], to), (x) => (x === condition ? plain : undefined))[0] as Expr;
  return {
    nest: mapped(nest, here),
    rows: [...same.rows.slice(0, -1), t.residue, t.quotient],
    over: [...same.over.slice(0, -1), s.residue, s.quotient],
  };
}
function apart(axis: Span, d: number): { readonly residue: Span; readonly quotient: Span; readonly index: Expr } {
  const residue: Span = { v: freshName(`${axis.v}_residue`), extent: int(d), max: d };
  const even = axis.extent.kind === "num" && axis.extent.value % d === 0;
  const extent = even ? idiv(axis.extent, int(d)) : idiv(sub(add(axis.extent, int(d - 1)), variable(residue.v)), int(d));
  const quotient: Span = { v: freshName(axis.v), extent, max: Math.ceil(axis.max / d) };
  return { residue, quotient, index: add(mul(variable(quotient.v), int(d)), variable(residue.v)) };
}

/** A conjunct Σ c·v ≡ 0 (mod d) in which each row index has one residue of over indices. */
function congruence(mask: Expr, row: string, over: string): { readonly condition: Expr; readonly of: Expr; readonly modulus: number } | undefined {
  const todo = [mask];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (e.kind !== "call") continue;
    if (e.prim === "and") todo.push(...e.args);
    if (e.prim !== "eq") continue;
    const [a, b] = e.args as readonly [Expr, Expr];
    const [rest, zero] = a.kind === "num" ? [b, a] : [a, b];
    if (zero.kind !== "num" || zero.value !== 0 || rest.kind !== "call" || rest.type !== "int" || (rest.prim !== "imod" && rest.prim !== "mod"))
      continue;
    const [of, modulus] = rest.args as readonly [Expr, Expr];
    if (modulus.kind !== "num" || modulus.value < 2) continue;
    const coefficients = new Map([...linear(of).of].map(([atom, c]) => [atom.kind === "var" ? atom.name : "", c]));
    const [p, q] = [coefficients.get(row), coefficients.get(over)];
    if (!p || !q || linear(of).of.size !== coefficients.size) continue;
    if (gcd(Math.abs(p), modulus.value) === 1 && gcd(Math.abs(q), modulus.value) === 1) return { condition: e, of, modulus: modulus.value };
  }
  return undefined;
}
const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
function reduced(e: Expr, d: number): Expr {
  const { of, constant } = linear(e);
  let out: Expr = int(constant - d * Math.floor(constant / d));
  for (const [atom, c] of of) if (c % d !== 0) out = add(mul(atom, int(c)), out);
  return out;
}

/** The same nest with every term changed. Axes are given apart. */
function mapped(nest: TilesNest, f: (e: Expr) => Expr): TilesNest {
  const store = (s: Store): Store => ({ buffer: s.buffer, index: s.index.map(f), value: f(s.value) });
  const none: readonly Axis[] = [];
  return {
    ...nest,
    rows: none,
    over: none,
    sides: nest.sides.map((s) => ({ ...s, element: f(s.element) })),
    dots: nest.dots.map((d) => ({ ...d, a: f(d.a), b: f(d.b) })),
    mask: f(nest.mask),
    folds: nest.folds.map((x) => ({ ...x, elements: x.elements.map(f), b: x.b && f(x.b), at: x.at && f(x.at) })),
    columns: nest.columns.map((c) => ({ ...c, element: f(c.element), a: f(c.a), store: store(c.store) })),
    quads: nest.quads.map(store),
    stores: nest.stores.map((s) => ({ ...s, stores: s.stores.map(store) })),
  };
}
