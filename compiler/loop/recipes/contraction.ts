// Contractions, the policy: how to block the product of `loop/product.ts`. Blocks are sized for two levels of cache: a
// panel of b (16 columns × 256) stays in L1 while rows pass by, all panels of a block and the rows' own block in L2.
import type { Nest } from "../../lower/nest.js";
import type { Stmt } from "../ir.js";
import { blockedProduct, COLUMNS, type ContractionSchedule, type Product, plain, plainStore, productOf, ROWS } from "../product.js";
import { maxCount } from "../spans.js";

export function schedule(p: Product): ContractionSchedule {
  const [rows, columns] = [maxCount(p.m), maxCount(p.n)];
  const direct = plain(p.a, p.m, p.k);
  const b = plain(p.b, p.n, p.k);
  const aInPlace = direct !== undefined && columns <= 1024;
  return {
    rowBlock: 96,
    columnBlock: Math.min(512, Math.ceil(columns / COLUMNS) * COLUMNS),
    rowGroup: 480,
    divide: (aInPlace ? columns >= 8 * COLUMNS : columns > rows) ? "columns" : "rows",
    aInPlace,
    bInPlace: b !== undefined && b.row === 1 && rows <= 4 * ROWS,
    cInPlace: plainStore(p) !== undefined,
  };
}

export function contraction(nest: Nest & { form: "contract" }): readonly Stmt[] {
  const p = productOf(nest);
  return blockedProduct(p, schedule(p));
}
