// Point-wise nests: an invocation for each index. Neighbouring invocations take neighbours along the axis that most accesses
// walk contiguously; four of them each, where elements are packed (so that words are written whole) or there are many.
import { ifS, letS, loop, type Stmt, storeS } from "../../../loop/ir.js";
import { bestVector, count, freshName, fuse, type Span, spanOf, unflatten, type Work } from "../../../loop/spans.js";
import { add, coefficient, less, mul, offset, rename } from "../../../loop/terms.js";
import { type Expr, int, local, variable } from "../../../lower/expr.js";
import type { Nest } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { perWord, storageOf } from "../storage.js";
import { LANES } from "../vectors.js";

const SIZE = 256;
/** Cells from which a quarter of the invocations is enough to fill any GPU. */
const MANY = 1 << 16;

export function map(nest: Extract<Nest, { form: "map" }>, limits: WgslLimits): readonly Stmt[] {
  const { groups, work } = fuse([nest.axes.map(spanOf)], [false], { terms: [], stores: nest.stores });
  const spans = groups[0] as readonly Span[];
  const along = bestVector(spans, work)?.span;
  const others = spans.filter((s) => s !== along);
  const four = along !== undefined && byFours(along, spans, work);
  const [base, turn] = [freshName("four"), freshName("turn")];
  const inner: readonly Span[] = !along ? [] : [four ? { v: base, extent: int(along.max / LANES), max: along.max / LANES } : along];
  const order = [...others, ...inner];
  const cells = count(order);
  const size = Math.min(SIZE, limits.invocations, limits.workgroupSize[0]);
  const [group, own, cell] = ["cells", "invocation", "cell"].map(freshName) as [string, string, string];
  const at = new Map(four && along ? [[along.v, add(mul(variable(base), int(LANES)), variable(turn))]] : []);
  const stores = storesOf(work, at);
  const each = [...unflatten(order, variable(cell)), ...(four ? [loop(turn, int(0), int(LANES), stores, "vector")] : stores)];
  const whole = cells.kind === "num" && cells.value % size === 0;
  const body = [letS(cell, add(variable(group), variable(own))), ...(whole ? each : [ifS(less(variable(cell), cells), each)])];
  return [loop(group, int(0), cells, [loop(own, int(0), int(size), body, "local")], "workgroup", size)];
}
/** Every value before any store: memory updated in place reads its old value. */
function storesOf(work: Work, at: ReadonlyMap<string, Expr>): readonly Stmt[] {
  const names = work.stores.map(() => freshName("value"));
  return [
    ...work.stores.map((s, i) => letS(names[i] as string, rename([s.value], at)[0] as Expr)),
    ...work.stores.map((s, i) => storeS(s.buffer, rename(s.index, at), local(names[i] as string, s.value.type))),
  ];
}
function byFours(along: Span, spans: readonly Span[], work: Work): boolean {
  if (along.extent.kind !== "num" || along.max % LANES !== 0) return false;
  if (work.stores.some((s) => coefficient(offset(s.buffer, s.index), along.v) !== 1)) return false;
  const packed = work.stores.some((s) => perWord[storageOf(s.buffer)] > 1);
  return packed || spans.reduce((n, s) => n * s.max, 1) >= MANY;
}
