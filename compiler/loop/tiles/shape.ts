// A tiles nest as its kernel sees it: rows in tiles of 48 or 64, `over` in tiles of 64, everything before the last axis of
// either a loop; the names of the kernel's own variables; and what a term depends on.
//
// Bits: tiles of 64 along the last over axis, in order, are the tree of every fold, and tiles of 64 rows that of every
// column: a sum is the same whether its kernel folds it or gathers it. Without columns rows are tiled by 48, which is whole
// register blocks and leaves more of L1 to the rest. How tiles are divided among threads, or ordered, changes no bit.
import { type Expr, int, partsOf, variable } from "../../lower/expr.js";
import type { Nest } from "../../lower/nest.js";
import { letS, type Stmt } from "../ir.js";
import { freshName, type Span, spanOf } from "../spans.js";
import { add, ceilDiv, imin, mul, namesOf, rename, sub, termsOf } from "../terms.js";
import { separated } from "./residues.js";

export const ROW_TILE = 48;
export const OVER_TILE = 64;
/** Rows and lanes of a tile that a mask leaves out together. */
export const ROWS = 6;
export const STRIP = 8;
/** What the register block's columns are a multiple of. */
export const COLUMNS = 16;
/** Chains of a fold along the lanes. */
export const LANES = 8;

export type TilesNest = Nest & { form: "tiles" };

/** What a term depends on, as bits. */
export const OVER = 1;
export const ROW = 2;
export const BIND = 4;
/** A dot, or both sides at once: a value of each pair. */
export const PAIR = OVER | ROW;

export class Shape {
  readonly batch: readonly Span[];
  readonly rowLead: readonly Span[];
  readonly row: Span;
  readonly overLead: readonly Span[];
  readonly over: Span;
  /** Rows of the present row tile and lanes of the present over tile: numbers where tiles are always whole. */
  readonly rows: Expr;
  readonly width: Expr;
  readonly rowTiles: Expr;
  readonly overTiles: Expr;
  /** Static bounds of the numbers of tiles: over tiles of one index of the leading axes, row tiles of a batch. */
  readonly maxOverTiles: number;
  readonly maxRowTiles: number;
  readonly names = {
    rowTile: freshName("row_tile"),
    i0: freshName("row_first"),
    rows: freshName("rows"),
    tile: freshName("tile"),
    j0: freshName("over_first"),
    width: freshName("width"),
  };
  readonly i0 = variable(this.names.i0);
  readonly tile = variable(this.names.tile);
  readonly j0 = variable(this.names.j0);
  readonly #reads = new Map<string, number>();
  readonly #sideLead = new Map<string, readonly Span[]>();
  readonly #known = new Map<Expr, number>();
  readonly #level = new Map<string, number>();

  readonly nest: TilesNest;
  readonly rowTile: number;
  readonly overTile: number;

  /** `rowTile`: of a nest without columns. `overTile`: where another than 64 is the tree of its target's folds. */
  constructor(given: TilesNest, rowTile: number = ROW_TILE, overTile: number = OVER_TILE) {
    const own = separated(given);
    this.nest = own.nest;
    const { nest } = own;
    this.rowTile = nest.columns.length > 0 ? OVER_TILE : rowTile;
    this.overTile = overTile;
    const last = (spans: readonly Span[], stem: string): { lead: readonly Span[]; last: Span } => {
      const end = spans.at(-1) ?? { v: freshName(stem), extent: int(1), max: 1 };
      return { lead: spans.slice(0, -1), last: end };
    };
    const [rows, over] = [last(own.rows, "row"), last(own.over, "over")];
    this.batch = nest.batch.map(spanOf);
    [this.rowLead, this.row] = [rows.lead, rows.last];
    [this.overLead, this.over] = [over.lead, over.last];
    const whole = (s: Span, size: number) => s.extent.kind === "num" && s.extent.value % size === 0;
    this.rows = whole(this.row, this.rowTile) ? int(this.rowTile) : variable(this.names.rows);
    this.width = whole(this.over, overTile) ? int(overTile) : variable(this.names.width);
    // Of the longest: a residue's quotients may be one fewer.
    this.rowTiles = ceilDiv(rename([this.row.extent], zeros(this.rowLead))[0] as Expr, this.rowTile);
    this.overTiles = ceilDiv(rename([this.over.extent], zeros(this.overLead))[0] as Expr, overTile);
    this.maxRowTiles = this.rowLead.reduce((n, s) => n * s.max, Math.ceil(this.row.max / this.rowTile));
    this.maxOverTiles = Math.max(1, Math.ceil(this.over.max / overTile));
    for (const s of [...this.rowLead, this.row]) this.#reads.set(s.v, ROW);
    for (const s of [...this.overLead, this.over]) this.#reads.set(s.v, OVER);
    for (const s of nest.sides) {
      this.#reads.set(s.name, s.of === "rows" ? ROW : OVER);
      if (s.of === "over") this.#sideLead.set(s.name, this.leadOf(s.element));
    }
    for (const d of nest.dots) this.#reads.set(d.name, PAIR);
    for (const f of nest.folds) for (const b of f.bind) this.#reads.set(b, BIND);
    // A fold is of the level above those whose results it reads.
    for (const f of nest.folds) {
      const level = Math.max(0, ...[...f.elements, ...(f.rescale ? [f.rescale] : [])].map((e) => this.levelOf(e)));
      for (const b of f.bind) this.#level.set(b, level);
    }
  }

