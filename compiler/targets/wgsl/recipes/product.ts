// Contractions, the mechanism: a workgroup makes a tile of the result. It walks k in panels: its invocations stage a panel of a
// and one of b in workgroup memory, four elements at a time, computing what the operands are made of; then each
// invocation reads its rows and columns of them, four at a time, into registers and adds to its block of sums. What becomes
// of the sums is computed from the finished block.
//
// A panel lies as its operand does, so that four elements are one load: `wide`, [k][row], where neighbouring rows are
// neighbours in memory, `deep`, [row][k] (four words longer, so that rows do not meet in one bank), where neighbours along k
// are. An invocation's columns of a wide panel are runs of four, of a deep one lie X apart: neighbouring
// invocations then read neighbouring words.
//
// Results too few to fill workgroups have invocations in `slices` too: each slice takes its part of every panel, and
// slices are added in order in the end.
//
// Bits: an fma chain from 0 along k in each slice. Staged zeros beyond k's end change nothing.
import { allocS, type For, letS, loop, type Stmt, storeS, tile } from "../../../loop/ir.js";
import type { Product } from "../../../loop/product.js";
import { affinity, count, freshName, type Span, unflatten } from "../../../loop/spans.js";
import { add, asReal, idiv, imod, less, mul, rename, termsOf } from "../../../loop/terms.js";
import { apply, type Buffer, type Expr, int, load, real, variable } from "../../../lower/expr.js";
import { Finish } from "./finish.js";
import { FOUR, four, inFours, unrolled, when, within } from "./fours.js";
import { barrier } from "./lanes.js";

export interface Shape {
  /** Invocations along rows and columns. */
  readonly y: number;
  readonly x: number;
  /** Sums of one invocation along rows and columns, multiples of four. */
  readonly rows: number;
  readonly columns: number;
  readonly slices: 1 | 4;
  /** Of a slice's part of a panel, along k: a multiple of four. */
  readonly depth: number;
}
export type Layout = "wide" | "deep";
/** Words between rows of a deep panel, beside its own. */
const PAD = 4;
/** Terms of an element that is written out for each. */
const SHORT = 12;

const layoutOf = (value: Expr, across: readonly Span[], k: readonly Span[]): Layout => {
  const score = (spans: readonly Span[]) => {
    const last = spans.at(-1);
    return last ? affinity(last.v, { terms: [value], stores: [] }) : 0;
  };
  return score(k) > score(across) ? "deep" : "wide";
};
/** Both operands' layouts: what registers and workgroup memory a shape takes depends on them. */
export const layoutsOf = (p: Product): { readonly a: Layout; readonly b: Layout } => ({ a: layoutOf(p.a, p.m, p.k), b: layoutOf(p.b, p.n, p.k) });
const panelWords = (layout: Layout, across: number, deep: number) => (layout === "wide" ? across * deep : across * (deep + PAD));
/** Bytes of workgroup memory. */
export function memoryOf(s: Shape, l: { readonly a: Layout; readonly b: Layout }): number {
  const [m, n] = [s.y * s.rows, s.x * s.columns];
  const sums = s.slices > 1 ? s.slices * m * n : 0;
  return 4 * (panelWords(l.a, m, s.depth * s.slices) + panelWords(l.b, n, s.depth * s.slices) + sums);
}

const repeated = (n: number, body: (i: Expr) => readonly Stmt[]): Stmt => ({ ...(unrolled(n, body) as For), bind: "serial" });

interface Side {
  readonly value: Expr;
  readonly across: readonly Span[];
  /** Of the workgroup's tile. */
  readonly base: Expr;
  readonly size: number;
  readonly layout: Layout;
  readonly panel: Buffer;
}

