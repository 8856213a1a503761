// Which tiles run: those with a pair inside the mask, and no others. For a tile's box of indices interval arithmetic tells
// whether some pair may be inside and whether all surely are; a tile in between is tested pair by pair until one is
// found. Where all are inside, the elements are computed without their tests.
import { apply, type Expr, int, load, local, num, partsOf, variable } from "../../lower/expr.js";
import { and, no, not, or, yes } from "../../lower/ints.js";
import { foldLoops } from "../fold.js";
import { allocS, ifS, letS, loop, type Stmt, setS, storeS, tile, varS } from "../ir.js";
import { freshName } from "../spans.js";
import { add, idiv, imax, imin, linear, namesOf, sub, termsOf, withParts } from "../terms.js";
import { type Bounds, type Truth, truth } from "./bounds.js";
import type { OverSide } from "./prepare.js";
import type { RowSide } from "./rows.js";
import { OVER, OVER_TILE, ROW, ROWS, type Shape, STRIP } from "./shape.js";

/** The mask over the present tile's box, or `size` rows and lanes of it from (`row`, `lane`) on; data that it reads by one
 *  side's index count by their ends in the tile. */
export function tileTruth(shape: Shape, over: OverSide, rows: RowSide, part?: { row: Expr; lane: Expr; rows: number; lanes: number }): Truth {
  const lastRow = sub(add(shape.i0, shape.rows), int(1));
  const lastOver = sub(add(shape.j0, shape.width), int(1));
  const [i, j] = part ? [add(shape.i0, part.row), add(shape.j0, part.lane)] : [shape.i0, shape.j0];
  return truth(shape.nest.mask, {
    ranges: new Map([
      [shape.row.v, { lo: i, hi: part ? imin(add(i, int(part.rows - 1)), lastRow) : lastRow }],
      [shape.over.v, { lo: j, hi: part ? imin(add(j, int(part.lanes - 1)), lastOver) : lastOver }],
    ]),
    load: (e): Bounds | undefined => {
      const reads = shape.reads(e);
      if (reads === ROW) return rows.ends(e);
      if (reads === OVER) return over.ends(e);
      return undefined;
    },
  });
}

/** Runs `body(all)` if the present tile has a pair inside the mask; `all`: every pair is, and the tile is whole. */
export function insideMask(shape: Shape, over: OverSide, rows: RowSide, body: (all: boolean) => readonly Stmt[]): readonly Stmt[] {
  const t = tileTruth(shape, over, rows);
  const full = shape.width.kind === "num" ? yes : apply("eq", "bool", shape.width, int(OVER_TILE));
  const either = (all: Expr): readonly Stmt[] => (all === yes ? body(true) : all === no ? body(false) : [ifS(all, body(true), body(false))]);
  if (t.surely === yes) return either(full);
  if (t.may === no) return [];
  const [all, run] = [freshName("all"), freshName("run")];
  const surely = local(all, "bool");
  if (decides(shape.nest.mask, shape)) {
    const inner = t.surely === no ? body(false) : [letS(all, t.surely), ...either(and(surely, full))];
    return t.may === yes ? inner : [ifS(t.may, inner)];
  }
  const inner: readonly Stmt[] =
    t.surely === no
      ? [varS(run, no), ...anyInside(shape, run, rows, over), ifS(local(run, "bool"), body(false))]
      : [
          letS(all, t.surely),
          varS(run, surely),
          ifS(not(surely), anyInside(shape, run, rows, over)),
          ifS(local(run, "bool"), either(and(surely, full))),
        ];
  return t.may === yes ? inner : [ifS(t.may, inner)];
}
/** Whether intervals settle that a pair is inside, so that none need be looked for: conditions that bound one and the same
 *  difference (or index) have a common solution in the box if any two have. */
function decides(mask: Expr, shape: Shape): boolean {
  const [still, several] = ["", "several"];
  /** The form that the condition bounds; undefined: intervals may err. */
  const form = (e: Expr): string | undefined => {
    const names = namesOf(e);
    if (!names.has(shape.row.v) && !names.has(shape.over.v)) return still;
    if (e.kind !== "call") return undefined;
    const [p, q] = e.args as readonly [Expr, Expr];
    if (e.prim === "and" || e.prim === "or") {
      const [a, b] = [form(p), form(q)];
      if (a === undefined || b === undefined) return undefined;
      if (e.prim === "or") return several;
      return a === still ? b : b === still || (a === b && a !== several) ? a : undefined;
    }
    if (!["lt", "le", "gt", "ge"].includes(e.prim) || p.type !== "int" || q.type !== "int") return undefined;
    const { of } = linear(sub(p, q));
    let [r, o] = [0, 0];
    for (const [atom, c] of of) {
      if (atom.kind === "var" && atom.name === shape.row.v) r = c;
      else if (atom.kind === "var" && atom.name === shape.over.v) o = c;
      else if (namesOf(atom).has(shape.row.v) || namesOf(atom).has(shape.over.v)) return undefined;
    }
    if (Math.abs(r) > 1 || Math.abs(o) > 1) return undefined;
    const sign = r < 0 || (r === 0 && o < 0) ? -1 : 1;
    return `${sign * r} ${sign * o}`;
  };
  return form(mask) !== undefined;
}
/** Sets `run` where a pair of the tile is inside: row after row from the last, until one has some. */
function anyInside(shape: Shape, run: string, rows: RowSide, over: OverSide): readonly Stmt[] {
  const [back, r, lane, any] = [freshName("row"), freshName("row"), freshName("lane"), freshName("any")];
  const mask = shape.one(over.resolve(shape.nest.mask), variable(r), variable(lane));
  const [x, y] = [local("x.e", "int"), local("y.e", "int")];
  return [
    loop(back, int(0), shape.rows, [
      ifS(not(local(run, "bool")), [
        letS(r, sub(sub(shape.rows, int(1)), variable(back))),
        ...rows.lets([shape.nest.mask], variable(r)),
        ...foldLoops(
          {
            over: [{ v: lane, extent: shape.width, max: OVER_TILE }],
            monoid: { names: ["e"], empty: [0], combine: [apply("max", "int", x, y)], kind: "max" },
            elements: [apply("select", "int", mask, int(1), int(0))],
            bind: [any],
          },
          "lanes",
        ),
        setS(run, apply("gt", "bool", local(any, "int"), int(0))),
      ]),
    ]),
  ];
}

