// Columns: sums over the rows, with a result at each index of the over side. They are gathered in memory while row tiles
// pass by, in the order of rows, so a batch belongs to one thread. Where the result is the plain sum it is its own memory.
import { type Buffer, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { TileColumn } from "../../lower/nest.js";
import { allocS, loop, type Place, type Stmt, storeS, tile } from "../ir.js";
import { freshName, inOrder, spanOf } from "../spans.js";
import { add, coefficient, offset, rename } from "../terms.js";
import type { Operand } from "./prepare.js";
import { COLUMNS, OVER_TILE, packedIndex, packedSize, padded, type Shape } from "./shape.js";

export interface ColumnTarget {
  readonly allocs: readonly Stmt[];
  readonly operand: Operand;
  /** At a lane of the present tile and a column. */
  readonly place: (lane: Expr, column: Expr) => Place;
  readonly stride: number;
  /** Before the first and after the last row tile of a batch. */
  readonly clear: readonly Stmt[];
  readonly finish: readonly Stmt[];
}

export function columnTarget(shape: Shape, c: TileColumn, operand: Operand): ColumnTarget {
  const n = c.n.map(spanOf);
  const { over, overLead } = shape;
  const { store } = c;
  const everywhere = (body: Stmt): readonly Stmt[] => {
    const loops = [...overLead, over, ...n];
    const last = loops.at(-1) as (typeof loops)[number]; // there is the over axis at least
    return inOrder(loops.slice(0, -1), [loop(last.v, int(0), last.extent, [body], "vector")]);
  };
  const direct = inOwn(shape, c);
  if (direct !== undefined) {
    const place = (lane: Expr, column: Expr): Place => {
      const index = rename(store.index, new Map([...n.map((s) => [s.v, int(0)] as const), [over.v, add(shape.j0, lane)]]));
      const end = index.at(-1);
      return { buffer: store.buffer, index: end ? [...index.slice(0, -1), add(end, column)] : index };
    };
    return { allocs: [], operand, place, stride: direct, clear: everywhere(storeS(store.buffer, store.index, num(0, "real"))), finish: [] };
  }
  const width = padded(packedSize(n), COLUMNS);
  const b: Buffer = tile(freshName("columns"), "f32", ...overLead.map((s) => Math.max(1, s.max)), shape.maxOverTiles * OVER_TILE, width);
  const lead = overLead.map((s) => variable(s.v));
  const [j, column] = [freshName("over"), freshName("column")];
  const total = load(b, [...lead, variable(over.v), packedIndex(n)]);
  const value = rename([store.value], new Map([["sum", total]]))[0] as Expr;
  return {
    allocs: [allocS(b, "scratch")],
    operand,
    place: (lane, at) => ({ buffer: b, index: [...lead, add(shape.j0, lane), at] }),
    stride: width,
    clear: inOrder(overLead, [
      loop(j, int(0), over.extent, [
        loop(column, int(0), int(width), [storeS(b, [...lead, variable(j), variable(column)], num(0, "real"))], "vector"),
      ]),
    ]),
    finish: everywhere(storeS(store.buffer, store.index, value)),
  };
}
/** The stride of results along the over axis, where the stored value is the sum itself and whole panels fit. */
function inOwn(shape: Shape, c: TileColumn): number | undefined {
  const { store } = c;
  const n = c.n.map(spanOf);
  if (store.value !== local("sum", "real") || store.buffer.dtype !== "f32" || packedSize(n) % COLUMNS !== 0) return undefined;
  if (n.length === 0 || n.some((s) => s.extent.kind !== "num")) return undefined;
  const at = offset(store.buffer, store.index);
  let step = 1;
  for (const s of [...n].reverse()) {
    if (s.max > 1 && coefficient(at, s.v) !== step) return undefined;
    step *= s.max;
  }
  return coefficient(at, shape.over.v);
}