  /** First index and size of the row tile, and of the over tile, that `rowTile` and `tile` number. */
  get rowRange(): readonly Stmt[] {
    const { names, row, rowTile } = this;
    const size = this.rows.kind === "num" ? [] : [letS(names.rows, imin(int(rowTile), sub(row.extent, this.i0)))];
    return [letS(names.i0, mul(variable(names.rowTile), int(rowTile))), ...size];
  }
  get overRange(): readonly Stmt[] {
    const { names, over, overTile } = this;
    const size = this.width.kind === "num" ? [] : [letS(names.width, imin(int(overTile), sub(over.extent, this.j0)))];
    return [letS(names.j0, mul(this.tile, int(overTile))), ...size];
  }

  /** OVER, ROW and BIND: which sides and which results of folds a term reads. */
  reads(root: Expr): number {
    for (const e of termsOf([root])) {
      if (this.#known.has(e)) continue;
      const own = e.kind === "var" || e.kind === "local" ? (this.#reads.get(e.name) ?? 0) : 0;
      this.#known.set(
        e,
        partsOf(e).reduce((all, p) => all | (this.#known.get(p) as number), own),
      );
    }
    return this.#known.get(root) as number;
  }
  /** Another local, with what it depends on. */
  define(name: string, reads: number) {
    this.#reads.set(name, reads);
  }
  /** The pass of a tile after which everything that a term reads is known: 0, or one after the folds that it reads. */
  levelOf(e: Expr): number {
    let level = 0;
    for (const n of namesOf(e)) {
      const at = this.#level.get(n.startsWith("was.") ? n.slice(4) : n);
      if (at !== undefined) level = Math.max(level, at + 1);
    }
    return level;
  }
  /** The leading over axes that a term reads, itself or through sides. */
  leadOf(...roots: readonly Expr[]): readonly Span[] {
    const names = new Set<string>();
    for (const n of namesOf(...roots)) {
      names.add(n);
      for (const s of this.#sideLead.get(n) ?? []) names.add(s.v);
    }
    return this.overLead.filter((s) => names.has(s.v));
  }
  /** Terms at row `r` of the row tile and lane `l` of the over tile. */
  at<T extends readonly Expr[]>(roots: T, r: Expr | undefined, l: Expr | undefined): readonly Expr[] {
    const to = new Map<string, Expr>();
    if (r) to.set(this.row.v, add(this.i0, r));
    if (l) to.set(this.over.v, add(this.j0, l));
    return rename(roots, to);
  }
  one(e: Expr, r: Expr | undefined, l: Expr | undefined): Expr {
    return this.at([e], r, l)[0] as Expr;
  }
}

const zeros = (spans: readonly Span[]): ReadonlyMap<string, Expr> => new Map(spans.map((s) => [s.v, int(0)]));

/** Row-major index over spans by their greatest sizes: contiguous along the last. */
export const packedIndex = (spans: readonly Span[]): Expr => spans.reduce<Expr>((at, s) => add(mul(at, int(s.max)), variable(s.v)), int(0));
export const packedSize = (spans: readonly Span[]): number => spans.reduce((n, s) => n * s.max, 1);
export const padded = (n: number, to: number): number => Math.max(1, Math.ceil(n / to)) * to;
