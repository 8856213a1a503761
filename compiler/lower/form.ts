// What kind of kernel a fold is, read off its element's index notation: a sum whose element is a product of two
// groups of factors with rows of their own is a contraction; a sum over a one-hot condition is a scatter; all else folds
// row by row. The choice depends on the expression alone, never on extents (design.md, Bits).
import { twoGroups } from "../graph/factors.js";
import { apply, type Expr, partsOf, real, variable } from "./expr.js";
import { and, yes } from "./ints.js";
import type { Axis } from "./nest.js";
import { select } from "./translate.js";

const free = new WeakMap<Expr, ReadonlySet<string>>();
/** The loop variables that an expression reads. */
export function variables(e: Expr): ReadonlySet<string> {
  const known = free.get(e);
  if (known) return known;
  const out = new Set<string>();
  if (e.kind === "var") out.add(e.name);
  for (const p of partsOf(e)) for (const v of variables(p)) out.add(v);
  free.set(e, out);
  return out;
}
const reads = (e: Expr, axes: readonly Axis[]): boolean => axes.some((a) => variables(e).has(a.v));

export type FoldForm =
  /** Σ = outer · Σ_k a·b. */
  | {
      readonly form: "contract";
      readonly batch: readonly Axis[];
      readonly m: readonly Axis[];
      readonly n: readonly Axis[];
      readonly a: Expr;
      readonly b: Expr;
      readonly outer: Expr;
    }
  | { readonly form: "scatter"; readonly target: Axis; readonly index: Expr; readonly value: Expr }
  | { readonly form: "row" };

export function sumForm(element: Expr, rows: readonly Axis[], over: readonly Axis[]): FoldForm {
  return scatter(element, rows, over) ?? contraction(element, rows, over) ?? { form: "row" };
}

/** Conditions of a conjunction. */
export const conditions = (c: Expr): readonly Expr[] => (c.kind === "call" && c.prim === "and" ? c.args.flatMap(conditions) : [c]);

function scatter(element: Expr, rows: readonly Axis[], over: readonly Axis[]): FoldForm | undefined {
  const zero = element.kind === "call" && element.prim === "select" && isZero(element.args[2]);
  if (!zero) return undefined;
  const [condition, value] = element.args as readonly [Expr, Expr, Expr];
  const all = conditions(condition);
  for (const c of all) {
    if (c.kind !== "call" || c.prim !== "eq") continue;
    for (const [place, index] of [
      [c.args[0], c.args[1]],
      [c.args[1], c.args[0]],
    ] as [Expr, Expr][]) {
      const target = rows.find((r) => place === variableOf(r));
      if (!target || index.type !== "int" || variables(index).has(target.v) || !reads(index, over)) continue;
      const rest = all.filter((x) => x !== c).reduce(and, yes);
      if (variables(value).has(target.v) || variables(rest).has(target.v)) continue;
      return { form: "scatter", target, index, value: select(rest, value, real(0)) };
    }
  }
  return undefined;
}
export const isZero = (e: Expr | undefined): boolean => e?.kind === "num" && e.value === 0;
const variableOf = (a: Axis): Expr => variable(a.v);

/** Factors of a product; a selection of a product against zero guards one factor. */
export function factors(e: Expr): Expr[] {
  if (e.kind !== "call") return [e];
  if (e.prim === "mul" && e.type === "real") return e.args.flatMap(factors);
  if (e.prim === "neg" && e.type === "real") return [real(-1), ...factors(e.args[0] as Expr)];
  if (e.prim === "select" && isZero(e.args[2])) {
    const [c, x, zero] = e.args as readonly [Expr, Expr, Expr];
    const fs = factors(x);
    const vars = variables(c);
    const i = fs.findIndex((f) => [...vars].every((v) => variables(f).has(v)));
    if (fs.length > 1 && i >= 0) return fs.map((f, k) => (k === i ? select(c, f, zero) : f));
  }
  return [e];
}
export const product = (fs: readonly Expr[]): Expr =>
  fs.reduce((a, b) => (a.kind === "num" && a.value === 1 ? b : apply("mul", "real", a, b)), real(1));

function contraction(element: Expr, rows: readonly Axis[], over: readonly Axis[]): FoldForm | undefined {
  const all = factors(element);
  const outer = all.filter((f) => !reads(f, over));
  const inner = all.filter((f) => reads(f, over));
  if (inner.length < 2 || inner.some((f) => f.type !== "real")) return undefined;
  const rowsOf = (f: Expr) => rows.filter((r) => variables(f).has(r.v));
  const groups = twoGroups(inner, rowsOf);
  if (!groups) return undefined;
  const [a, b] = groups;
  const span = (fs: readonly Expr[]) => new Set(fs.flatMap(rowsOf));
  const [ra, rb] = [span(a), span(b)];
  const m = rows.filter((r) => ra.has(r) && !rb.has(r));
  const n = rows.filter((r) => rb.has(r) && !ra.has(r));
  const batch = rows.filter((r) => ra.has(r) === rb.has(r)); // in both, or in neither: the epilogue alone reads it
  if (m.length === 0 || n.length === 0) return undefined;
  return { form: "contract", batch, m, n, a: product(a), b: product(b), outer: product(outer) };
}
