// What a tile multiplies: scores, Σ_k a·b for each cell, and sums, Σ_lanes element·b for each row and column. Each invocation
// keeps its block in registers and walks the panels by vectors of four.
//
// Bits: a score is an fma chain along k (from 0 in every 256), whatever the layout, so that a kernel that makes the scores
// again has those of another; a sum is a chain over the lanes of a tile, and tiles are added in order.
import { CHUNK } from "../../../../loop/fold.js";
import { loop, type Stmt, storeS } from "../../../../loop/ir.js";
import { count, freshName } from "../../../../loop/spans.js";
import { add, idiv, imin, mul, sub } from "../../../../loop/terms.js";
import { apply, type Buffer, type Expr, int, load, real, variable } from "../../../../lower/expr.js";
import type { DotDemand, SumDemand } from "./demand.js";
import { barrier, type Group } from "./group.js";
import { type Columns, columnsOf, padded } from "./layout.js";
import { fill, type Panel, panelOf, quad, type Target } from "./panels.js";

const fma = (a: Expr, b: Expr, c: Expr): Expr => apply("fma", "real", a, b, c);

/** The invocation's block of scores of one dot. */
export interface Scores {
  readonly demand: DotDemand;
  readonly cells: Buffer;
}
export class Products {
  /** Inner indices, or lanes, that are read at once. */
  readonly #step: number;
  readonly #a: Buffer;
  readonly #b: Buffer;
  /** The chain of a score along the present 256. */
  readonly #block: Buffer;
  readonly scores: readonly Scores[];
  readonly sums: readonly { readonly demand: SumDemand; readonly columns: Columns; readonly total: Buffer }[];
  readonly #chains = new Map<number, Buffer>();
  #row: Buffer | undefined;
  #places: Buffer | undefined;

  constructor(readonly g: Group) {
    const { ey, ex, tx, parts } = g.layout;
    this.#step = g.layout.vectors ? 4 : 1;
    this.#a = g.private("a", "f32", ey, this.#step);
    this.#b = g.private("b", "f32", 4);
    this.#block = g.private("block", "f32", ey, ex);
    this.scores = g.demand.dots.map((demand) => {
      const cells = g.private(demand.name, "f32", ey, ex);
      g.holdPair(demand.name, (r, c) => load(cells, [r, c]));
      return { demand, cells };
    });
    this.sums = g.demand.sums.map((demand) => {
      const columns = columnsOf(demand, tx, parts);
      return { demand, columns, total: g.private(`${demand.fold.bind[0]}_sum`, "f32", ey, columns.groups, columns.each) };
    });
  }

