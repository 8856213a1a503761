// Scatters: into[target = index] += value, in the order of `over` so that bits are the same for any number of
// threads. Each thread owns its part of the result: a block of the row axis along which results are contiguous, or, where
// rows are too few to divide, a range of the target axis (every thread then walks all of `over`).
import { apply, type Expr, int, load, variable } from "../../lower/expr.js";
import type { Nest } from "../../lower/nest.js";
import { ifS, letS, loop, type Stmt, storeS, THREADS } from "../ir.js";
import { bestVector, blocked, freshName, inOrder, maxCount, overThreads, type Span, spanOf } from "../spans.js";
import { add, asReal, idiv, less, mul, namesOf, rename } from "../terms.js";

const BLOCK = 16;
const UNITS = 8;

export function scatter(nest: Nest & { form: "scatter" }): readonly Stmt[] {
  const rows = nest.rows.map(spanOf);
  const over = nest.over.map(spanOf);
  const target = spanOf(nest.target);
  const { buffer, index } = nest.into;
  const vector = bestVector(rows, { terms: [nest.value], stores: [{ buffer, index, value: nest.value }] })?.span;
  const others: readonly Span[] = rows.filter((r) => r !== vector);
  const place = freshName("place");
  const at = rename(index, new Map([[target.v, variable(place)]]));
  const clear = storeS(buffer, index, asReal(int(0)));
  const update = storeS(buffer, at, apply("add", "real", load(buffer, at), asReal(nest.value)));
  const perLane = vector !== undefined && namesOf(nest.index).has(vector.v);

  /** Clears and fills [from, to) of the target; `around` repeats statements for the rows of the vector span. */
  const fill = (from: Expr, to: Expr, around: (body: readonly Stmt[]) => readonly Stmt[]): readonly Stmt[] => {
    const inRange = apply("and", "bool", apply("le", "bool", from, variable(place)), less(variable(place), to));
    const here = letS(place, nest.index);
    return [
      ...(nest.onto ? [] : [loop(target.v, from, to, around([clear]))]),
      ...inOrder(over, perLane ? around([here, ifS(inRange, [update])]) : [here, ifS(inRange, around([update]))]),
    ];
  };
  if (vector && Math.ceil(vector.max / BLOCK) * maxCount(others) >= UNITS) {
    const block = (body: readonly Stmt[]) => blocked(vector, BLOCK, body, "vector");
    const { blocks } = block([]);
    const around = (body: readonly Stmt[]) => [renamedBlock(block(body), blocks)];
    return overThreads([...others, blocks], fill(int(0), target.extent, around));
  }
  const [thread, lo, hi] = [freshName("thread"), freshName("lo"), freshName("hi")];
  const around = (body: readonly Stmt[]) => (vector ? [loop(vector.v, int(0), vector.extent, body, "vector")] : body);
  const bound = (t: Expr): Expr => idiv(mul(target.extent, t), variable(THREADS));
  const own = [letS(lo, bound(variable(thread))), letS(hi, bound(add(variable(thread), int(1))))];
  return [loop(thread, int(0), variable(THREADS), [...own, ...inOrder(others, fill(variable(lo), variable(hi), around))], "thread")];
}
/** A block's loop, counted by another block span of the same shape. */
function renamedBlock(b: { blocks: Span; inner: Stmt }, as: Span): Stmt {
  if (b.inner.s !== "for") throw new Error("a block is a loop");
  const to = new Map([[b.blocks.v, variable(as.v)]]);
  const [from, end] = rename([b.inner.from, b.inner.to], to) as readonly [Expr, Expr];
  return { ...b.inner, from, to: end };
}
