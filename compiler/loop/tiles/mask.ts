// Which tiles run: those with a pair inside the mask, and no others. For a tile's box of indices interval arithmetic tells
// whether some pair may be inside and whether all surely are; a tile in between is tested pair by pair until one is
// found. Where all are inside, the elements are computed without their tests.
import { apply, type Expr, int, load, local, num, partsOf, variable } from "../../lower/expr.js";
import { and, no, not, or, yes } from "../../lower/ints.js";
import { foldLoops } from "../fold.js";
import { ifS, letS, loop, type Stmt, setS, varS } from "../ir.js";
import { freshName } from "../spans.js";
import { add, sub, termsOf, withParts } from "../terms.js";
import { type Bounds, type Truth, truth } from "./bounds.js";
import type { OverSide } from "./prepare.js";
import type { RowSide } from "./rows.js";
import { OVER, OVER_TILE, ROW, type Shape } from "./shape.js";

/** The mask over the present tile's box; data that it reads by one side's index count by their ends. */
export function tileTruth(shape: Shape, over: OverSide, rows: RowSide): Truth {
  const lastRow = sub(add(shape.i0, shape.rows), int(1));
  const lastOver = sub(add(shape.j0, shape.width), int(1));
  return truth(shape.nest.mask, {
    ranges: new Map([
      [shape.row.v, { lo: shape.i0, hi: lastRow }],
      [shape.over.v, { lo: shape.j0, hi: lastOver }],
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
  const { extent } = shape.over;
  const full = extent.kind === "num" && extent.value % OVER_TILE === 0 ? yes : apply("eq", "bool", shape.width, int(OVER_TILE));
  const either = (all: Expr): readonly Stmt[] => (all === yes ? body(true) : all === no ? body(false) : [ifS(all, body(true), body(false))]);
  if (t.surely === yes) return either(full);
  if (t.may === no) return [];
  const [all, run] = [freshName("all"), freshName("run")];
  const surely = local(all, "bool");
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
