// Four elements at a time: what products load, stage and store by. The printer makes one access of four neighbours, where the
// first lies at a multiple of four.
import { ifS, loop, type Stmt } from "../../../loop/ir.js";
import { freshName, type Span } from "../../../loop/spans.js";
import { less, linear, offset } from "../../../loop/terms.js";
import { apply, type Buffer, type Expr, int, variable } from "../../../lower/expr.js";

export const FOUR = 4;

/** Do four neighbours along the last of these spans, the first a multiple of four, lie side by side at a multiple of four? */
export function inFours(b: Buffer, index: readonly Expr[], along: readonly Span[]): boolean {
  const last = along.at(-1);
  if (last?.extent.kind !== "num" || last.extent.value % FOUR !== 0) return false;
  const { of, constant } = linear(offset(b, index));
  if (constant % FOUR !== 0) return false;
  let one = false;
  for (const [atom, c] of of) {
    if (atom.kind !== "var") return false;
    if (atom.name === last.v) one = c === 1;
    else if (c % FOUR !== 0) return false;
  }
  return one;
}
export const unrolled = (n: number, body: (i: Expr) => readonly Stmt[]): Stmt => {
  const i = freshName("i");
  return loop(i, int(0), int(n), body(variable(i)), "unroll");
};
export const four = (body: (lane: Expr) => readonly Stmt[]): Stmt => {
  const lane = freshName("lane");
  return loop(lane, int(0), int(FOUR), body(variable(lane)), "vector");
};
export const when = (conditions: readonly (Expr | null)[], then: readonly Stmt[], otherwise: readonly Stmt[] = []): readonly Stmt[] => {
  const all = conditions.filter((c) => c !== null);
  return all.length === 0
    ? then
    : [
        ifS(
          all.reduce((x, y) => apply("and", "bool", x, y)),
          then,
          otherwise,
        ),
      ];
};
/** i < n, null where `of` at a time never pass the end. */
export const within = (i: Expr, n: Expr, of: number): Expr | null => (n.kind === "num" && n.value % of === 0 ? null : less(i, n));
