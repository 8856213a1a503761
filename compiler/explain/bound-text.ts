// Prints what QuacK derives from labelled logits: paths, factors, certificate and budget, as formulas in the weights' names.
import type { Norm, PathFormula, Product, RateFormula } from "./formulas.js";

const whole = (x: number): number | null => (x >= 1 && x < 1e12 && Math.abs(x - Math.round(x)) < 1e-9 * x ? Math.round(x) : null);
/** 0.125 is 1/8, 0.3535… is 1/sqrt(8), 3.333… is 1/0.3. */
export function number(c: number): string {
  if (c === 0 || !Number.isFinite(c)) return String(c);
  const root = (square: number) => (whole(Math.sqrt(square)) === null ? `sqrt(${square})` : String(whole(Math.sqrt(square))));
  const [up, down] = [whole(c * c), whole(1 / (c * c))];
  if (up !== null) return root(up);
  if (down !== null) return `1/${root(down)}`;
  const [plain, inverse] = [String(Number(c.toPrecision(12))), String(Number((1 / c).toPrecision(12)))];
  return inverse.length < plain.length ? `1/${inverse}` : plain;
}
/** What an extremum was taken over has a name of its own (compiler/graph/paths.ts, chosen). */
const axesText = (axes: readonly string[]): string => axes.map((a) => a.replace(/_any\d+_\d+$/, "'")).join(", ");
const indexed = (name: string, index: readonly string[]): string => (index.length === 0 ? name : `${name}[${axesText(index)}]`);
export function normText(n: Norm): string {
  const name = indexed(n.of, n.index);
  const text = n.kind === "norm" ? `||${name}||` : n.kind === "largest" ? `max|${name}|` : `|${name}|`;
  return n.power === 1 ? text : `${text}^${n.power}`;
}
const timesText = (parts: readonly string[]): string => (parts.length === 0 ? "1" : parts.join(" "));
const productText = (p: Product): string =>
  timesText([...(p.coefficient === 1 && p.norms.length > 0 ? [] : [number(p.coefficient)]), ...p.norms.map(normText)]);

const productParts = (p: Product): number => p.norms.length + (p.coefficient === 1 ? 0 : 1);

/** "f(wq[head]) = sqrt(64) / ||wk[head]||" */
export function rateText(f: RateFormula): string {
  const coefficients = f.bounds.flatMap((g) => g.sum.map((p) => p.coefficient));
  const [c] = coefficients as [number];
  const common = coefficients.every((x) => Math.abs(x - c) <= 1e-12 * c);
  const scaled = common ? f.bounds.map((g) => ({ ...g, sum: g.sum.map((p) => ({ ...p, coefficient: 1 })) })) : f.bounds;
  const bounds = scaled.map(({ over, sum }) => {
    const [only] = sum as [Product];
    if (over.length === 0) return { text: sum.map(productText).join(" + "), parts: sum.length > 1 ? 2 : productParts(only) };
    const inside = (n: Norm) => n.index.some((a) => over.includes(a));
    const moved = sum.length === 1 ? only.norms.filter((n) => !inside(n)) : [];
    const rest = sum.length === 1 ? [{ ...only, norms: only.norms.filter(inside) }] : sum;
    return { text: timesText([...moved.map(normText), `max[${axesText(over)}](${rest.map(productText).join(" + ")})`]), parts: moved.length + 1 };
  });
  const below = bounds.length === 1 && bounds[0] ? bounds[0] : { text: `max(${bounds.map((b) => b.text).join(", ")})`, parts: 1 };
  const where = Object.entries(f.where).map(([a, t]) => `[${axesText([a])}] = ${t}`);
  return `f(${indexed(f.weight, f.index)}) = ${number(common ? 1 / c : 1)} / ${below.parts > 1 ? `(${below.text})` : below.text}${where.length > 0 ? `   where ${where.join(", ")}` : ""}`;
}

/** "1/8 wq[head] wk[head] x[query] x[key]" */
export const pathText = (p: PathFormula): string =>
  timesText([
    ...(p.coefficient === 1 ? [] : [number(p.coefficient)]),
    ...p.parameters.map((n) => indexed(n.of, n.index)),
    ...p.fixed.map((n) => indexed(n.of, n.index)),
  ]);

const outside = (p: PathFormula): string => timesText([...(p.coefficient === 1 ? [] : [number(p.coefficient)]), ...p.fixed.map(normText)]);
const change = (n: Norm): string => `d(${indexed(n.of, n.index)})`;
const prefix = (p: PathFormula): string => (outside(p) === "1" ? "" : `${outside(p)} `);
const moved = (ps: readonly Norm[]): string => ps.map((n) => `(${normText(n)} + ${change(n)})`).join(" ");
/** One of them changes, in every way. */
const firstOrder = (ps: readonly Norm[]): readonly string[] => ps.map((n) => ps.map((m) => (m === n ? change(m) : normText(m))).join(" "));

/** c |x| [Π(‖W‖ + d(W)) − Π‖W‖], one line a path; d(W) is the greatest norm of the weight's change. */
export const certificateText = (paths: readonly PathFormula[]): readonly string[] =>
  paths.map((p) =>
    p.parameters.length === 1
      ? `${prefix(p)}${firstOrder(p.parameters).join("")}`
      : `${prefix(p)}[${moved(p.parameters)} - ${p.parameters.map(normText).join(" ")}]`,
  );
export interface BudgetText {
  readonly first: readonly string[];
  readonly rest: readonly string[];
}
/** First order by f₀ (a path; with "sum" once for all paths), of weights without a factor by itself; then what is left of the
 *  certificate. f₀ has constants in it already. */
export function budgetText(paths: readonly PathFormula[], rated: ReadonlySet<string>, combine: "max" | "sum"): BudgetText {
  const groups = combine === "max" ? paths.map((p) => [p]) : [paths];
  const starts = groups.flatMap((ps) => {
    const steps = new Set(ps.flatMap((p) => p.parameters.filter((n) => rated.has(n.of)).map((n) => `D(${n.of}) / f0(${indexed(n.of, n.index)})`)));
    const inputs = [...new Set(ps.map((p) => timesText(p.fixed.filter((n) => n.input).map(normText))))];
    const size = inputs.length > 1 ? ` max(${inputs.join(", ")})` : inputs[0] === "1" ? "" : ` ${inputs[0]}`;
    return steps.size > 0 ? [`tau eta${size} [${[...steps].join(" + ")}]`] : [];
  });
  const own = paths.flatMap((p) =>
    firstOrder(p.parameters).flatMap((term, i) => (rated.has((p.parameters[i] as Norm).of) ? [] : [`${prefix(p)}${term}`])),
  );
  const rest = paths.flatMap((p) => {
    if (p.parameters.length < 2) return [];
    if (p.parameters.length === 2) return [`${prefix(p)}${p.parameters.map(change).join(" ")}`];
    return [`${prefix(p)}[${[moved(p.parameters), p.parameters.map(normText).join(" "), ...firstOrder(p.parameters)].join(" - ")}]`];
  });
  return { first: [...starts, ...own], rest };
}