/** For each group of rows of a tile the lanes that may be inside, and for each strip of lanes the rows, as statements that
 *  bind two names. Lanes begin at a strip. */
export interface LaneRanges {
  readonly loops: readonly Stmt[];
  readonly lanes: (row: Expr, from: string, to: string) => readonly Stmt[];
  readonly rows: (lane: Expr, from: string, to: string) => readonly Stmt[];
}
/** What lies outside changes nothing: tiles at a mask's edge are computed in part. undefined: nothing is known of parts of a
 *  tile. */
export function laneRanges(shape: Shape, over: OverSide, rows: RowSide): LaneRanges | undefined {
  const [row, lane, strip] = ["rows", "lane", "lane"].map(freshName) as [string, string, string];
  const { may } = tileTruth(shape, over, rows, { row: variable(row), lane: variable(lane), rows: ROWS, lanes: STRIP });
  if (may === yes) return undefined;
  const lanes = spanned(shape.rowTile, ROWS, STRIP, shape.width);
  const columns = spanned(OVER_TILE, STRIP, ROWS, shape.rows);
  const gathers = shape.nest.columns.length > 0;
  const found = [...lanes.widen(variable(row), variable(lane)), ...(gathers ? columns.widen(variable(lane), variable(row)) : [])];
  return {
    loops: [
      allocS(lanes.memory, "private"),
      ...(gathers ? [allocS(columns.memory, "private"), loop(strip, int(0), shape.width, columns.clear(variable(strip)), "serial", STRIP)] : []),
      loop(
        row,
        int(0),
        shape.rows,
        [...lanes.clear(variable(row)), loop(lane, int(0), shape.width, [ifS(may, found)], "serial", STRIP)],
        "serial",
        ROWS,
      ),
    ],
    lanes: lanes.lets,
    rows: columns.lets,
  };
}
/** Of each group of one side the least and the greatest index of the other, which is seen in ascending steps up to `end`. */
function spanned(size: number, group: number, step: number, end: Expr) {
  const memory = tile(freshName("inside"), "i32", Math.ceil(size / group), 2);
  const at = (i: Expr, which: 0 | 1): readonly Expr[] => [idiv(i, int(group)), int(which)];
  const value = (i: Expr, which: 0 | 1): Expr => load(memory, at(i, which));
  return {
    memory,
    clear: (i: Expr): readonly Stmt[] => [storeS(memory, at(i, 0), end), storeS(memory, at(i, 1), int(0))],
    widen: (i: Expr, along: Expr): readonly Stmt[] => [
      storeS(memory, at(i, 0), imin(value(i, 0), along)),
      storeS(memory, at(i, 1), imin(add(along, int(step)), end)),
    ],
    // Bounds that the printer knows keep indices to 32 bits.
    lets: (i: Expr, ...names: readonly [string, string]): readonly Stmt[] =>
      ([0, 1] as const).map((which) => letS(names[which], imax(int(0), imin(value(i, which), end)))),
  };
}

/** The same terms where the mask holds: its conjuncts are true wherever they stand. */
export function whereInside(mask: Expr, roots: readonly Expr[]): readonly Expr[] {
  const held = new Set<Expr>();
  const todo = [mask];
  for (let e = todo.pop(); e; e = todo.pop()) {
    held.add(e);
    if (e.kind === "call" && e.prim === "and") todo.push(...e.args);
  }
  const done = new Map<Expr, Expr>();
  for (const e of termsOf(roots)) {
    if (e.type === "bool" && held.has(e)) {
      done.set(e, yes);
      continue;
    }
    const parts = partsOf(e);
    const now = parts.map((p) => done.get(p) as Expr);
    done.set(e, now.every((p, i) => p === parts[i]) ? e : simpler(withParts(e, now)));
  }
  return roots.map((r) => done.get(r) as Expr);
}
function simpler(e: Expr): Expr {
  if (e.kind === "load") return e.inside === yes ? load(e.buffer, e.index) : e;
  if (e.kind !== "call") return e;
  const [p, q, r] = e.args as readonly [Expr, Expr, Expr];
  switch (e.prim) {
    case "and":
      return and(p, q);
    case "or":
      return or(p, q);
    case "not":
      return not(p);
    case "select":
      return p === yes ? q : p === no ? r : e;
    case "toReal":
      return p.type === "bool" && p.kind === "num" ? num(p.value, "real") : e;
    default:
      return e;
  }
}
