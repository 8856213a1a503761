// Reading a view backwards: from a = e(o), one equation for each axis a of x that is read, the axes o of the result that
// the indices a determine. `view.ts` says what is solved and why.
import type { Extent } from "../node.js";
import { call, constant, index, type Scalar, substitute, terms } from "../scalar.js";
import { simplify } from "../scalar-simplify.js";
import { type Form, formOf, fromLinear, type Linear, linearOf, plusScaled, term } from "./linear.js";

export interface Inverse {
  /** Axes of the result as functions of x's indices and of axes that are not solved. */
  readonly solved: ReadonlyMap<string, Scalar>;
  /** What must hold besides, over the same. */
  readonly conditions: readonly Scalar[];
}
const most = (e: Extent | undefined): number => (e === undefined ? Infinity : typeof e === "number" ? e : e.max);

/** `equations`: by axis of x. Axes of x and of the result have different names. */
export function solve(equations: ReadonlyMap<string, Scalar>, ofX: ReadonlyMap<string, Extent>, ofResult: ReadonlyMap<string, Extent>): Inverse {
  const runtime = [...equations.values()].some((e) => terms([e]).some((t) => t.kind === "size"));
  if (runtime) return { solved: new Map(), conditions: [...equations].map(([a, e]) => call("eq", index(a), e)) };
  const solved = new Map<string, Scalar>();
  const conditions: Scalar[] = [];
  const pending = new Map(equations);

  const forms = new Map([...equations].map(([a, e]) => [a, formOf(e)] as const));
  for (const [m, parts] of byAxis(forms)) {
    const whole = merged(m, parts, ofX, ofResult) ?? rotated(m, parts, ofX, ofResult);
    if (whole === null || solved.has(m)) continue;
    solved.set(m, whole);
    for (const [a] of parts) pending.delete(a);
  }
  for (const [a, e] of pending) {
    const known = resolve(e, solved);
    const lin = linearOf(known);
    const open = lin ? [...lin.k].filter(([o]) => ofResult.has(o) && !solved.has(o)) : [];
    if (!lin || open.length === 0 || !(digits(a, lin, open, ofResult, solved, conditions) || pivot(a, lin, open, ofResult, solved)))
      conditions.push(call("eq", index(a), known));
  }
  for (const [o, e] of solved) solved.set(o, simplify(resolve(e, solved)));
  return { solved, conditions: conditions.map((c) => simplify(resolve(c, solved))) };
}

/** Solutions put in, until none is left: a solution may name axes that were solved later, never earlier ones. */
function resolve(e: Scalar, solved: ReadonlyMap<string, Scalar>): Scalar {
  let out = e;
  for (let changed = true; changed; ) {
    const next = substitute(out, (t) => (t.kind === "index" ? solved.get(t.axis) : undefined));
    changed = next !== out;
    out = next;
  }
  return out;
}

/** Equations ⌊(m + c)/div⌋ mod `mod` in one axis m alone, by that axis. */
function byAxis(forms: ReadonlyMap<string, Form | null>): ReadonlyMap<string, readonly (readonly [string, Form])[]> {
  const out = new Map<string, (readonly [string, Form])[]>();
  for (const [a, f] of forms) {
    if (!f || (f.div === 1 && f.mod === null && f.lin.c !== 0)) continue;
    const [only, ...more] = [...f.lin.k];
    if (only && more.length === 0 && only[1] === 1) out.set(only[0], [...(out.get(only[0]) ?? []), [a, f]]);
  }
  return out;
}
/** Mixed radix: a₀ = m mod D₀, a₁ = ⌊m/D₀⌋ mod D₁, …, the last without a mod or large enough. */
function merged(
  m: string,
  parts: readonly (readonly [string, Form])[],
  ofX: ReadonlyMap<string, Extent>,
  ofResult: ReadonlyMap<string, Extent>,
): Scalar | null {
  if (parts.length < 2 || parts.some(([, f]) => f.lin.c !== 0)) return null;
  const sorted = [...parts].sort(([, f], [, g]) => f.div - g.div);
  let stride = 1;
  for (const [i, [a, f]] of sorted.entries()) {
    if (f.div !== stride) return null;
    const last = i === sorted.length - 1;
    if (last && f.mod === null) break;
    if (f.mod === null || f.mod !== ofX.get(a)) return null;
    stride *= f.mod;
    if (last && most(ofResult.get(m)) > stride) return null;
  }
  const sum = sorted.reduce<Linear>((s, [a, f]) => plusScaled(s, term(a), f.div), { c: 0, k: new Map() });
  return fromLinear(sum);
}
/** a = (m + c) mod D where D is the extent of both. */
function rotated(
  m: string,
  parts: readonly (readonly [string, Form])[],
  ofX: ReadonlyMap<string, Extent>,
  ofResult: ReadonlyMap<string, Extent>,
): Scalar | null {
  const [one, ...more] = parts;
  if (!one || more.length > 0) return null;
  const [a, f] = one;
  if (f.mod === null || f.div !== 1 || f.lin.c < 0 || ofX.get(a) !== f.mod || most(ofResult.get(m)) > f.mod) return null;
  return call("mod", call("add", index(a), constant(f.mod - (f.lin.c % f.mod))), constant(f.mod));
}

type Open = readonly (readonly [string, number])[];
/** a = c + Σ cₖ·oₖ where the digits cannot overlap: division and remainder, from the largest. */
function digits(
  a: string,
  lin: Linear,
  open: Open,
  ofResult: ReadonlyMap<string, Extent>,
  solved: Map<string, Scalar>,
  conditions: Scalar[],
): boolean {
  const sorted = [...open].sort(([, p], [, q]) => p - q);
  const [least] = sorted as [readonly [string, number]];
  if (lin.k.size !== open.length || least[1] < 1) return false;
  for (const [i, [o, c]] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next && next[1] < c * most(ofResult.get(o))) return false;
  }
  let rest: Scalar = fromLinear({ c: -lin.c, k: new Map([[a, 1]]) });
  for (const [o, c] of [...sorted].reverse()) {
    if (c === 1) {
      solved.set(o, rest);
      return true;
    }
    // A negative rest gives a negative quotient for the largest digit, which is outside.
    solved.set(o, call("floor", call("div", rest, constant(c))));
    rest = call("mod", rest, constant(c));
  }
  conditions.push(call("eq", rest, constant(0)));
  return true;
}
/** a = ±o + rest: o = ±(a − rest), for the widest such o, so that the sum over the others is short. */
function pivot(a: string, lin: Linear, open: Open, ofResult: ReadonlyMap<string, Extent>, solved: Map<string, Scalar>): boolean {
  let best: readonly [string, number] | undefined;
  for (const [o, c] of open) if (Math.abs(c) === 1 && (!best || most(ofResult.get(o)) > most(ofResult.get(best[0])))) best = [o, c];
  if (!best) return false;
  const [o, c] = best;
  const rest = plusScaled(lin, term(o), -c);
  solved.set(o, fromLinear(plusScaled({ c: 0, k: new Map([[a, c]]) }, rest, -c)));
  return true;
}