  // ── scores
  #cells(body: (r: Expr, c: Expr) => readonly Stmt[]): Stmt {
    return this.g.eachRow((r) => [this.g.eachLane((c) => body(r, c))]);
  }
  clear(s: Scores): readonly Stmt[] {
    return [this.#cells((r, c) => [storeS(s.cells, [r, c], real(0)), storeS(this.#block, [r, c], real(0))])];
  }
  /** Adds Σ a·b over inner indices 0 … depth (a term; panels hold zeros up to a multiple of four). */
  multiply(a: Panel, b: Panel, depth: Expr): readonly Stmt[] {
    const { g } = this;
    const k = freshName("k");
    const into = this.#block;
    const body = [
      g.eachRow((r) => [quad(this.#a, [r], a, g.row(r), variable(k), this.#step)]),
      g.eachLane((c) => [
        quad(this.#b, [], b, g.lane(c), variable(k), this.#step),
        g.eachRow((r) => {
          const v = freshName("v");
          const one = storeS(into, [r, c], fma(load(this.#a, [r, variable(v)]), load(this.#b, [variable(v)]), load(into, [r, c])));
          return [loop(v, int(0), int(this.#step), [one], "unroll")];
        }),
      ]),
    ];
    return [loop(k, int(0), depth, body, "serial", this.#step)];
  }
  /** Takes the chain's value into the score; a new chain begins. */
  settle(s: Scores): readonly Stmt[] {
    const block = this.#block;
    return [
      this.#cells((r, c) => [
        storeS(s.cells, [r, c], apply("add", "real", load(s.cells, [r, c]), load(block, [r, c]))),
        storeS(block, [r, c], real(0)),
      ]),
    ];
  }
  /** The scores, from panels that hold all of both operands. */
  whole(s: Scores, a: Panel, b: Panel): readonly Stmt[] {
    const length = count(s.demand.a.inner);
    const depth = mul(idiv(add(length, int(3)), int(4)), int(4));
    if (s.demand.a.length <= CHUNK) return [...this.clear(s), ...this.multiply(a, b, depth), ...this.settle(s)];
    const chunk = freshName("chunk");
    const from =
      (p: Panel): Panel =>
      (at, inner) =>
        p(at, add(variable(chunk), inner));
    const piece = this.multiply(from(a), from(b), imin(int(CHUNK), sub(depth, variable(chunk))));
    return [...this.clear(s), loop(chunk, int(0), depth, [...piece, ...this.settle(s)], "serial", CHUNK)];
  }
  /** Both operands staged piece by piece in one buffer; `when` guards what a tile without pairs leaves out. */
  inTurn(s: Scores, stage: Buffer, when: (body: readonly Stmt[]) => readonly Stmt[]): readonly Stmt[] {
    const { g } = this;
    const { rows, lanes, depth } = g.layout;
    const { a, b } = s.demand;
    const stride = padded(depth);
    const aTarget: Target = { buffer: stage, index: (row, k) => [add(mul(row, int(stride)), k)], rows, depth };
    const inner = (lane: Expr, k: Expr) => (g.layout.vectors ? add(mul(lane, int(stride)), k) : add(mul(k, int(lanes)), lane));
    const bTarget: Target = { buffer: stage, index: (lane, k) => [add(inner(lane, k), int(rows * stride))], rows: lanes, depth };
    const K = count(a.inner);
    const piece = (from: Expr): readonly Stmt[] => [
      barrier,
      ...when([...fill(g, a, aTarget, from), ...fill(g, b, bTarget, from)]),
      barrier,
      ...when(this.multiply(panelOf(aTarget), panelOf(bTarget), int(depth))),
    ];
    const [chunk, from] = [freshName("chunk"), freshName("from")];
    if (a.length <= CHUNK) return [...when(this.clear(s)), loop(from, int(0), K, piece(variable(from)), "serial", depth), ...when(this.settle(s))];
    const end = imin(add(variable(chunk), int(CHUNK)), K);
    return [
      ...when(this.clear(s)),
      loop(chunk, int(0), K, [loop(from, variable(chunk), end, piece(variable(from)), "serial", depth), ...when(this.settle(s))], "serial", CHUNK),
    ];
  }

  // ── sums
  column(i: number, group: Expr, each: Expr): Expr {
    const { columns } = this.sums[i] as this["sums"][number];
    const { tx } = this.g.layout;
    return add(mul(this.g.part, int(columns.width)), add(mul(group, int(tx * columns.each)), this.#own(columns, each)));
  }
  /** In its group: neighbours of the invocation's, or columns whose neighbours are other invocations'. */
  #own(columns: Columns, each: Expr): Expr {
    const { vectors, tx } = this.g.layout;
    return vectors ? add(mul(this.g.x, int(columns.each)), each) : add(mul(each, int(tx)), this.g.x);
  }
  /** For each column that the invocation has of the sum. */
  eachColumn(i: number, body: (group: Expr, each: Expr) => readonly Stmt[]): readonly Stmt[] {
    const { columns } = this.sums[i] as this["sums"][number];
    const [group, each] = [freshName("group"), freshName("column")];
    const inner = loop(each, int(0), int(columns.each), body(variable(group), variable(each)), "unroll");
    return [loop(group, int(0), int(columns.groups), [inner])];
  }
  /** Σ over the first lanes of elements·b, for one group of columns, on top of the chain. */
  #chained(i: number, elements: Buffer, some: Expr, b: (lane: Expr, each: Expr) => Expr): Stmt {
    const { g } = this;
    const { columns } = this.sums[i] as this["sums"][number];
    const chain = this.#chain(columns.each);
    const row = this.#vector();
    const j = freshName("lane");
    const step: Stmt[] = [
      this.#quads(row, elements, variable(j)),
      this.#steps((v) => {
        const [each, e] = [freshName("column"), freshName("column")];
        const bs = this.#b;
        const vector = columns.each === 4 && g.layout.vectors;
        const next = (r: Expr) => fma(load(row, [v, r]), load(bs, [variable(e)]), load(chain, [r, variable(e)]));
        return [
          loop(each, int(0), int(columns.each), [storeS(bs, [variable(each)], b(add(variable(j), v), variable(each)))], vector ? "vector" : "unroll"),
          g.eachRow((r) => [loop(e, int(0), int(columns.each), [storeS(chain, [r, variable(e)], next(r))], "unroll")]),
        ];
      }),
    ];
    return loop(j, int(0), some, step, "serial", this.#step);
  }
  /** The elements of four lanes from `lane` on, at the invocation's rows: [lane][row]. */
  #quads(into: Buffer, elements: Buffer, lane: Expr): Stmt {
    const { vectors, ey } = this.g.layout;
    return this.#steps((v) => {
      const r = freshName("r");
      const [row, at] = [this.g.row(variable(r)), add(lane, v)];
      const value = load(elements, vectors ? [at, row] : [row, at]);
      return [loop(r, int(0), int(ey), [storeS(into, [v, variable(r)], value)], vectors && ey === 4 ? "vector" : "unroll")];
    });
  }
  #chain(each: number): Buffer {
    const known = this.#chains.get(each) ?? this.g.private("chain", "f32", this.g.layout.ey, each);
    this.#chains.set(each, known);
    return known;
  }
  #vector(): Buffer {
    this.#row ??= this.g.private("elements", "f32", this.#step, this.g.layout.ey);
    return this.#row;
  }
  #steps(body: (v: Expr) => readonly Stmt[]): Stmt {
    const v = freshName("v");
    return loop(v, int(0), int(this.#step), body(variable(v)), "unroll");
  }
  #around(i: number, group: Expr, body: readonly Stmt[]): readonly Stmt[] {
    const { columns, total } = this.sums[i] as this["sums"][number];
    const chain = this.#chain(columns.each);
    const own = (f: (r: Expr, e: Expr) => Stmt): Stmt =>
      this.g.eachRow((r) => {
        const e = freshName("column");
        return [loop(e, int(0), int(columns.each), [f(r, variable(e))], "unroll")];
      });
    return [
      own((r, e) => storeS(chain, [r, e], real(0))),
      ...body,
      own((r, e) => storeS(total, [r, group, e], apply("add", "real", load(total, [r, group, e]), load(chain, [r, e])))),
    ];
  }
  #groups(i: number, body: (group: Expr) => readonly Stmt[]): Stmt {
    const { columns } = this.sums[i] as this["sums"][number];
    const group = freshName("group");
    return loop(group, int(0), int(columns.groups), body(variable(group)));
  }
  /** Lanes of the present tile, up to a multiple of four: those beyond have elements 0. */
  get #lanes(): Expr {
    const { width } = this.g.shape;
    return width.kind === "num" || this.#step === 1 ? width : mul(idiv(add(width, int(3)), int(4)), int(4));
  }
  /** Adds a tile, b's panel staged whole (from its own column 0, or that of the part). */
  take(i: number, elements: Buffer, panel: Panel): readonly Stmt[] {
    const { columns } = this.sums[i] as this["sums"][number];
    const { tx } = this.g.layout;
    return [
      this.#groups(i, (group) => {
        const column = (each: Expr) => add(mul(group, int(tx * columns.each)), this.#own(columns, each));
        return this.#around(i, group, [this.#chained(i, elements, this.#lanes, (lane, each) => panel(lane, column(each)))]);
      }),
    ];
  }
  /** The same with b staged group by group of columns. */
  takeInTurn(i: number, elements: Buffer, stage: Buffer, when: (body: readonly Stmt[]) => readonly Stmt[]): readonly Stmt[] {
    const { g } = this;
    const { columns, demand } = this.sums[i] as this["sums"][number];
    const { tx, lanes } = g.layout;
    const depth = tx * columns.each;
    const target: Target = { buffer: stage, index: (lane, c) => [add(mul(lane, int(depth)), c)], rows: lanes, depth };
    const panel = panelOf(target);
    return [
      this.#groups(i, (group) => {
        const from = add(mul(g.part, int(columns.width)), mul(group, int(depth)));
        return [
          barrier,
          ...when(demand.b ? fill(g, demand.b, target, from) : []),
          barrier,
          ...when(this.#around(i, group, [this.#chained(i, elements, this.#lanes, (lane, each) => panel(lane, this.#own(columns, each)))])),
        ];
      }),
    ];
  }
  /** Adds a tile of elements each at its own column: `places` holds the columns. */
  takeAt(i: number, elements: Buffer, places: Buffer): readonly Stmt[] {
    const { g } = this;
    const { columns } = this.sums[i] as this["sums"][number];
    const row = this.#vector();
    this.#places ??= g.private("places", "i32", this.#step, g.layout.ey);
    const at = this.#places;
    const chain = this.#chain(columns.each);
    return [
      this.#groups(i, (group) => {
        const j = freshName("lane");
        const v = freshName("v");
        const e = freshName("column");
        const column = this.column(i, group, variable(e));
        const hit = (r: Expr) =>
          apply("select", "real", apply("eq", "bool", load(at, [variable(v), r]), column), load(row, [variable(v), r]), real(0));
        const one = (r: Expr) => storeS(chain, [r, variable(e)], apply("add", "real", load(chain, [r, variable(e)]), hit(r)));
        const added = g.eachRow((r) => [loop(v, int(0), int(this.#step), [loop(e, int(0), int(columns.each), [one(r)], "unroll")], "unroll")]);
        const both = [this.#quads(row, elements, variable(j)), this.#quads(at, places, variable(j)), added];
        const walk = loop(j, int(0), this.#lanes, both, "serial", this.#step);
        return this.#around(i, group, [walk]);
      }),
    ];
  }
}
