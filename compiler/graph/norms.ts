// Norms of weights as expressions: of the matrix over the axes that a path contracts, one for each index of the others.
import { carry, fold, loop as makeLoop } from "../../dsl/build.js";
import { freshAxis, lift, rename, sumOver, zero } from "../../dsl/derivative/terms.js";
import type { MonoidBody, Node, RateNode } from "../../dsl/node.js";
import { arg, call, index } from "../../dsl/scalar.js";
import { GraphError } from "./error.js";
import type { Factor } from "./paths.js";

const square = call("mul", arg("w"), arg("w"));
export const greatest: MonoidBody = {
  empty: { x: Number.NEGATIVE_INFINITY },
  combine: { kind: "scalar", at: { x: call("max", arg("x.x"), arg("y.x")) } },
};
export const maxOver = (x: Node, axes: readonly string[]): Node => (axes.length === 0 ? x : (fold({ x }, greatest, axes).x as Node));
const sqrt = (x: Node): Node => lift({ x }, call("sqrt", arg("x")));
const product = (a: Node, b: Node): Node => lift({ a, b }, call("mul", arg("a"), arg("b")));

export function normOf(f: Factor, kind: RateNode["norm"], logits: Node): Node {
  const over = [...f.contracted];
  const w = f.tensor;
  const matrix = f.weight?.param && f.weight.param.from.length + f.weight.param.to.length > 0;
  if (!matrix && f.scales) return maxOver(lift({ w }, call("abs", arg("w"))), over);
  if (over.length === 0) return lift({ w }, call("abs", arg("w")));
  return kind === "frobenius" || !matrix ? sqrt(sumOver(lift({ w }, square), over)) : spectral(f, over, logits);
}

/** Squarings of the Gram matrix: the relative error is at most 1/(e·2²⁷) < 3e-9, whatever the gap below the first
 *  singular value (Σ λᵢ·rᵢ with rᵢ = (λᵢ/λ₁)^(2²⁷)). */
const squarings = 27;
/** The greatest singular value, from G = MᵀM on the smaller side: G ← G²/tr G² tends to the projector on the first
 *  eigenspace, and the greatest eigenvalue of MᵀM is its trace with that. Never above the true value. */
function spectral(f: Factor, over: readonly string[], logits: Node): Node {
  const from: readonly string[] = f.weight?.param?.from ?? [];
  const to: readonly string[] = f.weight?.param?.to ?? [];
  const rows = over.filter((a) => from.includes(a));
  const columns = over.filter((a) => to.includes(a));
  if (rows.length + columns.length !== over.length)
    throw new GraphError(
      "rates",
      `deriveRates: the spectral norm of "${f.weight?.name}" is not there yet where its axes were renamed, split or merged (${over.join(", ")})`,
      'use { norm: "frobenius" }, or declare the weight with the axes that the logits use',
      logits,
    );
  const w = f.tensor;
  if (rows.length === 0 || columns.length === 0) return sqrt(sumOver(lift({ w }, square), over));
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
  const unit = (g: Node): Node => lift({ g, t: trace(g) }, call("mul", arg("g"), call("recip0", arg("t"))));
  const l = makeLoop({ axis: "squaring", count: squarings, init: [unit(gram)], xs: [] }, ([g]) => {
    const left = rename(g as Node, new Map([...primed].map(([a, p]) => [p, middle.get(a) as string])));
    const right = rename(g as Node, middle);
    return [unit(sumOver(product(left, right), [...middle.values()]))];
  });
  const projector = carry(l, 0);
  return sqrt(sumOver(product(gram, projector), [...small, ...primed.values()]));
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
