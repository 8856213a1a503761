// The row side of a tile: what reads only row indices (and the batch's) is computed once a row tile, before the over tiles pass
// by: operands of dots packed [row][k], operands of columns [row][n], folds over small axes, dear values of a row. And the
// state of the folds, a value (or a row of sums) for each row.
import { type Buffer, type Expr, int, load, local, variable } from "../../lower/expr.js";
import type { TileColumn, TileFold } from "../../lower/nest.js";
import { emptyOf, foldLoops } from "../fold.js";
import { allocS, letS, loop, type Stmt, storeS, tile } from "../ir.js";
import { freshName, inOrder, maxCount, type Span, spanOf } from "../spans.js";
import { add, mul, namesOf, rename } from "../terms.js";
import { dtypeOf, endsOf, inPlace, type Operand, type Panel, packRow } from "./prepare.js";
import { COLUMNS, packedSize, padded, ROW, type Shape } from "./shape.js";

interface PackedDot {
  readonly buffer: Buffer;
  readonly a: Expr;
  readonly k: readonly Span[];
}
export class RowSide {
  readonly allocs: Stmt[] = [];
  /** Computed at the start of a row tile. */
  readonly prologue: Stmt[] = [];
  /** Where the row's value of a local waits: sides, values of a row, states of folds. */
  readonly #held = new Map<string, { readonly buffer: Buffer; readonly like: Expr }>();
  readonly #values = new Map<Expr, string>();
  readonly #ends = new Map<Expr, { readonly lo: Expr; readonly hi: Expr }>();
  readonly #packs: PackedDot[] = [];
  readonly #sums = new Map<TileFold, Buffer>();

  constructor(readonly shape: Shape) {
    for (const s of shape.nest.sides) {
      if (s.of !== "rows") continue;
      const like = s.monoid.combine[0] as Expr;
      const [r, bind] = [freshName("row"), freshName(s.name)];
      const fold = foldLoops(
        { over: s.fold.map(spanOf), monoid: s.monoid, elements: [shape.one(s.element, variable(r), undefined)], bind: [bind] },
        "lanes",
      );
      this.prologue.push(
        loop(r, int(0), shape.rows, [
          ...this.lets([s.element], variable(r)),
          ...fold,
          storeS(this.hold(s.name, like), [variable(r)], local(bind, like.type)),
        ]),
      );
    }
    for (const f of shape.nest.folds) {
      if (f.n.length > 0) this.#sumsOf(f);
      else for (const [c, b] of f.bind.entries()) this.hold(b, f.monoid.combine[c] as Expr);
    }
  }
  /** Memory for a local's value at each row. */
  hold(name: string, like: Expr): Buffer {
    const known = this.#held.get(name);
    if (known) return known.buffer;
    const b = tile(freshName(name), dtypeOf(like), this.shape.rowTile);
    this.allocs.push(allocS(b, "scratch"));
    this.#held.set(name, { buffer: b, like });
    return b;
  }
  /** Brings the row values that terms read into scope. */
  lets(roots: readonly Expr[], r: Expr): readonly Stmt[] {
    return [...namesOf(...roots)].flatMap((n) => {
      const held = this.#held.get(n);
      return held ? [letS(n, load(held.buffer, [r]))] : [];
    });
  }
  /** The name of a local that holds a term of the row side alone. */
  value(e: Expr): string {
    const known = this.#values.get(e);
    if (known) return known;
    const [name, r] = [freshName("row_value"), freshName("row")];
    this.#values.set(e, name);
    this.shape.define(name, ROW);
    this.prologue.push(
      loop(
        r,
        int(0),
        this.shape.rows,
        [...this.lets([e], variable(r)), storeS(this.hold(name, e), [variable(r)], this.shape.one(e, variable(r), undefined))],
        "vector",
      ),
    );
    return name;
  }
  /** Least and greatest value of a load over the rows of the tile. */
  ends(e: Expr & { kind: "load" }): { readonly lo: Expr; readonly hi: Expr } {
    const known = this.#ends.get(e);
    if (known) return known;
    const r = freshName("row");
    const names = [freshName("least"), freshName("most")] as const;
    this.prologue.push(...endsOf(this.shape.one(e, variable(r), undefined), { v: r, extent: this.shape.rows, max: this.shape.rowTile }, names));
    const out = { lo: local(names[0], "int"), hi: local(names[1], "int") };
    this.#ends.set(e, out);
    return out;
  }

