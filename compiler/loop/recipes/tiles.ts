// Tiles nests: folds over pairs that never exist at once (loop/tiles/). Units of work are row tiles, batch after batch;
// each thread takes a contiguous run of them, prepares the over side when it comes to a new batch, and for each row
// tile walks the over tiles that the mask leaves. A kernel with columns divides whole batches.
import { apply, type Buffer, type Expr, int, load, local, variable } from "../../lower/expr.js";
import { yes } from "../../lower/ints.js";
import type { Store, TileColumn, TileFold } from "../../lower/nest.js";
import { type Choosable, choosable } from "../choices.js";
import { allocS, ifS, letS, loop, type Stmt, storeS, THREADS } from "../ir.js";
import { affinity, count, freshName, inOrder, spanOf, unflatten } from "../spans.js";
import { add, idiv, imax, imin, imod, less, mul, rename, sub } from "../terms.js";
import { type ColumnTarget, columnTarget } from "../tiles/columns.js";
import { insideMask, whereInside } from "../tiles/mask.js";
import { tileLoops } from "../tiles/passes.js";
import { type Operand, OverSide } from "../tiles/prepare.js";
import { RowSide } from "../tiles/rows.js";
import { packedIndex, ROW_TILE, Shape, type TilesNest } from "../tiles/shape.js";
import type { Surroundings } from "../tiles/tile.js";
import { withoutDenormals } from "../tiles/underflow.js";
import { planTile, Sides } from "../tiles/work.js";

/** A nest with columns has their tree in its row tiles; another may have them larger or smaller. */
export const tilesOf = (given: TilesNest): Choosable =>
  choosable({ rowTile: given.columns.length > 0 ? [ROW_TILE] : [ROW_TILE, ROW_TILE / 2, 2 * ROW_TILE] }, ({ rowTile }) => tiles(given, rowTile));

export function tiles(given: TilesNest, rowsInTile?: number): readonly Stmt[] {
  const shape = new Shape(given, rowsInTile);
  const { nest } = shape;
  const over = new OverSide(shape);
  const rows = new RowSide(shape);
  const sides = new Sides(shape, over, rows);
  const dots = nest.dots.map((d) => {
    const panel = over.panel(d);
    return { name: d.name, panel, a: rows.pack(panel) };
  });
  const operands = new Map<TileFold, Operand>();
  for (const f of nest.folds) if (f.n.length > 0 && f.b) operands.set(f, over.operand(f.b, f.n.map(spanOf)));
  const columns = new Map<TileColumn, ColumnTarget>();
  for (const c of nest.columns) columns.set(c, columnTarget(shape, c, rows.operand(c)));
  const around: Surroundings = { shape, over, rows, dots, operands, columns };

  const memory: Buffer[] = [];
  const variant = (all: boolean): readonly Stmt[] => {
    const given = (roots: readonly Expr[]) => withoutDenormals(shape, all ? whereInside(nest.mask, roots) : roots);
    const loops = tileLoops(around, planTile(shape, sides, given, memory), all);
    return [...over.each, ...loops];
  };
  // The unmasked elements need no more than the masked ones: planned first, so that what they prepare is all there is.
  const inside = insideMask(shape, over, rows, variant);
  const overTiles = loop(shape.names.tile, int(0), shape.overTiles, [...shape.overRange, ...over.tested, ...inside]);
  const rowTile: readonly Stmt[] = [...rows.prologue, ...rows.start, ...inOrder(shape.overLead, [overTiles]), ...epilogue(shape, rows)];
  const targets = [...columns.values()];
  return [
    ...[...over.allocs, ...rows.allocs, ...targets.flatMap((t) => t.allocs), ...memory.map((b) => allocS(b, "scratch"))],
    units(shape, over, rowTile, targets),
  ];
}

