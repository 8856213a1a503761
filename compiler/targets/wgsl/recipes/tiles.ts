// Tiles nests on a GPU: a workgroup takes a tile of rows of one batch and walks the tiles of over indices, as public
// attention kernels do (FlashAttention's forward and backward with separate kernels for dQ and for dK and dV). Scores and
// weights of a tile live in registers, each invocation a block of them; operands of the tile are panels in workgroup
// memory; weights pass through workgroup memory to the sums, which are blocks of registers again. Tiles that the mask leaves
// empty are not run; row tiles with most work begin first.
//
//   tiles/demand.ts    what a nest needs: operands, sums, which folds others wait for
//   tiles/layout.ts    sizes of tiles and of memory, by the adapter's limits
//   tiles/group.ts     the workgroup's names, cells and memory
//   tiles/panels.ts    operands staged; tiles/products.ts scores and sums; tiles/plan.ts what pairs compute, in passes;
//   tiles/folds.ts     states of rows; tiles/mask.ts which tiles run
import { foldLoops } from "../../../loop/fold.js";
import { ifS, letS, loop, type Stmt, storeS } from "../../../loop/ir.js";
import { count, freshName, inOrder, type Span, spanOf, unflatten } from "../../../loop/spans.js";
import { add, ceilDiv, imod, less, mul, namesOf, rename, sub } from "../../../loop/terms.js";
import type { TilesNest } from "../../../loop/tiles/shape.js";
import { shared } from "../../../loop/tiles/work.js";
import { apply, type Buffer, type Expr, int, load, local, real, variable } from "../../../lower/expr.js";
import { no, yes } from "../../../lower/ints.js";
import type { Side, Store, TileFold } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";
import { demandOf, four, type Operand } from "./tiles/demand.js";
import { Folds } from "./tiles/folds.js";
import { and, barrier, dtypeOf, Group, when } from "./tiles/group.js";
import { layoutOf, panelsOf, stageSize, sumKey } from "./tiles/layout.js";
import { mayRun, tested } from "./tiles/mask.js";
import { fill, type Panel, panelOf, type Target } from "./tiles/panels.js";
import { type Pass, passesOf } from "./tiles/plan.js";
import { Products } from "./tiles/products.js";

export function tiles(nest: TilesNest, limits: WgslLimits): readonly Stmt[] {
  if (nest.columns.length > 0) throw new Error(`kernel ${nest.name} gathers columns: WebGPU lowers without`);
  const layout = layoutOf(demandOf(nest), limits);
  if (!layout) throw new Error(`kernel ${nest.name}: no tile of it fits ${limits.workgroupMemory} bytes of workgroup memory`);
  return new Tiles(new Group(nest, layout)).statements();
}

type When = (body: readonly Stmt[]) => readonly Stmt[];

class Tiles {
  readonly #products: Products;
  readonly #folds: Folds;
  readonly #passes: readonly Pass[];
  /** Elements of sums, and the columns they are added at: of the tile, and of the invocation's cells where they wait for their turn. */
  readonly #elements = new Map<Expr, { readonly tile: Buffer; readonly own: Buffer | null }>();
  readonly #places = new Map<TileFold, { readonly tile: Buffer; readonly own: Buffer | null }>();
  readonly #panels = new Map<string, { readonly operand: Operand; readonly target: Target; readonly from: Expr }>();
  #stage: Buffer | undefined;

