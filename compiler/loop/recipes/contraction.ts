// Contractions, the policy: how to block the product of `loop/product.ts`. Blocks are sized for two levels of cache: a
// pair of panels of b (32 columns × 256) stays in L1 while rows pass by, all panels of a block and the rows' own block in L2.
import { CHUNK } from "../fold.js";
import { PANEL_ROWS } from "../instructions.js";
import type { Limits } from "../limits.js";
import { type ContractionSchedule, columnsOf, type Product, plain, plainStore } from "../product.js";
import { maxCount } from "../spans.js";

/** Of L2, the share of b's panels (the rest of the traffic goes by) and of a's rows. */
const B_SHARE = 1;
const A_SHARE = 3 / 16;
/** Columns up to which rows are better read where they are than packed first. Rows 4 KiB apart fall on one another in L1, and
 *  where rows lie side by side, k far apart, a step along k reads part of a line. */
const mostInPlace = (a: { readonly row: number; readonly k: number }): number =>
  a.k !== 1 ? 1024 : (a.row * 4) % L1_WAY === 0 ? 1024 : Number.POSITIVE_INFINITY;
/** Bytes after which addresses meet in the same set of L1, on all of today's x86 and most ARM cores. */
const L1_WAY = 4096;
const multiple = (n: number, of: number) => Math.max(1, Math.floor(n / of)) * of;

export function schedule(p: Product, limits: Limits): ContractionSchedule {
  const floats = limits.l2 / 4 / CHUNK;
  const [M, N] = [maxCount(p.m), maxCount(p.n)];
  const direct = plain(p.a, p.m, p.k);
  const b = plain(p.b, p.n, p.k);
  const aInPlace = direct !== undefined && N <= mostInPlace(direct);
  const columns = columnsOf(p);
  const rowBlock = multiple(floats * A_SHARE, PANEL_ROWS);
  const cInPlace = plainStore(p) !== undefined;
  return {
    columns,
    rowBlock,
    columnBlock: Math.min(multiple(floats * B_SHARE, columns), Math.max(1, Math.ceil(N / columns)) * columns),
    // Each group packs b anew: one group, unless partial sums need memory.
    rowGroup: cInPlace ? Math.max(1, Math.ceil(M / rowBlock)) * rowBlock : 5 * rowBlock,
    divide: (aInPlace ? N >= 128 : N > M) ? "columns" : "rows",
    aInPlace,
    bInPlace: b !== undefined && b.row === 1 && M <= 24,
    cInPlace,
  };
}
