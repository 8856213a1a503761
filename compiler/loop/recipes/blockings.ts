// What a contraction may choose besides what recipes/contraction.ts has by rule of thumb. All of it moves work in time
// and memory alone: chunks of 256 along k and their order are the tree of the sum (design.md, Bits).
import type { Nest } from "../../lower/nest.js";
import { type Choosable, choosable } from "../choices.js";
import { CHUNK } from "../fold.js";
import { PANEL_ROWS } from "../instructions.js";
import type { Limits } from "../limits.js";
import { blockedProduct, type ContractionSchedule, plain, productOf } from "../product.js";
import { maxCount } from "../spans.js";
import { schedule } from "./contraction.js";

type Open = Pick<ContractionSchedule, "divide" | "aInPlace" | "bInPlace" | "columnBlock" | "rowBlock"> & {
  /** Row blocks between which partial sums wait. */
  readonly rowBlocks: number;
};

export function contractions(nest: Nest & { form: "contract" }, limits: Limits): Choosable {
  const p = productOf(nest);
  const own = schedule(p, limits);
  const [rows, columns] = [maxCount(p.m), maxCount(p.n)];
  /** Around the first, no larger than what there is to block: whole units. */
  const sizes = (first: number, unit: number, whole: number): [number, ...number[]] => {
    const most = Math.ceil(whole / unit) * unit;
    const fit = (size: number) => Math.max(unit, Math.min(most, Math.round(size / unit) * unit));
    return [first, ...[1 / 4, 1 / 2, 2].map((f) => fit(first * f)).filter((size) => size !== fit(first))];
  };
  const [a, b] = [plain(p.a, p.m, p.k), plain(p.b, p.n, p.k)];
  const both = (first: boolean, possible: boolean): [boolean, ...boolean[]] => (possible ? [first, !first] : [first]);
  const blocks = own.rowGroup / own.rowBlock;
  const waits = maxCount(p.k) > CHUNK && !own.cInPlace;
  return choosable<Open>(
    {
      divide: own.divide === "rows" ? ["rows", "columns"] : ["columns", "rows"],
      aInPlace: both(own.aInPlace, a !== undefined),
      bInPlace: both(own.bInPlace, b !== undefined && b.row === 1),
      columnBlock: sizes(own.columnBlock, own.columns, columns),
      rowBlock: sizes(own.rowBlock, PANEL_ROWS, rows),
      rowBlocks: [blocks, ...(waits && rows > own.rowBlock ? [1, 2] : [])],
    },
    ({ rowBlocks, ...s }) => {
      // As in contraction.ts: one group, unless partial sums need memory.
      const inGroup = own.cInPlace ? Math.max(1, Math.ceil(rows / s.rowBlock)) : Math.round(rowBlocks);
      return blockedProduct(p, { ...own, ...s, rowGroup: inGroup * s.rowBlock });
    },
  );
}