export function tiledProduct(p: Product, s: Shape): readonly Stmt[] {
  const layouts = layoutsOf(p);
  const [B, M, N, K] = [count(p.batch), count(p.m), count(p.n), count(p.k)];
  const [tileM, tileN, deep] = [s.y * s.rows, s.x * s.columns, s.depth * s.slices];
  const [item, row0, column0, z, y, x, step] = ["item", "row", "column", "slice", "y", "x", "step"].map(freshName) as Names;
  const at = { row: variable(row0), column: variable(column0), z: s.slices > 1 ? variable(z) : int(0), y: variable(y), x: variable(x) };
  const invocations = s.slices * s.y * s.x;
  const own = add(mul(add(mul(at.z, int(s.y)), at.y), int(s.x)), at.x);
  const panelOf = (stem: string, layout: Layout, across: number) =>
    tile(freshName(stem), "f32", ...(layout === "wide" ? [deep, across] : [across, deep + PAD]));
  const a: Side = { value: asReal(p.a), across: p.m, base: at.row, size: tileM, layout: layouts.a, panel: panelOf("a_panel", layouts.a, tileM) };
  const b: Side = { value: asReal(p.b), across: p.n, base: at.column, size: tileN, layout: layouts.b, panel: panelOf("b_panel", layouts.b, tileN) };
  const sums = tile(freshName("sums"), "f32", s.rows, s.columns);

  /** The workgroup's invocations fill a panel, each a group of four in turn. */
  const staged = (side: Side, size: Expr): readonly Stmt[] => {
    const wide = side.layout === "wide";
    const inLine = (wide ? side.size : deep) / FOUR;
    const groups = (side.size * deep) / FOUR;
    // A turn goes on by whole lines, or stays in one.
    const turns = Math.ceil(groups / invocations);
    const turn = freshName("turn");
    const [along, other] = [freshName("along"), freshName("line")];
    const lines = invocations / inLine;
    const g = add(mul(variable(turn), int(invocations)), own);
    const first =
      Number.isInteger(lines) && lines >= 1
        ? [letS(along, mul(imod(own, int(inLine)), int(FOUR))), letS(other, add(mul(variable(turn), int(lines)), idiv(own, int(inLine))))]
        : [letS(along, mul(imod(g, int(inLine)), int(FOUR))), letS(other, idiv(g, int(inLine)))];
    const [lane, depth] = wide ? [variable(along), variable(other)] : [variable(other), variable(along)];
    const [i, kk] = [add(side.base, lane), add(variable(step), depth)];
    const line = wide ? [depth, lane] : [lane, depth];
    const place = (v: Expr) => [line[0] as Expr, add(line[1] as Expr, v)];
    const { value } = side;
    const filled = (): readonly Stmt[] => {
      if (value.kind === "load" && value.inside === null && inFours(value.buffer, value.index, wide ? side.across : p.k)) {
        const last = ((wide ? side.across : p.k).at(-1) as Span).v;
        const from = (v: Expr) => load(value.buffer, rename(value.index, new Map([[last, add(variable(last), v)]])));
        const inside = [within(i, size, side.size), within(kk, K, deep)];
        const names = [...unflatten(side.across, i), ...unflatten(p.k, kk)];
        const zeros = [four((v) => [storeS(side.panel, place(v), real(0))])];
        return when(inside, [...names, four((v) => [storeS(side.panel, place(v), from(v))])], zeros);
      }
      const elements = tile(freshName("elements"), "f32", FOUR);
      const each = (j: Expr) => {
        const [ij, kj] = wide ? [add(i, j), kk] : [i, add(kk, j)];
        const inside = [within(ij, size, side.size), within(kj, K, deep)];
        const element = [...unflatten(side.across, ij), ...unflatten(p.k, kj), storeS(elements, [j], value)];
        return when(inside, element, [storeS(elements, [j], real(0))]);
      };
      // What is long is written once.
      const lanes = termsOf([value]).length > SHORT ? repeated : unrolled;
      return [allocS(elements, "private"), lanes(FOUR, each), four((v) => [storeS(side.panel, place(v), load(elements, [v]))])];
    };
    const all = groups % invocations === 0 ? null : less(g, int(groups));
    return [loop(turn, int(0), int(turns), when([all], [...first, ...filled()]))];
  };

  /** The place of an invocation's row or column in the tile. */
  const rowOf = (r: Expr) => add(mul(at.y, int(s.rows)), r);
  const columnOf = (c: Expr, lane: Expr = int(0)): Expr => {
    if (layouts.b === "deep") return add(mul(c, int(s.x)), at.x);
    // c: a group of four.
    return add(add(mul(c, int(FOUR * s.x)), mul(at.x, int(FOUR))), lane);
  };
  const registers = (stem: string, layout: Layout, n: number) => tile(freshName(stem), "f32", ...(layout === "wide" ? [n] : [n, FOUR]));
  const [ra, rb] = [registers("a_own", layouts.a, s.rows), registers("b_own", layouts.b, s.columns)];
  const k4 = freshName("k");
  const depthAt = add(mul(at.z, int(s.depth)), variable(k4));
  const deepLoads: readonly Stmt[] = [
    ...(layouts.a === "deep" ? [unrolled(s.rows, (r) => [four((v) => [storeS(ra, [r, v], load(a.panel, [rowOf(r), add(depthAt, v)]))])])] : []),
    ...(layouts.b === "deep" ? [unrolled(s.columns, (c) => [four((v) => [storeS(rb, [c, v], load(b.panel, [columnOf(c), add(depthAt, v)]))])])] : []),
  ];
  const wideLoads = (j: Expr): readonly Stmt[] => [
    ...(layouts.a === "wide"
      ? [
          unrolled(s.rows / FOUR, (r) => [
            four((v) => {
              const i = add(mul(r, int(FOUR)), v);
              return [storeS(ra, [i], load(a.panel, [add(depthAt, j), rowOf(i)]))];
            }),
          ]),
        ]
      : []),
    ...(layouts.b === "wide"
      ? [
          unrolled(s.columns / FOUR, (c) => [
            four((v) => [storeS(rb, [add(mul(c, int(FOUR)), v)], load(b.panel, [add(depthAt, j), columnOf(c, v)]))]),
          ]),
        ]
      : []),
  ];
  const of = (r: Buffer, layout: Layout, i: Expr, j: Expr) => load(r, layout === "wide" ? [i] : [i, j]);
  const multiplied = loop(
    k4,
    int(0),
    int(s.depth),
    [
      allocS(ra, "private"),
      allocS(rb, "private"),
      ...deepLoads,
      unrolled(FOUR, (j) => [
        ...wideLoads(j),
        unrolled(s.rows, (r) => [
          unrolled(s.columns, (c) => [
            storeS(sums, [r, c], apply("fma", "real", of(ra, layouts.a, r, j), of(rb, layouts.b, c, j), load(sums, [r, c]))),
          ]),
        ]),
      ]),
    ],
    "serial",
    FOUR,
  );
  const product = loop(step, int(0), K, [...staged(a, M), ...staged(b, N), barrier, multiplied, barrier], "serial", deep);
  const cleared = unrolled(s.rows, (r) => [unrolled(s.columns, (c) => [storeS(sums, [r, c], real(0))])]);

  /** What becomes of four sums side by side, or of one. */
  const finish = new Finish(p, M, N);
  const board = tile(freshName("slices"), "f32", s.slices, tileM, tileN);
  const finished = (): readonly Stmt[] => {
    if (s.slices > 1) {
      // As many invocations as groups of four cells: each adds up and finishes one.
      const [r, c] = [idiv(own, int(tileN / FOUR)), mul(imod(own, int(tileN / FOUR)), int(FOUR))];
      const part = (i: number, v: Expr) => load(board, [int(i), r, add(c, v)]);
      const sum = (v: Expr) => Array.from({ length: FOUR - 1 }, (_, i) => part(i + 1, v)).reduce((e, t) => apply("add", "real", e, t), part(0, v));
      const parts = layouts.b === "wide" ? s.columns / FOUR : s.columns;
      return [
        unrolled(s.rows, (i) => [
          unrolled(parts, (j) =>
            layouts.b === "wide"
              ? [four((v) => [storeS(board, [at.z, rowOf(i), columnOf(j, v)], load(sums, [i, add(mul(j, int(FOUR)), v)]))])]
              : [storeS(board, [at.z, rowOf(i), columnOf(j)], load(sums, [i, j]))],
          ),
        ]),
        barrier,
        ...finish.memory,
        ...finish.four(add(at.row, r), add(at.column, c), tileM, tileN, sum),
      ];
    }
    // A long epilogue is written once, and takes its sums from memory.
    const from = finish.long ? tile(freshName("finished"), "f32", s.rows, s.columns) : sums;
    const [r, c] = [freshName("r"), freshName("c")];
    const [i, j] = [variable(r), variable(c)];
    const bind = finish.long ? "serial" : "unroll";
    const columns = layouts.b === "wide" ? s.columns / FOUR : s.columns;
    const sum = (v: Expr) => load(from, [i, layouts.b === "wide" ? add(mul(j, int(FOUR)), v) : j]);
    const cell =
      layouts.b === "wide"
        ? finish.four(add(at.row, rowOf(i)), add(at.column, columnOf(j)), tileM, tileN, sum)
        : finish.one(add(at.row, rowOf(i)), add(at.column, columnOf(j)), tileM, tileN, sum(int(0)));
    const copied = unrolled(s.rows, (k) => [unrolled(s.columns, (l) => [storeS(from, [k, l], load(sums, [k, l]))])]);
    return [
      ...(finish.long ? [allocS(from, "private"), copied] : []),
      ...(layouts.b === "wide" ? finish.memory : []),
      loop(r, int(0), int(s.rows), [loop(c, int(0), int(columns), cell, bind)], bind),
    ];
  };
  const invocation = [allocS(sums, "private"), cleared, product, ...finished()];
  const across = loop(y, int(0), int(s.y), [loop(x, int(0), int(s.x), invocation, "local")], "local");
  const workgroup = [
    allocS(a.panel, "workgroup"),
    allocS(b.panel, "workgroup"),
    ...(s.slices > 1 ? [allocS(board, "workgroup")] : []),
    ...unflatten(p.batch, variable(item)),
    s.slices > 1 ? loop(z, int(0), int(s.slices), [across], "local") : across,
  ];
  const columns = loop(column0, int(0), N, workgroup, "workgroup", tileN);
  return [loop(item, int(0), B, [loop(row0, int(0), M, [columns], "workgroup", tileM)], "workgroup")];
}
type Names = [string, string, string, string, string, string, string];
