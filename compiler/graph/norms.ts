// Norms of weights as expressions: of the matrix over the axes that a path contracts, one for each index of the others.
import { carry, fold, loop as makeLoop } from "../../dsl/build.js";
import { freshAxis, lift, rename, sumOver, zero } from "../../dsl/derivative/terms.js";
import { isMatrix, type MonoidBody, type Node, type RateNode } from "../../dsl/node.js";
import { arg, call, constant, index } from "../../dsl/scalar.js";
import type { Factor } from "./path.js";

const square = call("mul", arg("w"), arg("w"));
export const greatest: MonoidBody = {
  empty: { x: Number.NEGATIVE_INFINITY },
  combine: { kind: "scalar", at: { x: call("max", arg("x.x"), arg("y.x")) } },
};
export const maxOver = (x: Node, axes: readonly string[]): Node => (axes.length === 0 ? x : (fold({ x }, greatest, axes).x as Node));
const sqrt = (x: Node): Node => lift({ x }, call("sqrt", arg("x")));
const product = (a: Node, b: Node): Node => lift({ a, b }, call("mul", arg("a"), arg("b")));

export interface NormOptions {
  /** The least that the norm of a parameter is taken for. */
  readonly floor?: number;
  /** Norms made before, so that a factor of several bounds has one. */
  readonly made?: Map<string, Node>;
}
/** One for each index of the axes that are not contracted. Constants and inputs have no floor, and no operator norm. */
export function normOf(f: Factor, kind: RateNode["norm"], o: NormOptions = {}): Node {
  const floor = f.weight ? (o.floor ?? 0) : 0;
  const key = `${f.tensor.id} ${f.sides.map((s) => s.join()).join("|")} ${f.scales} ${kind} ${floor}`;
  const known = o.made?.get(key);
  if (known) return known;
  const bare = entries(f, kind);
  const norm = floor > 0 ? lift({ bare }, call("max", arg("bare"), constant(floor))) : bare;
  o.made?.set(key, norm);
  return norm;
}
function entries(f: Factor, kind: RateNode["norm"]): Node {
  const over = [...f.contracted];
  const w = f.tensor;
  const matrix = isMatrix(f.weight);
  if (!matrix && f.scales) return maxOver(lift({ w }, call("abs", arg("w"))), over);
  if (over.length === 0) return lift({ w }, call("abs", arg("w")));
  const sides = kind === "spectral" && matrix ? flattened(f) : null;
  return sides ? spectral(w, sides) : sqrt(sumOver(lift({ w }, square), over));
}
/** The two sides between which a factor is an operator: its groups of axes, as they are, or several joined, so that the
 *  sides are those of the weight's declaration if they can be, and else the largest group against the rest. Null where its
 *  norm is the Euclidean one. Any choice bounds the same form, Note [Norms on a network]. */
export function flattened(f: Factor): readonly [readonly string[], readonly string[]] | null {
  const fixed = [...f.contracted].every((a) => typeof f.tensor.axes[a] === "number");
  if (!fixed || f.sides.length < 2) return null;
  const from: readonly string[] = f.weight?.param?.from ?? [];
  const declared = f.sides.filter((side) => side.every((a) => from.includes(a)));
  const among = f.sides.every((side) => declared.includes(side) || side.every((a) => !from.includes(a)));
  if (among && declared.length > 0 && declared.length < f.sides.length)
    return [declared.flat(), f.sides.filter((side) => !declared.includes(side)).flat()];
  const size = (side: readonly string[]) => side.reduce((p, a) => p * Number(f.tensor.axes[a]), 1);
  const [largest, ...rest] = [...f.sides].sort((a, b) => size(b) - size(a));
  return [largest as readonly string[], rest.flat()];
}

/** Squarings of the Gram matrix: the relative error is at most 1/(e·2²⁷) < 3e-9, whatever the gap below the first
 *  singular value (Σ λᵢ·rᵢ with rᵢ = (λᵢ/λ₁)^(2²⁷)). */
const squarings = 27;
/** The greatest singular value, from G = MᵀM on the smaller side: G ← G²/tr G² tends to the projector P on the first
 *  eigenspace, and the greatest eigenvalue of MᵀM is tr MᵀMP / tr P. Never above the true value. As G is symmetric,
 *  tr G² = Σ G²: known before the product, which then is scaled as it is stored. */
function spectral(w: Node, [rows, columns]: readonly [readonly string[], readonly string[]]): Node {
  const count = (axes: readonly string[]) => axes.reduce((p, a) => p * Number(w.axes[a]), 1);
  const [small, large] = count(rows) <= count(columns) ? [rows, columns] : [columns, rows];
  const primed = new Map<string, string>();
  const middle = new Map<string, string>();
  for (const a of small) {
    primed.set(a, freshAxis(a, w.axes));
    middle.set(a, `${freshAxis(a, w.axes)}_`);
  }
  const gram = sumOver(product(w, rename(w, primed)), large);
  const trace = (g: Node): Node => sumOver(diagonal(g, primed), small);
  const over = (g: Node, t: Node): Node => lift({ g, t }, call("mul", arg("g"), call("recip0", arg("t"))));
  const both = [...small, ...primed.values()];
  const l = makeLoop({ axis: "squaring", count: squarings, init: [over(gram, trace(gram))], xs: [] }, ([g]) => {
    const left = rename(g as Node, new Map([...primed].map(([a, p]) => [p, middle.get(a) as string])));
    const right = rename(g as Node, middle);
    return [over(sumOver(product(left, right), [...middle.values()]), sumOver(lift({ w: g as Node }, square), both))];
  });
  const projector = carry(l, 0);
  return sqrt(over(sumOver(product(gram, projector), both), trace(projector)));
}
/** g where each axis equals its primed partner, 0 elsewhere, summed over the partners. */
function diagonal(g: Node, primed: ReadonlyMap<string, string>): Node {
  const equal = [...primed].map(([a, p]) => call("eq", index(a), index(p)));
  return sumOver(
    lift(
      { g },
      call(
        "select",
        equal.reduce((x, y) => call("and", x, y)),
        arg("g"),
        zero,
      ),
    ),
    [...primed.values()],
  );
}