/** The thread loop: which row tiles each thread runs, in which order. */
function units(shape: Shape, over: OverSide, rowTile: readonly Stmt[], targets: readonly ColumnTarget[]): Stmt {
  const [thread, lo, hi, batch, first, last, unit] = ["thread", "lo", "hi", "batch", "unit_first", "unit_end", "unit"].map(freshName) as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const x = (n: string) => variable(n);
  const perBatch = mul(count(shape.rowLead), shape.rowTiles);
  const whole = targets.length > 0;
  const all = whole ? count(shape.batch) : mul(count(shape.batch), perBatch);
  const per = whole ? int(1) : imax(perBatch, int(1));
  const start = mul(x(batch), perBatch);
  const { names } = shape;
  const body: readonly Stmt[] = [
    ...unflatten(shape.rowLead, idiv(x(unit), shape.rowTiles)),
    letS(names.rowTile, inTurns(shape, imod(x(unit), shape.rowTiles), !whole)),
    ...shape.rowRange,
    ...rowTile,
  ];
  return loop(
    thread,
    int(0),
    variable(THREADS),
    [
      letS(lo, share(all, x(thread))),
      letS(hi, share(all, add(x(thread), int(1)))),
      ifS(less(x(lo), x(hi)), [
        loop(batch, idiv(x(lo), per), idiv(sub(add(x(hi), per), int(1)), per), [
          ...unflatten(shape.batch, x(batch)),
          ...over.once,
          ...targets.flatMap((t) => t.clear),
          letS(first, whole ? int(0) : sub(imax(x(lo), start), start)),
          letS(last, whole ? perBatch : sub(imin(x(hi), add(start, perBatch)), start)),
          loop(unit, x(first), x(last), body),
          ...targets.flatMap((t) => t.finish),
        ]),
      ]),
    ],
    "thread",
  );
}
/** ⌊all · t / threads⌋ without overflow. */
const share = (all: Expr, t: Expr): Expr => {
  const n = variable(THREADS);
  return add(mul(idiv(all, n), t), idiv(mul(imod(all, n), t), n));
};
/** The row tile of a unit: first, last, second, last but one …, so that under a mask that grows with the row (causal) any run of
 *  units is about as much work as another of its length. */
function inTurns(shape: Shape, unit: Expr, turns: boolean): Expr {
  if (!turns || shape.nest.mask === yes) return unit;
  const half = idiv(unit, int(2));
  const odd = apply("eq", "bool", imod(unit, int(2)), int(1));
  return apply("select", "int", odd, sub(sub(shape.rowTiles, int(1)), half), half);
}

/** The nest's stores, once the last over tile has passed. */
function epilogue(shape: Shape, rows: RowSide): readonly Stmt[] {
  return shape.nest.stores.flatMap(({ n, stores }) => {
    const spans = n.map(spanOf);
    const own = new Set(spans.map((s) => s.v));
    const r = freshName("row");
    const to = new Map<string, Expr>();
    for (const f of shape.nest.folds) {
      if (f.n.length === 0 || !f.n.every((a) => own.has(a.v))) continue;
      to.set(f.bind[0] as string, load(rows.sums(f), [variable(r), packedIndex(f.n.map(spanOf))]));
    }
    const done = stores.map((s): Store => {
      const [value, ...index] = shape.at(rename([s.value, ...s.index], to), variable(r), undefined) as readonly [Expr, ...Expr[]];
      return { buffer: s.buffer, index, value };
    });
    const read = rows.lets(
      stores.flatMap((s) => [s.value, ...s.index]),
      variable(r),
    );
    const last = spans.at(-1);
    if (!last) return [loop(r, int(0), shape.rows, [...read, ...allStores(done)], "vector")];
    // Where results of neighbouring rows lie side by side, vectors run along the rows.
    const work = { terms: [], stores: done.map((s) => ({ ...s, value: int(0) })) };
    if (affinity(r, work) > affinity(last.v, work)) return inOrder(spans, [loop(r, int(0), shape.rows, [...read, ...allStores(done)], "vector")]);
    const inner = loop(last.v, int(0), last.extent, allStores(done), "vector");
    return [loop(r, int(0), shape.rows, [...read, ...inOrder(spans.slice(0, -1), [inner])])];
  });
}
/** Every value before any store: state updated in place reads its old value. */
function allStores(stores: readonly Store[]): readonly Stmt[] {
  if (stores.length < 2) return stores.map((s) => storeS(s.buffer, s.index, s.value));
  const names = stores.map(() => freshName("value"));
  return [
    ...stores.map((s, i) => letS(names[i] as string, s.value)),
    ...stores.map((s, i) => storeS(s.buffer, s.index, local(names[i] as string, s.value.type))),
  ];
}