  constructor(readonly g: Group) {
    this.#products = new Products(g);
    this.#folds = new Folds(g);
    this.#sides();
    this.#passes = passesOf(g);
    this.#memory();
  }
  get #together(): boolean {
    return this.g.layout.staging === "together";
  }

  statements(): readonly Stmt[] {
    const { g } = this;
    const { shape, layout } = g;
    const tile = this.#tile();
    const overTiles = ceilDiv(shape.over.extent, layout.lanes);
    const loops = inOrder(shape.overLead, [loop(shape.names.tile, int(0), overTiles, [...shape.overRange, ...tile])]);
    const body = [...this.#start(), ...loops, ...this.#folds.finish, ...this.#stores()];
    const own = [...g.own, ...body];
    // A residue's rows may be none.
    const rowsThere = [...shape.rowLead].some((s) => namesOf(shape.row.extent).has(s.v)) ? less(shape.i0, shape.row.extent) : null;
    const { x, y } = { x: (g.x as { name: string }).name, y: (g.y as { name: string }).name };
    const invocations = loop(y, int(0), int(layout.ty), [loop(x, int(0), int(layout.tx), when(rowsThere, own), "local")], "local");
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
    const parts = around((part as { name: string }).name, int(layout.parts), body);
    return around(batch, count(shape.batch), around(lead, count(shape.rowLead), around(turn, shape.rowTiles, parts)));
  }

  // ── memory
  #memory() {
    const { g } = this;
    const { demand, layout } = g;
    const { rows, lanes, ey, ex } = layout;
    const pairs = (stem: string, dtype: "f32" | "i32") => g.shared(stem, dtype, rows, lanes + 4);
    let [element, place]: [Buffer | undefined, Buffer | undefined] = [undefined, undefined];
    for (const { fold } of demand.sums) {
      const e = fold.elements[0] as Expr;
      if (!this.#elements.has(e)) {
        if (this.#together) this.#elements.set(e, { tile: pairs("elements", "f32"), own: null });
        else {
          element ??= pairs("elements", "f32");
          this.#elements.set(e, { tile: element, own: g.private("element", "f32", ey, ex) });
        }
      }
      if (!fold.at) continue;
      if (this.#together) this.#places.set(fold, { tile: pairs("places", "i32"), own: null });
      else {
        place ??= pairs("places", "i32");
        this.#places.set(fold, { tile: place, own: g.private("place", "i32", ey, ex) });
      }
    }
    if (!this.#together) {
      if (demand.dots.length + demand.sums.length > 0) this.#stage = g.shared("stage", "f32", stageSize(demand, layout));
      return;
    }
    const strides = panelsOf(demand, layout);
    const panel = (key: string, operand: Operand, depth: number, from: Expr) => {
      const size = strides.get(key);
      if (!size) return;
      const known = this.#panels.get(key);
      const n = operand.side === "rows" ? rows : lanes;
      const buffer = known?.target.buffer ?? g.shared("panel", "f32", n, size.stride);
      const target: Target = { buffer, index: (at, inner) => [at, inner], rows: n, depth: Math.max(depth, known?.target.depth ?? 0) };
      this.#panels.set(key, { operand, target, from });
    };
    for (const d of demand.dots) {
      panel(d.a.key, d.a, four(d.a.length), int(0));
      panel(d.b.key, d.b, four(d.b.length), int(0));
    }
    this.#products.sums.forEach(({ demand: s, columns }) => {
      if (s.b) panel(sumKey(s, layout), s.b, columns.width, mul(g.part, int(columns.width)));
    });
  }
  /** Values of small folds, of the tile's rows and lanes. */
  #sides() {
    const { g } = this;
    for (const s of g.nest.sides) {
      const like = s.monoid.combine[0] as Expr;
      g.holdSide(s.name, s.of, g.shared(s.name, dtypeOf(like), s.of === "rows" ? g.layout.rows : g.layout.lanes));
    }
  }
  #sidesOf(of: "rows" | "over"): readonly Stmt[] {
    const { g } = this;
    const { shape } = g;
    const all = g.nest.sides.filter((s) => s.of === of);
    if (all.length === 0) return [];
    const one = (s: Side, at: Expr): readonly Stmt[] => {
      const element = of === "rows" ? shape.one(s.element, at, undefined) : shape.one(s.element, undefined, at);
      const like = s.monoid.combine[0] as Expr;
      return [
        ...foldLoops({ over: s.fold.map(spanOf), monoid: s.monoid, elements: [element], bind: [s.name] }, "lanes"),
        storeS(g.side(s.name), [at], local(s.name, like.type)),
      ];
    };
    const there = (at: Expr) => (of === "rows" ? g.rowExists(at) : g.laneExists(at));
    return [
      ...g.divided(of === "rows" ? g.layout.rows : g.layout.lanes, (at) =>
        when(
          there(at),
          all.flatMap((s) => one(s, at)),
        ),
      ),
      barrier,
    ];
  }

  // ── before the first tile
  #start(): readonly Stmt[] {
    const { g } = this;
    const { shape } = g;
    const values = g.rowValues;
    const products = this.#products;
    return [
      ...this.#sidesOf("rows"),
      ...(values.length > 0
        ? [
            g.eachRow((r) => {
              const row = freshName("row");
              const roots = values.map((v) => v.value);
              return [
                letS(row, g.someRow(g.row(r))),
                ...g.rowLets(roots, r),
                ...values.map((v) => storeS(v.buffer, [r], shape.one(v.value, variable(row), undefined))),
              ];
            }),
          ]
        : []),
      ...this.#folds.start,
      ...(products.sums.length > 0
        ? [g.eachRow((r) => products.sums.flatMap((s, i) => products.eachColumn(i, (n, e) => [storeS(s.total, [r, n, e], real(0))])))]
        : []),
      ...this.#staged("rows"),
    ];
  }
  #staged(side: "rows" | "over"): readonly Stmt[] {
    return [...this.#panels.values()].flatMap(({ operand, target, from }) => (operand.side === side ? fill(this.g, operand, target, from) : []));
  }

  // ── a tile
  #tile(): readonly Stmt[] {
    const { g } = this;
    const may = mayRun(g);
    if (may === no) return [];
    const test = tested(g);
    const guarded: When = test ? (body) => (body.length > 0 ? [ifS(test.run, body)] : []) : (body) => body;
    const all = [barrier, ...this.#sidesOf("over"), ...this.#laneValues(), ...(test?.statements ?? []), ...this.#work(guarded)];
    return may === yes ? all : [ifS(may, all)];
  }
  /** Of the invocation's lanes. */
  #laneValues(): readonly Stmt[] {
    const { g } = this;
    const values = g.laneValues;
    if (values.length === 0) return [];
    return [
      g.eachLane((c) => {
        const lane = freshName("lane");
        return [
          letS(lane, g.someLane(g.lane(c))),
          ...g.laneLets(
            values.map((v) => v.value),
            c,
          ),
          ...values.map((v) => storeS(v.buffer, [c], g.shape.one(v.value, undefined, variable(lane)))),
        ];
      }),
    ];
  }
  #work(guarded: When): readonly Stmt[] {
    const { demand } = this.g;
    const products = this.#products;
    const out: Stmt[] = [];
    if (this.#together) {
      out.push(...guarded(this.#staged("over")), barrier);
      const dots = products.scores.flatMap((s) => {
        const depth = mul(ceilDiv(count(s.demand.a.inner), 4), int(4));
        return [...products.clear(s), ...products.multiply(s, this.#rowsOf(s.demand), this.#panel(s.demand.b.key), depth), ...products.settle(s)];
      });
      out.push(...guarded(dots));
    } else for (const s of products.scores) out.push(...products.inTurn(s, this.#stage as Buffer, guarded));
    for (const p of this.#passes) {
      out.push(...guarded(this.#pass(p)));
      for (const phase of this.#folds.update(p) ?? []) out.push(barrier, ...guarded(phase));
    }
    if (demand.sums.length === 0) return out;
    if (this.#together) {
      const taken = demand.sums.flatMap(({ fold }, i) => {
        const elements = this.#elements.get(fold.elements[0] as Expr)?.tile as Buffer;
        const places = this.#places.get(fold)?.tile;
        return places
          ? products.takeAt(i, elements, places)
          : products.take(i, elements, this.#panel(sumKey(demand.sums[i] as never, this.g.layout)));
      });
      return [...out, barrier, ...guarded(taken)];
    }
    demand.sums.forEach(({ fold }, i) => {
      const element = this.#elements.get(fold.elements[0] as Expr) as { tile: Buffer; own: Buffer };
      const places = this.#places.get(fold) as { tile: Buffer; own: Buffer } | undefined;
      const laid = this.g.eachRow((r) => [
        this.g.eachLane((c) =>
          [element, ...(places ? [places] : [])].map((b) => storeS(b.tile, [this.g.row(r), this.g.lane(c)], load(b.own, [r, c]))),
        ),
      ]);
      out.push(barrier, ...guarded([laid]));
      if (places) out.push(barrier, ...guarded(products.takeAt(i, element.tile, places.tile)));
      else out.push(...products.takeInTurn(i, element.tile, this.#stage as Buffer, guarded));
    });
    return out;
  }
  #panel(key: string): Panel {
    const p = this.#panels.get(key);
    if (!p) throw new Error(`kernel ${this.g.nest.name}: an operand has no panel`);
    return panelOf(p.target);
  }
  /** A dot's operand of the rows: its panel, or where it lies. */
  #rowsOf(d: Products["scores"][number]["demand"]): Panel {
    const { g } = this;
    const { a } = d;
    if (!(g.layout.inPlace && d.inPlace)) return this.#panel(a.key);
    const [k] = a.inner as readonly [Span];
    return (at, inner) => {
      const [e] = g.shape.at([a.value], g.someRow(at), undefined);
      return renamed(e as Expr, k.v, inner);
    };
  }

  /** Elements of the pass at each of the invocation's cells. */
  #pass(p: Pass): readonly Stmt[] {
    const { g } = this;
    const { shape } = g;
    const roots = [
      ...p.keeps.map((k) => k.value),
      ...p.folds.flatMap((f) => f.elements),
      ...p.sums.flatMap((s) => [s.element, ...(s.at ? [s.at] : [])]),
      ...p.quads.flatMap((q) => [q.value, ...q.index]),
    ];
    if (roots.length === 0) return [];
    const cell = (r: Expr, c: Expr, row: Expr): readonly Stmt[] => {
      const lane = freshName("lane");
      const exists = g.laneExists(g.lane(c));
      const cse = shared(shape.at(roots, row, variable(lane)), "v");
      const values = [...cse.roots];
      const take = (n: number) => values.splice(0, n);
      const here = [g.row(r), g.lane(c)];
      const zero = (e: Expr) => (exists === null ? e : apply("select", e.type, exists, e, e.type === "int" ? int(0) : real(0)));
      const put = (b: { readonly tile: Buffer; readonly own: Buffer | null }, e: Expr) =>
        b.own ? storeS(b.own, [r, c], zero(e)) : storeS(b.tile, here, zero(e));
      return [
        letS(lane, g.someLane(g.lane(c))),
        ...g.laneLets(roots, c),
        ...g.pairLets(roots, r, c),
        ...cse.lets.map(([name, e]) => letS(name, e)),
        ...p.keeps.map((k) => storeS(k.cells, [r, c], take(1)[0] as Expr)),
        ...p.folds.flatMap(({ fold, elements }) => this.#folds.cell(fold, take(elements.length), exists, r, c)),
        ...p.sums.flatMap(({ fold, at }) => {
          const element = put(this.#elements.get(fold.elements[0] as Expr) as { tile: Buffer; own: Buffer | null }, take(1)[0] as Expr);
          return at ? [element, put(this.#places.get(fold) as { tile: Buffer; own: Buffer | null }, take(1)[0] as Expr)] : [element];
        }),
        ...this.#quads(p, take, and(exists, g.rowExists(g.row(r)), g.layout.parts > 1 ? apply("eq", "bool", g.part, int(0)) : null)),
      ];
    };
    return [
      g.eachRow((r) => {
        const row = freshName("row");
        return [
          letS(row, g.someRow(g.row(r))),
          ...g.rowLets([...roots, ...this.#folds.roots(p)], r),
          ...this.#folds.before(p, r),
          ...p.sums.flatMap(({ i, fold }) => {
            const factor = this.#folds.factor(fold, r);
            const { total } = this.#products.sums[i] as Products["sums"][number];
            if (!factor) return [];
            return this.#products.eachColumn(i, (n, e) => [storeS(total, [r, n, e], apply("mul", "real", load(total, [r, n, e]), factor))]);
          }),
          g.eachLane((c) => cell(r, c, variable(row))),
          ...p.folds.flatMap(({ fold }) => this.#folds.after(fold, r)),
        ];
      }),
    ];
  }
  #quads(p: Pass, take: (n: number) => readonly Expr[], inside: Expr | null): readonly Stmt[] {
    if (p.quads.length === 0) return [];
    const done = p.quads.map((q): Store => {
      const [value, ...index] = take(1 + q.index.length) as readonly [Expr, ...Expr[]];
      return { buffer: q.buffer, index, value };
    });
    return when(inside, allStores(done));
  }

  // ── after the last tile
  #stores(): readonly Stmt[] {
    const { g } = this;
    const { demand, layout, shape } = g;
    const products = this.#products;
    const sumOf = new Map(demand.sums.map((s, i) => [s.fold.bind[0] as string, i]));
    const exchange = new Map<string, Buffer>();
    const out: Stmt[] = [];
    for (const fold of demand.exchanged) {
      const i = sumOf.get(fold.bind[0] as string) as number;
      const s = products.sums[i] as Products["sums"][number];
      const memory = g.shared(`${fold.bind[0]}_all`, "f32", layout.rows, s.demand.columns);
      exchange.set(fold.bind[0] as string, memory);
      out.push(
        g.eachRow((r) =>
          products.eachColumn(i, (n, e) => {
            const column = products.column(i, n, e);
            return [ifS(less(column, int(s.demand.columns)), [storeS(memory, [g.row(r), column], load(s.total, [r, n, e]))])];
          }),
        ),
      );
    }
    if (exchange.size > 0) out.push(barrier);
    const firstPart = layout.parts > 1 ? apply("eq", "bool", g.part, int(0)) : null;
    for (const { n, stores } of g.nest.stores) {
      const roots = stores.flatMap((s) => [s.value, ...s.index]);
      const names = namesOf(...roots);
      const sums = demand.sums.flatMap(({ fold }, i) => (names.has(fold.bind[0] as string) ? [{ fold, i }] : []));
      const spans = n.map(spanOf);
      /** At row r, column indices bound. */
      const at = (row: Expr, lets: readonly Stmt[]): readonly Stmt[] => [
        ...lets,
        ...allStores(
          stores.map((s): Store => {
            const [value, ...index] = shape.at([s.value, ...s.index], row, undefined) as readonly [Expr, ...Expr[]];
            return { buffer: s.buffer, index, value };
          }),
        ),
      ];
      const rowsOf = (body: (r: Expr, row: Expr) => readonly Stmt[], only: (r: Expr) => Expr | null) =>
        g.eachRow((r) => when(and(only(r), g.rowExists(g.row(r))), [...g.rowLets(roots, r), ...body(r, g.row(r))]));
      const columns = count(spans);
      const aligned = sums.length > 0 && !sums.some((s) => exchange.has(s.fold.bind[0] as string));
      if (n.length === 0) {
        out.push(
          rowsOf(
            (_, row) => at(row, []),
            (r) => and(firstPart, apply("eq", "bool", g.x, imod(r, int(layout.tx)))),
          ),
        );
      } else if (aligned) {
        const i = (sums[0] as (typeof sums)[number]).i;
        out.push(
          rowsOf(
            (r, row) =>
              products.eachColumn(i, (group, each) => {
                const column = freshName("column");
                const totals = sums.map(({ fold, i: own }) =>
                  letS(fold.bind[0] as string, load((products.sums[own] as Products["sums"][number]).total, [r, group, each])),
                );
                return [
                  letS(column, products.column(i, group, each)),
                  ifS(less(variable(column), columns), at(row, [...unflatten(spans, variable(column)), ...totals])),
                ];
              }),
            () => null,
          ),
        );
      } else {
        const column = freshName("column");
        out.push(
          rowsOf(
            (r, row) => [
              loop(
                column,
                g.x,
                columns,
                at(row, [
                  ...unflatten(spans, variable(column)),
                  ...sums.map(({ fold }) =>
                    letS(fold.bind[0] as string, load(exchange.get(fold.bind[0] as string) as Buffer, [g.row(r), flat(fold.n.map(spanOf))])),
                  ),
                ]),
                "serial",
                layout.tx,
              ),
            ],
            () => firstPart,
          ),
        );
      }
    }
    return out;
  }
}
const flat = (spans: readonly Span[]): Expr => spans.reduce<Expr>((at, s) => add(mul(at, s.extent), variable(s.v)), int(0));
const renamed = (e: Expr, v: string, to: Expr): Expr => rename([e], new Map([[v, to]]))[0] as Expr;
/** Every value before any store: state updated in place reads its old value. */
function allStores(stores: readonly Store[]): readonly Stmt[] {
  if (stores.length < 2) return stores.map((s) => storeS(s.buffer, s.index, s.value));
  const names = stores.map(() => freshName("value"));
  return [
    ...stores.map((s, i) => letS(names[i] as string, s.value)),
    ...stores.map((s, i) => storeS(s.buffer, s.index, local(names[i] as string, s.value.type))),
  ];
}
