// Tiles nests on a GPU: a workgroup takes a tile of rows of one batch and walks the tiles of over indices, as public
// attention kernels do (FlashAttention's forward and backward with separate kernels for dQ and for dK and dV). Scores and
// weights of a tile live in registers, each invocation a block of them; operands of the tile are panels in workgroup
// memory; weights pass through workgroup memory to the sums, which are blocks of registers again. Tiles that the mask leaves
// empty are not run; row tiles with most work begin first.
//
//   tiles/demand.ts    what a nest needs: operands, sums, which folds others wait for
//   tiles/layout.ts    sizes of tiles and of memory, by the adapter's limits
//   tiles/group.ts     the workgroup's names, cells and memory
//   tiles/operands.ts  where operands wait; tiles/panels.ts how they come there; tiles/products.ts scores and sums;
//   tiles/plan.ts      what pairs compute, in passes; tiles/pairs.ts the cells of a pass; tiles/folds.ts states of rows;
//   tiles/mask.ts      which tiles run; tiles/stores.ts results
import { letS, loop, type Stmt, storeS } from "../../../loop/ir.js";
import { count, freshName, inOrder, unflatten } from "../../../loop/spans.js";
import { ceilDiv, less, namesOf, sub } from "../../../loop/terms.js";
import type { TilesNest } from "../../../loop/tiles/shape.js";
import { type Buffer, type Expr, int, real, variable } from "../../../lower/expr.js";
import { no, yes } from "../../../lower/ints.js";
import { Unfit, type WgslLimits } from "../limits.js";
import { demandOf } from "./tiles/demand.js";
import { Folds } from "./tiles/folds.js";
import { barrier, Group, when } from "./tiles/group.js";
import { layoutOf } from "./tiles/layout.js";
import { mayRun, tested } from "./tiles/mask.js";
import { Operands } from "./tiles/operands.js";
import { Pairs } from "./tiles/pairs.js";
import { type Pass, passesOf } from "./tiles/plan.js";
import { Products } from "./tiles/products.js";
import { holdSides, sides } from "./tiles/sides.js";
import { results } from "./tiles/stores.js";

export function tiles(nest: TilesNest, limits: WgslLimits): readonly Stmt[] {
  if (nest.columns.length > 0) throw new Error(`kernel ${nest.name} gathers columns: WebGPU lowers without`);
  const layout = layoutOf(demandOf(nest), limits);
  if (!layout) throw new Unfit(`no tile of it fits ${limits.workgroupMemory} bytes of workgroup memory`);
  return new Tiles(new Group(nest, layout)).statements();
}

type When = (body: readonly Stmt[]) => readonly Stmt[];
const nameOf = (e: Expr): string => (e as Expr & { kind: "var" }).name; // of the workgroup's own variables

class Tiles {
  readonly #products: Products;
  readonly #folds: Folds;
  readonly #pairs: Pairs;
  readonly #operands: Operands;
  readonly #passes: readonly Pass[];

  constructor(readonly g: Group) {
    this.#products = new Products(g);
    this.#folds = new Folds(g);
    holdSides(g);
    this.#passes = passesOf(g);
    this.#pairs = new Pairs(g, this.#products, this.#folds);
    this.#operands = new Operands(g, this.#products);
  }

  statements(): readonly Stmt[] {
    const { g } = this;
    const { shape, layout } = g;
    const tile = this.#tile();
    const overTiles = ceilDiv(shape.over.extent, layout.lanes);
    const walk = inOrder(shape.overLead, [loop(shape.names.tile, int(0), overTiles, [...shape.overRange, ...tile])]);
    const body = [...this.#start(), ...walk, ...this.#folds.finish, ...results(g, this.#products)];
    // A residue's rows may be none.
    const some = shape.rowLead.some((s) => namesOf(shape.row.extent).has(s.v)) ? less(shape.i0, shape.row.extent) : null;
    const own = when(some, [...g.own, ...body]);
    const invocations = loop(nameOf(g.y), int(0), int(layout.ty), [loop(nameOf(g.x), int(0), int(layout.tx), own, "local")], "local");
    return this.#groups([...g.common, ...shape.rowRange, invocations]);
  }
  /** The loops over workgroups: batch, leading rows, row tiles, parts of the sums' columns. */
  #groups(inner: readonly Stmt[]): readonly Stmt[] {
    const { shape, layout, part } = this.g;
    const [batch, lead, turn] = ["batch", "lead", "turn"].map(freshName) as [string, string, string];
    // Under a mask that grows with the row (causal) the last tiles have most work.
    const tile = shape.nest.mask === yes ? variable(turn) : sub(sub(shape.rowTiles, int(1)), variable(turn));
    const body: readonly Stmt[] = [
      ...unflatten(shape.batch, variable(batch)),
      ...unflatten(shape.rowLead, variable(lead)),
      letS(shape.names.rowTile, tile),
      ...inner,
    ];
    const around = (v: string, n: Expr, b: readonly Stmt[]) => [loop(v, int(0), n, b, "workgroup")];
    const parts = part.kind === "var" ? around(part.name, int(layout.parts), body) : body;
    return around(batch, count(shape.batch), around(lead, count(shape.rowLead), around(turn, shape.rowTiles, parts)));
  }

