// One tile's surroundings while its loops are written: which rows and lanes are computed, where values of rows and pairs
// wait, and how loops over them go.
import { apply, type Buffer, type Expr, int, load, local, variable } from "../../lower/expr.js";
import type { TileColumn, TileFold } from "../../lower/nest.js";
import { ifS, letS, loop, type Stmt, tile } from "../ir.js";
import { freshName } from "../spans.js";
import { add, imax, imin, imod, namesOf, sub } from "../terms.js";
import type { ColumnTarget } from "./columns.js";
import type { LaneRanges } from "./mask.js";
import { dtypeOf, type Operand, type OverSide, type Panel } from "./prepare.js";
import type { RowSide } from "./rows.js";
import { LANES, OVER_TILE, ROWS, type Shape, STRIP } from "./shape.js";
import type { TileWork } from "./work.js";

/** Everything that is the same for all tiles. */
export interface Surroundings {
  readonly shape: Shape;
  readonly over: OverSide;
  readonly rows: RowSide;
  readonly dots: readonly { readonly name: string; readonly panel: Panel; readonly a: Buffer }[];
  readonly operands: ReadonlyMap<TileFold, Operand>;
  readonly columns: ReadonlyMap<TileColumn, ColumnTarget>;
}

export class Tile {
  readonly shape: Shape;
  readonly width: Expr;
  /** `full`: all of its 64 lanes are there and inside the mask. */
  constructor(
    readonly s: Surroundings,
    readonly work: TileWork,
    readonly full: boolean,
    readonly ranges: LaneRanges | undefined,
  ) {
    this.shape = s.shape;
    this.width = full ? int(OVER_TILE) : s.shape.width;
  }

  /** `body` for each group of rows, with the lanes that are computed of it. */
  groups(body: (first: Expr, from: Expr, to: Expr) => readonly Stmt[]): Stmt {
    const g = freshName("rows");
    const { ranges } = this;
    if (!ranges) return loop(g, int(0), this.shape.rows, body(variable(g), int(0), this.width), "serial", ROWS);
    const [from, to] = [freshName("from"), freshName("to")];
    const inner = body(variable(g), local(from, "int"), local(to, "int"));
    return loop(g, int(0), this.shape.rows, [...ranges.lanes(variable(g), from, to), ...inner], "serial", ROWS);
  }
  /** `body` for each strip of lanes, with the rows that are computed of it. */
  columns(ranges: LaneRanges, body: (first: Expr, from: Expr, to: Expr) => readonly Stmt[]): Stmt {
    const [g, from, to] = [freshName("lane"), freshName("from"), freshName("to")];
    const inner = body(variable(g), local(from, "int"), local(to, "int"));
    return loop(g, int(0), this.width, [...ranges.rows(variable(g), from, to), ...inner], "serial", STRIP);
  }
  /** `body` for each lane from a multiple of a strip on, in vectors of two strips and of one. Where all tiles are whole, so are strips. */
  strips(from: Expr, to: Expr, body: (lane: Expr) => readonly Stmt[]): readonly Stmt[] {
    const lane = freshName("lane");
    if (this.width.kind !== "num" || (from.kind === "num" && to.kind === "num")) return [loop(lane, from, to, body(variable(lane)), "vector")];
    const pair = freshName("lane");
    const last = freshName("last");
    const single = local(last, "int");
    const few = (first: Expr, n: number) => {
      const l = freshName("lane");
      return loop(l, int(0), int(n), body(add(first, variable(l))), "vector");
    };
    return [
      letS(last, sub(to, imod(sub(to, from), int(2 * STRIP)))),
      loop(pair, from, single, [few(variable(pair), 2 * STRIP)], "serial", 2 * STRIP),
      ifS(apply("lt", "bool", imax(single, from), to), [few(single, STRIP)]),
    ];
  }

  /** `body` for each row, with the lanes that are computed of it. */
  rows(r: string, body: (from: Expr, to: Expr) => readonly Stmt[]): Stmt {
    if (!this.ranges) return loop(r, int(0), this.shape.rows, body(int(0), this.width));
    return this.groups((first, from, to) => [loop(r, first, imin(add(first, int(ROWS)), this.shape.rows), body(from, to))]);
  }

  readonly #parts = new Map<string, Buffer>();
  /** Eight chains of each row. */
  part(f: TileFold): Buffer {
    const name = f.bind[0] as string;
    const b = this.#parts.get(name) ?? tile(freshName(`${name}_part`), dtypeOf(f.monoid.combine[0] as Expr), this.shape.rowTile, LANES);
    this.#parts.set(name, b);
    return b;
  }
  /** Brings what terms read of tiles and lanes into scope. */
  laneLets(roots: readonly Expr[], r: Expr, l: Expr): readonly Stmt[] {
    const out: Stmt[] = [];
    const names = namesOf(...roots);
    for (const n of names) {
      const k = this.work.kept.get(n);
      if (k?.tile) out.push(letS(n, load(k.tile, [r, l])));
      const e = this.s.over.locals.get(n);
      if (e) out.push(letS(n, this.shape.one(e, undefined, l)));
    }
    return out;
  }
  /** `body(row)` for all rows, eight at a time; rows past the last are computed and never read. */
  eachRow(before: (first: Expr) => readonly Stmt[], body: (row: Expr, lane: Expr) => readonly Stmt[]): readonly Stmt[] {
    const [g, r] = [freshName("rows"), freshName("row")];
    return [
      loop(
        g,
        int(0),
        this.shape.rows,
        [...before(variable(g)), loop(r, int(0), int(LANES), body(add(variable(g), variable(r)), variable(r)), "vector")],
        "serial",
        LANES,
      ),
    ];
  }
  /** Memory for a result's former value, if something is rescaled by its change. */
  former(bind: string, like: Expr): Buffer | undefined {
    const name = `was.${bind}`;
    const read = this.shape.nest.folds.some((x) => x.rescale && namesOf(x.rescale).has(name));
    return read ? this.s.rows.hold(name, like) : undefined;
  }
}
