// What becomes of a product's sums: the epilogue, cell by cell, or four neighbours of a row at a time where all results lie so.
import { allocS, letS, type Stmt, storeS, tile } from "../../../loop/ir.js";
import type { Product } from "../../../loop/product.js";
import { freshName, type Span, unflatten } from "../../../loop/spans.js";
import { add, rename, termsOf } from "../../../loop/terms.js";
import { type Buffer, type Expr, load, local, variable } from "../../../lower/expr.js";
import type { Store } from "../../../lower/nest.js";
import { FOUR, four, inFours, unrolled, when, within } from "./fours.js";

/** Terms of an epilogue that is written out for each cell. */
const SHORT = 12;

/** The epilogue. Every value before any store: state updated in place reads its old value. */
export class Finish {
  readonly long: boolean;
  readonly #results: readonly Buffer[];
  readonly #fours: boolean;
  constructor(
    readonly p: Product,
    readonly M: Expr,
    readonly N: Expr,
  ) {
    this.#fours = p.stores.every((s) => s.value.type === "real" && inFours(s.buffer, s.index, p.n));
    this.#results = p.stores.map(() => tile(freshName("result"), "f32", FOUR));
    this.long = p.m.length > 1 || p.n.length > 1 || termsOf(p.stores.flatMap((s) => [s.value, ...s.index])).length > SHORT;
  }
  /** Stands before the cells. */
  get memory(): readonly Stmt[] {
    return this.#fours ? this.#results.map((r) => allocS(r, "private")) : [];
  }
  /** At (row, column) of the result. */
  one(row: Expr, column: Expr, tileM: number, tileN: number, sum: Expr): readonly Stmt[] {
    const inside = [within(row, this.M, tileM), within(column, this.N, tileN)];
    return when(inside, [...unflatten(this.p.m, row), ...unflatten(this.p.n, column), ...this.#stores(this.p.stores, sum)]);
  }
  /** At (row, column … column + 3), column a multiple of four. */
  four(row: Expr, column: Expr, tileM: number, tileN: number, sum: (lane: Expr) => Expr): readonly Stmt[] {
    const { n, m, stores } = this.p;
    if (!this.#fours) return [unrolled(FOUR, (v) => this.one(row, add(column, v), tileM, tileN, sum(v)))];
    const last = (n.at(-1) as Span).v;
    const to = (v: Expr) => new Map([[last, add(variable(last), v)]]);
    const inside = [within(row, this.M, tileM), within(column, this.N, tileN)];
    return when(inside, [
      ...unflatten(m, row),
      ...unflatten(n, column),
      unrolled(FOUR, (v) => {
        const sumHere = freshName("sum");
        const here = new Map([...to(v), ["sum", local(sumHere, "real")] as const]);
        return [letS(sumHere, sum(v)), ...stores.map((s, i) => storeS(this.#results[i] as Buffer, [v], rename([s.value], here)[0] as Expr))];
      }),
      ...stores.map((s, i) => four((v) => [storeS(s.buffer, rename(s.index, to(v)), load(this.#results[i] as Buffer, [v]))])),
    ]);
  }
  #stores(stores: readonly Store[], sum: Expr): readonly Stmt[] {
    const names = stores.map(() => freshName("value"));
    return [
      letS("sum", sum),
      ...stores.map((s, i) => letS(names[i] as string, s.value)),
      ...stores.map((s, i) => storeS(s.buffer, s.index, local(names[i] as string, s.value.type))),
    ];
  }
}
