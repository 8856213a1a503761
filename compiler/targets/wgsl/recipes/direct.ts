// Contractions on an adapter that is the processor: each invocation makes a block of the result from operands that it loads from
// storage itself. What helps a GPU hurts there: workgroup memory is memory as any other, and costs its clearing by
// every invocation; at a barrier every invocation's state is put away and fetched again, which costs as much as a hundred
// multiplications. The processor's caches do what panels are for.
//
// Bits: an fma chain from 0 along k, as in a tile without slices (product.ts).
import { allocS, ifS, letS, loop, type Stmt, storeS, tile } from "../../../loop/ir.js";
import type { Product } from "../../../loop/product.js";
import { count, freshName, type Span, unflatten } from "../../../loop/spans.js";
import { add, asReal, ceilDiv, idiv, imin, imod, less, mul, rename, sub, termsOf } from "../../../loop/terms.js";
import { apply, type Buffer, type Expr, int, load, real, variable } from "../../../lower/expr.js";
import { Finish } from "./finish.js";
import { FOUR, four, inFours, unrolled, within } from "./fours.js";
import { type Layout, layoutsOf } from "./product.js";

export interface Block {
  /** Sums of an invocation, multiples of four. */
  readonly rows: number;
  readonly columns: number;
  readonly invocations: number;
}
/** Terms of an operand that is computed again by every invocation that needs it. */
const SHORT = 8;
export const isDirect = (p: Product): boolean => termsOf([p.a]).length <= SHORT && termsOf([p.b]).length <= SHORT;

interface Side {
  readonly value: Expr;
  readonly across: readonly Span[];
  /** The block's first row or column. */
  readonly base: Expr;
  readonly extent: Expr;
  readonly size: number;
  readonly layout: Layout;
  readonly registers: Buffer;
}

export function directProduct(p: Product, { rows, columns, invocations }: Block): readonly Stmt[] {
  const [B, M, N, K] = [count(p.batch), count(p.m), count(p.n), count(p.k)];
  /** Steps of k at a time. */
  const depth = K.kind === "num" && K.value % FOUR === 0 ? FOUR : 1;
  const [down, beside] = [ceilDiv(M, rows), ceilDiv(N, columns)];
  const blocks = mul(down, beside);
  const [item, group, own, block, row0, column0, k] = ["item", "blocks", "own", "block", "row", "column", "k"].map(freshName) as Names;
  const layouts = layoutsOf(p);
  const side = (stem: string, value: Expr, across: readonly Span[], base: string, extent: Expr, size: number, asked: Layout): Side => {
    const layout = depth === FOUR && inReach(value, p.k) ? asked : "wide";
    const registers = tile(freshName(stem), "f32", ...(layout === "deep" ? [size, FOUR] : [size]));
    return { value: asReal(value), across, base: variable(base), extent, size, layout, registers };
  };
  const a = side("a_own", p.a, p.m, row0, M, rows, layouts.a);
  const b = side("b_own", p.b, p.n, column0, N, columns, layouts.b);
  const sums = tile(freshName("sums"), "f32", rows, columns);

  /** Beyond the end the last is read again, and its sums are not stored. */
  const at = (s: Side, i: Expr): Expr => {
    const place = add(s.base, i);
    return within(place, s.extent, s.size) === null ? place : imin(place, sub(s.extent, int(1)));
  };
  /** Rows of four neighbours along k. */
  const deep = (s: Side): readonly Stmt[] =>
    s.layout === "wide"
      ? []
      : [
          unrolled(s.size, (i) => [
            ...unflatten(s.across, at(s, i)),
            ...unflatten(p.k, variable(k)),
            ...fours(s.value, p.k, s.registers, (v) => [i, v]),
          ]),
        ];
  /** All rows at one step of k. */
  const wide = (s: Side, j: Expr): readonly Stmt[] => {
    if (s.layout === "deep") return [];
    const depths = unflatten(p.k, add(variable(k), j));
    if (within(s.base, s.extent, s.size) === null && inReach(s.value, s.across))
      return [
        unrolled(s.size / FOUR, (i) => [
          ...unflatten(s.across, add(s.base, mul(i, int(FOUR)))),
          ...depths,
          ...fours(s.value, s.across, s.registers, (v) => [add(mul(i, int(FOUR)), v)]),
        ]),
      ];
    return [unrolled(s.size, (i) => [...unflatten(s.across, at(s, i)), ...depths, storeS(s.registers, [i], s.value)])];
  };
  const own4 = (s: Side, i: Expr, j: Expr) => load(s.registers, s.layout === "deep" ? [i, j] : [i]);
  const multiplied = (j: Expr) =>
    unrolled(rows, (r) => [unrolled(columns, (c) => [storeS(sums, [r, c], apply("fma", "real", own4(a, r, j), own4(b, c, j), load(sums, [r, c])))])]);
  const step = [
    allocS(a.registers, "private"),
    allocS(b.registers, "private"),
    ...deep(a),
    ...deep(b),
    unrolled(depth, (j) => [...wide(a, j), ...wide(b, j), multiplied(j)]),
  ];

  const finish = new Finish(p, M, N);
  // A long epilogue is written once, and takes its sums from memory.
  const from = finish.long ? tile(freshName("finished"), "f32", rows, columns) : sums;
  const [r, c] = [freshName("r"), freshName("c")];
  const [i, j] = [variable(r), mul(variable(c), int(FOUR))];
  const bind = finish.long ? "serial" : "unroll";
  const cell = finish.four(add(a.base, i), add(b.base, j), rows, columns, (v) => load(from, [i, add(j, v)]));
  const copied = unrolled(rows, (x) => [unrolled(columns, (y) => [storeS(from, [x, y], load(sums, [x, y]))])]);
  const invocation = [
    letS(row0, mul(idiv(variable(block), beside), int(rows))),
    letS(column0, mul(imod(variable(block), beside), int(columns))),
    allocS(sums, "private"),
    unrolled(rows, (x) => [unrolled(columns, (y) => [storeS(sums, [x, y], real(0))])]),
    loop(k, int(0), K, step, "serial", depth),
    ...(finish.long ? [allocS(from, "private"), copied] : []),
    ...finish.memory,
    loop(r, int(0), int(rows), [loop(c, int(0), int(columns / FOUR), cell, bind)], bind),
  ];
  const whole = blocks.kind === "num" && blocks.value % invocations === 0;
  const each = [letS(block, add(variable(group), variable(own))), ...(whole ? invocation : [ifS(less(variable(block), blocks), invocation)])];
  const workgroup = [...unflatten(p.batch, variable(item)), loop(own, int(0), int(invocations), each, "local")];
  return [loop(item, int(0), B, [loop(group, int(0), blocks, workgroup, "workgroup", invocations)], "workgroup")];
}
type Names = [string, string, string, string, string, string, string];

/** Are four neighbours along these spans one load? */
const inReach = (value: Expr, along: readonly Span[]): boolean =>
  value.kind === "load" && value.inside === null && value.type === "real" && inFours(value.buffer, value.index, along);
/** Four neighbours along the last of these spans, of which the first is named. */
function fours(value: Expr, along: readonly Span[], to: Buffer, place: (lane: Expr) => readonly Expr[]): readonly Stmt[] {
  if (value.kind !== "load") throw new Error("four neighbours of what is no load"); // inReach says so
  const { v: last } = along.at(-1) as Span;
  const from = (v: Expr) => load(value.buffer, rename(value.index, new Map([[last, add(variable(last), v)]])));
  return [four((v) => [storeS(to, place(v), from(v))])];
}
