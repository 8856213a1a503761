// Online folds. A fold whose elements read the value so far of an earlier one (the maximum of a softmax) may run in the
// same pass if what it has gathered can be brought up to date when that value changes: a sum whose elements are
// exp(c·u + …)·… with c·u the same for the whole row, by the factor exp(c·(u − u before)); a maximum of c·u + …, by
// the addend. Only such pure exponentials of differences are taken: a ratio of the values themselves would divide by
// what is still empty.
import { apply, type Expr, local, partsOf, real } from "./expr.js";
import { factors, isZero } from "./form.js";

export const was = (bind: string): string => `was.${bind}`;

/** "impossible", or the rescaling (null: the element reads no binds). `perRow`: a term is the same all along the row. */
export function rescaling(
  element: Expr,
  kind: "sum" | "max" | "min" | "prod" | "general",
  binds: ReadonlySet<string>,
  perRow: (e: Expr) => boolean,
): Expr | null | "impossible" {
  const reads = dependence(binds);
  if (!reads(element)) return null;
  if (kind === "sum") {
    const parts: Expr[] = [];
    for (const f of guarded(element)) {
      if (!reads(f)) continue;
      if (f.kind !== "call" || f.prim !== "exp") return "impossible";
      const moved = differences(f.args[0] as Expr, reads, perRow);
      if (!moved) return "impossible";
      parts.push(...moved);
    }
    return apply("exp", "real", sumOf(parts));
  }
  if (kind === "max" || kind === "min") {
    const moved = differences(element, reads, perRow);
    return moved ? sumOf(moved) : "impossible";
  }
  return "impossible";
}
/** Factors, with the guards of selections against zero taken off. */
function guarded(e: Expr): readonly Expr[] {
  const out: Expr[] = [];
  const todo = [e];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (x.kind === "call" && x.prim === "select" && isZero(x.args[2])) todo.push(x.args[0] as Expr, x.args[1] as Expr);
    else if (x.kind === "call" && x.prim === "select" && isZero(x.args[1])) todo.push(x.args[0] as Expr, x.args[2] as Expr);
    else if (x.kind === "call" && x.prim === "div" && x.type === "real") todo.push(...x.args);
    else {
      const fs = factors(x);
      if (fs.length === 1 && fs[0] === x) out.push(x);
      else todo.push(...fs);
    }
  }
  return out;
}
function dependence(binds: ReadonlySet<string>): (e: Expr) => boolean {
  const known = new Map<Expr, boolean>();
  const go = (e: Expr): boolean => {
    const k = known.get(e);
    if (k !== undefined) return k;
    const r = (e.kind === "local" && binds.has(e.name)) || partsOf(e).some(go);
    known.set(e, r);
    return r;
  };
  return go;
}

/** Σ coefficient·(term − term before), for the terms of a linear expression that depend on binds. */
function differences(root: Expr, reads: (e: Expr) => boolean, perRow: (e: Expr) => boolean): readonly Expr[] | undefined {
  const out: Expr[] = [];
  // Each with its coefficient: terms the same all along the row, multiplied.
  const todo: [Expr, Expr][] = [[root, real(1)]];
  for (let item = todo.pop(); item; item = todo.pop()) {
    const [e, c] = item;
    if (!reads(e)) continue;
    if (perRow(e)) {
      out.push(times(c, apply("sub", "real", e, former(e))));
      continue;
    }
    if (e.kind !== "call" || e.type !== "real") return undefined;
    const [a, b] = e.args as readonly [Expr, Expr];
    if (e.prim === "add") todo.push([a, c], [b, c]);
    else if (e.prim === "sub") todo.push([a, c], [b, times(real(-1), c)]);
    else if (e.prim === "neg") todo.push([a, times(real(-1), c)]);
    else if (e.prim === "mul" && !reads(b) && perRow(b)) todo.push([a, times(c, b)]);
    else if (e.prim === "mul" && !reads(a) && perRow(a)) todo.push([b, times(c, a)]);
    else if (e.prim === "div" && !reads(b) && perRow(b)) todo.push([a, apply("div", "real", c, b)]);
    else return undefined;
  }
  return out;
}
const one = (e: Expr): boolean => e.kind === "num" && e.value === 1;
const times = (a: Expr, b: Expr): Expr =>
  one(a) ? b : one(b) ? a : a.kind === "num" && b.kind === "num" ? real(a.value * b.value) : apply("mul", "real", a, b);
const sumOf = (terms: readonly Expr[]): Expr => terms.reduce((a, b) => apply("add", "real", a, b));

/** The same over the binds' former values. */
function former(root: Expr): Expr {
  const done = new Map<Expr, Expr>();
  const go = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const made =
      e.kind === "local" && e.type === "real" ? local(was(e.name), "real") : e.kind === "call" ? apply(e.prim, e.type, ...e.args.map(go)) : e;
    done.set(e, made);
    return made;
  };
  return go(root);
}