  /** A dot's a operand, [row][k]. */
  pack(p: Panel): Buffer {
    const { shape } = this;
    const b = tile(freshName("rows_k"), "f32", this.shape.rowTile, Math.max(1, maxCount(p.k)));
    this.allocs.push(allocS(b, "scratch"));
    const r = freshName("row");
    // Flat over the actual extents, as panels are.
    const flat = p.k.reduce<Expr>((at, s) => add(mul(at, s.extent), variable(s.v)), int(0));
    const put = storeS(b, [variable(r), flat], shape.one(p.a, variable(r), undefined));
    const last = p.k.at(-1);
    const inner = last ? inOrder(p.k.slice(0, -1), [loop(last.v, int(0), last.extent, [put], "vector")]) : [put];
    this.prologue.push(loop(r, int(0), shape.rows, [...this.lets([p.a], variable(r)), ...inner]));
    this.#packs.push({ buffer: b, a: p.a, k: p.k });
    return b;
  }
  /** A column's a operand, as the register block reads it: a dot's pack, in place, or packed [row][n]. */
  operand(c: TileColumn): Operand {
    const { shape } = this;
    const n = c.n.map(spanOf);
    const [only] = n;
    for (const p of this.#packs) {
      const [k] = p.k;
      if (n.length !== 1 || p.k.length !== 1 || !only || !k || k.extent !== only.extent || only.max % COLUMNS !== 0) continue;
      if (rename([c.a], new Map([[only.v, variable(k.v)]]))[0] !== p.a) continue;
      return { place: (row, column) => ({ buffer: p.buffer, index: [row, column] }), stride: only.max, columns: only.max };
    }
    const here = inPlace(c.a, n, shape.row, shape.i0);
    if (here) return here;
    const columns = padded(packedSize(n), COLUMNS);
    const b = tile(freshName("rows_n"), "f32", this.shape.rowTile, columns);
    this.allocs.push(allocS(b, "scratch"));
    const r = freshName("row");
    const row = packRow(n, columns, shape.one(c.a, variable(r), undefined), (column) => ({ buffer: b, index: [variable(r), column] }));
    this.prologue.push(loop(r, int(0), shape.rows, [...this.lets([c.a], variable(r)), ...row]));
    return { place: (r0, column) => ({ buffer: b, index: [r0, column] }), stride: columns, columns };
  }

  /** The sums of a fold with axes of its own: [row][n, padded]. */
  sums(f: TileFold): Buffer {
    return this.#sums.get(f) as Buffer; // every such fold got some at the start
  }
  #sumsOf(f: TileFold) {
    const b = tile(freshName(`${f.bind[0]}_sums`), "f32", this.shape.rowTile, padded(packedSize(f.n.map(spanOf)), COLUMNS));
    this.allocs.push(allocS(b, "scratch"));
    this.#sums.set(f, b);
  }
  /** States before the first tile. */
  get start(): readonly Stmt[] {
    const { shape } = this;
    return shape.nest.folds.flatMap((f) => {
      const [r, c] = [freshName("row"), freshName("column")];
      const empty = emptyOf(f.monoid);
      if (f.n.length === 0)
        return f.bind.map((b, i) =>
          loop(r, int(0), int(this.shape.rowTile), [storeS(this.hold(b, f.monoid.combine[i] as Expr), [variable(r)], empty[i] as Expr)], "vector"),
        );
      const b = this.sums(f);
      const width = int(padded(packedSize(f.n.map(spanOf)), COLUMNS));
      return [loop(r, int(0), shape.rows, [loop(c, int(0), width, [storeS(b, [variable(r), variable(c)], empty[0] as Expr)], "vector")])];
    });
  }
}
