// What the register block does for a tile: dots, sums with axes of their own (rescaled first, where a result that their elements
// read has changed), columns. And sums at an index, which no block can do.
import { apply, type Buffer, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { TileFold } from "../../lower/nest.js";
import { CHUNK } from "../fold.js";
import { PANEL_COLUMNS, PANEL_ROWS, useS } from "../instructions.js";
import { ifS, letS, loop, type Place, type Stmt, storeS } from "../ir.js";
import { count, freshName, spanOf } from "../spans.js";
import { ceilDiv, imin, imod, mul, sub } from "../terms.js";
import type { ColumnTarget } from "./columns.js";
import type { Operand } from "./prepare.js";
import { COLUMNS, OVER_TILE, packedSize, padded, ROWS, STRIP } from "./shape.js";
import { factorOf } from "./states.js";
import type { Tile } from "./tile.js";
import type { Kept, Pass } from "./work.js";

export function dots(t: Tile): readonly Stmt[] {
  const { rows } = t.shape;
  return t.s.dots.map(({ name, panel, a }) => {
    const c = (t.work.dots.get(name) as Kept).tile as Buffer;
    const K = count(panel.k);
    const k0 = freshName("k");
    const depthMax = panel.k.reduce((n, x) => n * x.max, 1);
    const chunked = depthMax > CHUNK;
    const from = chunked ? variable(k0) : int(0);
    const depth = chunked ? imin(int(CHUNK), sub(K, from)) : K;
    const block = (row: Expr, lane: Expr, some: Expr, end: Expr) =>
      useS(
        "block",
        [
          { buffer: a, index: [row, from] },
          { buffer: panel.buffer, index: panel.at(from, lane) },
          { buffer: c, index: [row, lane] },
        ],
        [
          some,
          mul(ceilDiv(sub(end, lane), COLUMNS), int(COLUMNS)),
          depth,
          int(Math.max(1, depthMax)),
          int(PANEL_ROWS * Math.max(1, depthMax)),
          int(1),
          int(OVER_TILE),
          int(PANEL_COLUMNS),
          int(OVER_TILE),
          chunked ? apply("gt", "bool", from, int(0)) : int(0),
        ],
      );
    const group = (first: Expr, from: Expr, to: Expr) => block(first, sub(from, imod(from, int(COLUMNS))), imin(int(ROWS), sub(rows, first)), to);
    const blocks = t.ranges
      ? t.groups((first, from, to) => [ifS(apply("lt", "bool", from, to), [group(first, from, to)])])
      : block(int(0), int(0), rows, t.width);
    return chunked ? loop(k0, int(0), apply("max", "int", K, int(1)), [blocks], "serial", CHUNK) : blocks;
  });
}

export function sums(t: Tile, p: Pass): readonly Stmt[] {
  const { rows } = t.s;
  return p.sums.flatMap(({ fold, element, at }) => {
    const n = fold.n.map(spanOf);
    const columns = padded(packedSize(n), COLUMNS);
    const sums = rows.sums(fold);
    const [r, c] = [freshName("row"), freshName("column")];
    const out: Stmt[] = [];
    if (fold.rescale) {
      const factor = local(factorOf(fold), "real");
      const here: Place = { buffer: sums, index: [variable(r), variable(c)] };
      out.push(
        loop(r, int(0), t.shape.rows, [
          ...rows.lets([factor], variable(r)),
          ifS(apply("ne", "bool", factor, num(1, "real")), [
            loop(c, int(0), int(columns), [storeS(here.buffer, here.index, apply("mul", "real", load(sums, here.index), factor))], "vector"),
          ]),
        ]),
      );
    }
    if (at) return [...out, scattered(t, fold, element, at, sums)];
    const b = t.s.operands.get(fold) as Operand; // every sum has an operand or an index
    const block = (row: Expr, some: Expr, from: Expr, depth: Expr): Stmt =>
      useS(
        "block",
        [{ buffer: element.tile as Buffer, index: [row, from] }, b.place(from, int(0)), { buffer: sums, index: [row, int(0)] }],
        [some, int(b.columns), depth, int(OVER_TILE), int(PANEL_ROWS * OVER_TILE), int(1), int(b.stride), int(PANEL_COLUMNS), int(columns), int(1)],
      );
    if (!t.ranges) return [...out, block(int(0), t.shape.rows, int(0), t.width)];
    const group = (first: Expr, from: Expr, to: Expr) => block(first, imin(int(ROWS), sub(t.shape.rows, first)), from, sub(to, from));
    return [...out, t.groups((first, from, to) => [ifS(apply("lt", "bool", from, to), [group(first, from, to)])])];
  });
}
function scattered(t: Tile, fold: TileFold, element: Kept, at: Expr, sums: Buffer): Stmt {
  const [r, l, place] = [freshName("row"), freshName("lane"), freshName("place")];
  const n = fold.n.map(spanOf)[0];
  if (!n || fold.n.length !== 1) throw new Error(`fold ${fold.bind.join(", ")} has an index and not one axis`);
  const here = local(place, "int");
  const inside = apply("and", "bool", apply("le", "bool", int(0), here), apply("lt", "bool", here, n.extent));
  const value = load(element.tile as Buffer, [variable(r), variable(l)]);
  return t.rows(r, (from, to) => [
    ...t.s.rows.lets([at], variable(r)),
    loop(l, from, to, [
      ...t.laneLets([at], variable(r), variable(l)),
      letS(place, t.shape.one(at, variable(r), variable(l))),
      ifS(inside, [storeS(sums, [variable(r), here], apply("add", "real", load(sums, [variable(r), here]), value))]),
    ]),
  ]);
}
export function columnSums(t: Tile, p: Pass): readonly Stmt[] {
  const { rows } = t.shape;
  return p.columns.map(({ column, element }) => {
    const target = t.s.columns.get(column) as ColumnTarget; // every column has a target
    const b = target.operand;
    const block = (lane: Expr, lanes: Expr, from: Expr, depth: Expr) =>
      useS(
        "block",
        [{ buffer: element.tile as Buffer, index: [from, lane] }, b.place(from, int(0)), target.place(lane, int(0))],
        [lanes, int(b.columns), depth, int(1), int(PANEL_ROWS), int(OVER_TILE), int(b.stride), int(PANEL_COLUMNS), int(target.stride), int(1)],
      );
    if (!t.ranges) return block(int(0), t.width, int(0), rows);
    return t.columns(t.ranges, (first, from, to) => [
      ifS(apply("lt", "bool", from, to), [block(first, imin(int(STRIP), sub(t.width, first)), from, sub(to, from))]),
    ]);
  });
}