  /** Before the first tile. */
  #start(): readonly Stmt[] {
    const { g } = this;
    const values = g.rowValues;
    const roots = values.map((v) => v.value);
    const row = freshName("row");
    const sums = this.#products.sums;
    return [
      ...sides(g, "rows"),
      ...(values.length > 0
        ? [
            g.rowByRow((r) => [
              letS(row, g.someRow(g.row(r))),
              ...g.rowLets(roots, r),
              ...values.map((v) => storeS(v.buffer, [r], g.shape.one(v.value, variable(row), undefined))),
            ]),
          ]
        : []),
      ...this.#folds.start,
      ...(sums.length > 0
        ? [g.rowByRow((r) => sums.flatMap((s, i) => this.#products.eachColumn(i, (n, e) => [storeS(s.total, [r, n, e], real(0))])))]
        : []),
      ...this.#operands.staged("rows"),
    ];
  }
  #tile(): readonly Stmt[] {
    const { g } = this;
    const may = mayRun(g);
    if (may === no) return [];
    const test = tested(g);
    const guarded: When = test ? (body) => (body.length > 0 ? when(test.run, body) : []) : (body) => body;
    const work = this.#work(guarded);
    const all = [barrier, ...sides(g, "over"), ...this.#laneValues(), ...(test?.statements ?? []), ...work];
    return when(may === yes ? null : may, all);
  }
  /** Of the invocation's lanes. */
  #laneValues(): readonly Stmt[] {
    const { g } = this;
    const values = g.laneValues;
    const roots = values.map((v) => v.value);
    const lane = freshName("lane");
    if (values.length === 0) return [];
    return [
      g.eachLane((c) => [
        letS(lane, g.someLane(g.lane(c))),
        ...g.laneLets(roots, c),
        ...values.map((v) => storeS(v.buffer, [c], g.shape.one(v.value, undefined, variable(lane)))),
      ]),
    ];
  }
  #work(guarded: When): readonly Stmt[] {
    const { demand, layout } = this.g;
    const products = this.#products;
    const operands = this.#operands;
    const together = layout.staging === "together";
    const out: Stmt[] = [];
    if (together) {
      out.push(...guarded(operands.staged("over")), barrier);
      const dots = products.scores.flatMap((s) => products.whole(s, operands.ofRows(s.demand), operands.ofLanes(s.demand)));
      out.push(...guarded(dots));
    } else for (const s of products.scores) out.push(...products.inTurn(s, operands.stage as Buffer, guarded));
    for (const p of this.#passes) {
      out.push(...guarded(this.#pairs.pass(p)));
      for (const phase of this.#folds.update(p)) out.push(barrier, ...guarded(phase));
    }
    if (demand.sums.length === 0) return out;
    const folds = demand.sums.map((s) => s.fold);
    if (together) {
      const taken = demand.sums.flatMap((s, i) => {
        const [elements, places] = [this.#pairs.elements(s.fold), this.#pairs.places(s.fold)];
        return places ? products.takeAt(i, elements, places) : products.take(i, elements, operands.ofSum(s));
      });
      return [...out, ...guarded(this.#pairs.lay(folds)), barrier, ...guarded(taken)];
    }
    folds.forEach((fold, i) => {
      const [elements, places] = [this.#pairs.elements(fold), this.#pairs.places(fold)];
      out.push(barrier, ...guarded(this.#pairs.lay([fold])));
      if (places) out.push(barrier, ...guarded(products.takeAt(i, elements, places)));
      else out.push(...products.takeInTurn(i, elements, operands.stage as Buffer, guarded));
    });
    return out;
  }
}
