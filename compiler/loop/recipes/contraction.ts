// Contractions, the policy: how to block the product of `loop/product.ts`. Blocks are sized for two levels of cache: a
// panel of b (32 columns × 256) stays in L1 while rows pass by, all panels of a block and the rows' own block in L2.
import { CHUNK } from "../fold.js";
import type { Limits } from "../limits.js";
import { type ContractionSchedule, type Product, panelOf, plain, plainStore, ROWS } from "../product.js";
import { maxCount } from "../spans.js";

/** Of L2, the share of b's panels (the rest of the traffic goes by) and of a's rows. */
const B_SHARE = 1;
const A_SHARE = 3 / 16;
const multiple = (n: number, of: number) => Math.max(1, Math.floor(n / of)) * of;

export function schedule(p: Product, limits: Limits): ContractionSchedule {
  const floats = limits.l2 / 4 / CHUNK;
  const [rows, columns] = [maxCount(p.m), maxCount(p.n)];
  const direct = plain(p.a, p.m, p.k);
  const b = plain(p.b, p.n, p.k);
  const aInPlace = direct !== undefined && columns <= 1024;
  const panel = panelOf(p);
  return {
    panel,
    rowBlock: multiple(floats * A_SHARE, ROWS),
    columnBlock: Math.min(multiple(floats * B_SHARE, panel), Math.max(1, Math.ceil(columns / panel)) * panel),
    rowGroup: 5 * multiple(floats * A_SHARE, ROWS),
    divide: (aInPlace ? columns >= 128 : columns > rows) ? "columns" : "rows",
    aInPlace,
    bInPlace: b !== undefined && b.row === 1 && rows <= 24,
    cInPlace: plainStore(p) !== undefined,
  };
}
