// Reverse mode on one scalar expression: what a seed on the result gives each argument.
//
// The seed goes inside selects: the cotangent of `a` in c ? a : b is c ? seed : 0, and a factor that multiplies it
// later goes inside as well. So a branch that was not taken contributes an exact 0, even where its own derivative is
// infinite or NaN (exp of a masked logit, a square root at 0): never 0·∞. For the same reason a term whose seed or
// partial is the constant 0 vanishes, although IEEE has 0·∞ = NaN.
import type { Primitive } from "./primitives.js";
import { call, constant, type Scalar, terms } from "./scalar.js";
import { partials } from "./scalar-partials.js";
import { simplify } from "./scalar-simplify.js";

const zero = constant(0);
const isZero = (s: Scalar) => s.kind === "const" && s.value === 0; // −0 as well
const isNumber = (s: Scalar, value: number) => s.kind === "const" && s.value === value;
const isCall = <P extends Primitive>(s: Scalar, prim: P): s is Extract<Scalar, { kind: "call" }> & { readonly prim: P } =>
  s.kind === "call" && s.prim === prim;

/** A select one of whose branches is a constant 0 or ±1: multiplying inside it is no more work. */
function cheapSelect(s: Scalar): readonly [Scalar, Scalar, Scalar] | null {
  if (!isCall(s, "select")) return null;
  const [c, a, b] = s.args as readonly [Scalar, Scalar, Scalar];
  const cheap = (x: Scalar) => isZero(x) || isNumber(x, 1) || isNumber(x, -1);
  return cheap(a) || cheap(b) ? [c, a, b] : null;
}
const select = (c: Scalar, a: Scalar, b: Scalar) => (a === b ? a : call("select", c, a, b));

/** seed · partial, with the conventions of the header. */
export function times(seed: Scalar, partial: Scalar): Scalar {
  if (isZero(seed) || isZero(partial)) return zero;
  if (isNumber(partial, 1)) return seed;
  if (isNumber(seed, 1)) return partial;
  const s = cheapSelect(seed);
  if (s) return select(s[0], times(s[1], partial), times(s[2], partial));
  const p = cheapSelect(partial);
  if (p) return select(p[0], times(seed, p[1]), times(seed, p[2]));
  if (isNumber(partial, -1)) return call("neg", seed);
  if (isNumber(seed, -1)) return call("neg", partial);
  if (isCall(partial, "neg")) return call("neg", times(seed, partial.args[0] as Scalar));
  // seed·(n/d) as (seed·n)/d: one rounding less where n is 1.
  if (isCall(partial, "div") && partial.args[0]?.kind === "const") return call("div", times(seed, partial.args[0]), partial.args[1] as Scalar);
  return call("mul", seed, partial);
}

/** a + b; zeros vanish, and what the two branches of one condition give is one select. */
export function plus(a: Scalar, b: Scalar): Scalar {
  if (isZero(a)) return b;
  if (isZero(b)) return a;
  const p = cheapSelect(a);
  const q = cheapSelect(b);
  if (p && q && p[0] === q[0]) return select(p[0], plus(p[1], q[1]), plus(p[2], q[2]));
  return call("add", a, b);
}

/** seed · ∂body/∂name for each name in `wrt`; a name that is absent has cotangent 0. */
export function cotangents(body: Scalar, seed: Scalar, wrt: readonly string[]): Readonly<Record<string, Scalar>> {
  const order = terms([body]);
  const active = new Set<Scalar>();
  for (const t of order) {
    if (t.kind === "arg" ? wrt.includes(t.name) : t.kind === "call" && t.args.some((a) => active.has(a))) active.add(t);
  }
  const adjoint = new Map<Scalar, Scalar>([[body, seed]]);
  for (const t of [...order].reverse()) {
    const bar = adjoint.get(t);
    if (bar === undefined || t.kind !== "call" || !active.has(t)) continue;
    const rows = partials[t.prim](t.args, t);
    t.args.forEach((a, i) => {
      const partial = rows[i];
      if (!partial || !active.has(a)) return;
      const known = adjoint.get(a);
      const term = times(bar, partial);
      if (!isZero(term)) adjoint.set(a, known ? plus(known, term) : term);
    });
  }
  const out: Record<string, Scalar> = {};
  for (const t of order) {
    if (t.kind !== "arg" || !active.has(t)) continue;
    const bar = adjoint.get(t);
    if (bar && !isZero(bar)) out[t.name] = simplify(bar);
  }
  return out;
}
