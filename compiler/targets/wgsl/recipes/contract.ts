// The workgroup-tiled matrix product, as loop IR. A workgroup of 16 × 16 invocations computes 64 × 64 cells: it stages
// 64 × 16 elements of a and 16 × 64 of b in workgroup memory (8 KiB), and each invocation keeps 4 × 4 sums. What a and
// b are made of is computed while staging, what becomes of the sum from the finished block.
//
// Bits: chunks of 256 along k, an fma chain from 0 in each, chunks added in order. Staged zeros beyond k's end change nothing.

import { CHUNK } from "../../../loop/fold.js";
import { allocS, ifS, letS, loop, type Stmt, storeS, tile } from "../../../loop/ir.js";
import { count, freshName, spanOf, unflatten } from "../../../loop/spans.js";
import { add, idiv, imin, imod, less, mul } from "../../../loop/terms.js";
import { apply, type Expr, int, load, local, real, variable } from "../../../lower/expr.js";
import type { Nest, Store } from "../../../lower/nest.js";

const SIDE = 16;
const EACH = 4;
const TILE = SIDE * EACH;
const DEPTH = 16;

export function contract(nest: Extract<Nest, { form: "contract" }>): readonly Stmt[] {
  const [batch, m, n, k] = [nest.batch.map(spanOf), nest.m.map(spanOf), nest.n.map(spanOf), nest.k.map(spanOf)] as const;
  const [B, M, N, K] = [count(batch), count(m), count(n), count(k)];
  const [item, row0, column0, y, x, chunk, step] = ["item", "row", "column", "y", "x", "chunk", "step"].map(freshName) as Names;
  const at = { item: variable(item), row: variable(row0), column: variable(column0), y: variable(y), x: variable(x), step: variable(step) };
  const aTile = tile(freshName("a_tile"), "f32", DEPTH, TILE);
  const bTile = tile(freshName("b_tile"), "f32", DEPTH, TILE);
  const part = tile(freshName("part"), "f32", EACH, EACH);
  const total = tile(freshName("total"), "f32", EACH, EACH);

  /** For each of the invocation's own cells. */
  const cells = (body: (r: Expr, c: Expr) => readonly Stmt[]): Stmt => {
    const [r, c] = [freshName("r"), freshName("c")];
    return loop(r, int(0), int(EACH), [loop(c, int(0), int(EACH), body(variable(r), variable(c)), "unroll")], "unroll");
  };
  const cleared = (b: typeof part): Stmt => cells((r, c) => [storeS(b, [r, c], real(0))]);
  /** The workgroup's invocations fill a tile, each every 256th element; `turned`: neighbours along the tile's depth. */
  const staged = (to: typeof aTile, value: Expr, across: Spans, base: Expr, size: Expr, turned: boolean): Stmt => {
    const turn = freshName("turn");
    const element = add(mul(variable(turn), int(SIDE * SIDE)), add(mul(at.y, int(SIDE)), at.x));
    const depth = turned ? imod(element, int(DEPTH)) : idiv(element, int(TILE));
    const lane = turned ? idiv(element, int(DEPTH)) : imod(element, int(TILE));
    const [i, kk] = [add(base, lane), add(at.step, depth)];
    return loop(
      turn,
      int(0),
      int((TILE * DEPTH) / (SIDE * SIDE)),
      [
        ifS(
          apply("and", "bool", less(i, size), less(kk, K)),
          [...unflatten(across, i), ...unflatten(k, kk), storeS(to, [depth, lane], value)],
          [storeS(to, [depth, lane], real(0))],
        ),
      ],
      "unroll",
    );
  };
  const kk = freshName("k");
  const multiplied = loop(kk, int(0), int(DEPTH), [
    cells((r, c) => [
      storeS(
        part,
        [r, c],
        apply(
          "fma",
          "real",
          load(aTile, [variable(kk), add(mul(at.y, int(EACH)), r)]),
          load(bTile, [variable(kk), add(mul(at.x, int(EACH)), c)]),
          load(part, [r, c]),
        ),
      ),
    ]),
  ]);
  const barrier: Stmt = { s: "barrier", scope: "workgroup" };
  const product = loop(
    chunk,
    int(0),
    K,
    [
      cleared(part),
      loop(
        step,
        variable(chunk),
        imin(add(variable(chunk), int(CHUNK)), K),
        [staged(aTile, nest.a, m, at.row, M, true), staged(bTile, nest.b, n, at.column, N, false), barrier, multiplied, barrier],
        "serial",
        DEPTH,
      ),
      cells((r, c) => [storeS(total, [r, c], apply("add", "real", load(total, [r, c]), load(part, [r, c])))]),
    ],
    "serial",
    CHUNK,
  );
  const values = nest.stores.map(() => freshName("value"));
  const stored = cells((r, c) => {
    const row = add(at.row, add(mul(at.y, int(EACH)), r));
    const column = add(at.column, add(mul(at.x, int(EACH)), c));
    return [
      ifS(apply("and", "bool", less(row, M), less(column, N)), [
        ...unflatten(m, row),
        ...unflatten(n, column),
        letS("sum", load(total, [r, c])),
        // Every value before any store: state updated in place reads its old value.
        ...values.map((name, i) => letS(name, (nest.stores[i] as Store).value)),
        ...nest.stores.map((s, i) => storeS(s.buffer, s.index, local(values[i] as string, s.value.type))),
      ]),
    ];
  });
  const invocation = [allocS(part, "private"), allocS(total, "private"), cleared(total), product, stored];
  const workgroup = [
    allocS(aTile, "workgroup"),
    allocS(bTile, "workgroup"),
    ...unflatten(batch, at.item),
    loop(y, int(0), int(SIDE), [loop(x, int(0), int(SIDE), invocation, "local")], "local"),
  ];
  const columns = loop(column0, int(0), N, workgroup, "workgroup", TILE);
  return [loop(item, int(0), B, [loop(row0, int(0), M, [columns], "workgroup", TILE)], "workgroup")];
}
type Spans = readonly ReturnType<typeof spanOf>[];
type Names = [string, string, string, string, string, string, string];
