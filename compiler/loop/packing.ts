// Panels of a product's operands: what an operand is made of is computed while it is packed, walking it in the direction in
// which it is contiguous; where that is along the sum, squares of 8 × 8 are read and turned.
import { apply, type Buffer, type Expr, int, variable } from "../lower/expr.js";
import { PANEL_COLUMNS, useS } from "./instructions.js";
import { ifS, loop, type Place, type Stmt, storeS } from "./ir.js";
import { affinity, freshName, indexed, type Span, uniform } from "./spans.js";
import { add, imod, rename, sub } from "./terms.js";

export interface Packing {
  readonly value: Expr;
  readonly across: readonly Span[];
  readonly k: readonly Span[];
  /** Flat index of the panel's first row or column, and how many it has (`full`: the condition that it has all). */
  readonly base: Expr;
  readonly width: number;
  readonly have: Expr;
  readonly full: Expr | undefined;
  readonly target: (kk: Expr, lane: Expr) => Place;
  readonly stride: number;
  readonly k0: Expr;
  readonly depth: Expr;
  readonly square: Buffer;
  /** Fill what a partial panel lacks with zeros. */
  readonly pad: boolean;
}
/** Fills one panel [depth][width] from an operand, walking the operand in the direction in which it is contiguous. */
export function panelPacker(p: Packing): readonly Stmt[] {
  const at = p.value.kind === "load" ? p.value : undefined;
  const work = { terms: [p.value], stores: [] };
  const lastK = p.k.at(-1);
  const lastX = p.across.at(-1);
  const acrossScore = lastX ? affinity(lastX.v, work) : 0;
  const kScore = lastK ? affinity(lastK.v, work) : 0;
  const turned =
    lastK !== undefined &&
    lastK.max >= 8 &&
    kScore > acrossScore &&
    uniform(p.k, 8) &&
    uniform(p.across, 8) &&
    !(at && (at.buffer.dtype === "i32" || at.buffer.dtype === "bool"));
  const edge = straight(p, p.have, p.pad ? p.width : undefined);
  const whole = turned ? transposed(p) : straight(p, int(p.width), undefined);
  return p.full ? [ifS(p.full, whole, edge)] : whole;
}
function straight(p: Packing, width: Expr, padTo: number | undefined): readonly Stmt[] {
  const [kk, lane, rest] = [freshName("k"), freshName("lane"), freshName("lane")];
  const x = indexed(p.across, p.base, variable(lane), p.width);
  const k = indexed(p.k, add(p.k0, variable(kk)), int(0), 1 << 30);
  const value = rename(rename([p.value], x.to), k.to)[0] as Expr;
  const store = (at: Place, e: Expr) => storeS(at.buffer, at.index, e);
  return [
    ...x.lets,
    loop(kk, int(0), p.depth, [
      ...k.lets,
      ...k.inner,
      loop(lane, int(0), width, [...x.inner, store(p.target(variable(kk), variable(lane)), value)], "vector"),
      ...(padTo === undefined
        ? []
        : [loop(rest, width, int(padTo), [store(p.target(variable(kk), variable(rest)), apply("toReal", "real", int(0)))])]),
    ]),
  ];
}
/** Squares of 8 × 8, read along k and turned. */
function transposed(p: Packing): readonly Stmt[] {
  const [kk, row, lane, tail, r2] = [freshName("k"), freshName("row"), freshName("lane"), freshName("k"), freshName("row")];
  const whole = p.depth.kind === "num" && p.depth.value % 8 === 0 ? p.depth : sub(p.depth, imod(p.depth, int(8)));
  const square = (start: Expr, n: number): Stmt => {
    const x = indexed(p.across, p.base, add(variable(row), start), p.width);
    const k = indexed(p.k, add(p.k0, variable(kk)), variable(lane), 8);
    const value = rename(rename([p.value], x.to), k.to)[0] as Expr;
    return loop(
      kk,
      int(0),
      whole,
      [
        ...x.lets,
        ...k.lets,
        loop(
          row,
          int(0),
          int(n),
          [...x.inner, loop(lane, int(0), int(8), [...k.inner, storeS(p.square, [variable(row), variable(lane)], value)], "vector")],
          "unroll",
        ),
        useS("transpose8", [{ buffer: p.square, index: [int(0), int(0)] }, p.target(variable(kk), start)], [int(p.stride)]),
      ],
      "serial",
      8,
    );
  };
  // Few squares across are written out, many are a loop. A square writes whole vectors: of a panel whose width is no multiple
  // of eight the last writes into the next k's place, before the others write what belongs there.
  const across = freshName("across");
  const squares: readonly Stmt[] =
    p.width % 8 === 0 && p.width > PANEL_COLUMNS
      ? [loop(across, int(0), int(p.width), [square(variable(across), 8)], "serial", 8)]
      : Array.from({ length: Math.ceil(p.width / 8) }, (_, i) => square(int(8 * i), Math.min(8, p.width - 8 * i))).reverse();
  if (p.depth.kind === "num" && p.depth.value % 8 === 0) return squares;
  const x = indexed(p.across, p.base, variable(r2), p.width);
  const k = indexed(p.k, add(p.k0, variable(tail)), int(0), 1 << 30);
  const value = rename(rename([p.value], x.to), k.to)[0] as Expr;
  const at = p.target(variable(tail), variable(r2));
  return [
    ...squares,
    ...x.lets,
    loop(tail, whole, p.depth, [...k.lets, ...k.inner, loop(r2, int(0), int(p.width), [...x.inner, storeS(at.buffer, at.index, value)])]),
  ];
}
