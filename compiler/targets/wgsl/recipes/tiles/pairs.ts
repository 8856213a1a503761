// The cells of a tile in a pass: each invocation computes the elements of its own, folds them along its lanes, and keeps
// those of sums until they are laid out for all in workgroup memory.
import { letS, loop, type Stmt, storeS } from "../../../../loop/ir.js";
import { freshName } from "../../../../loop/spans.js";
import { shared } from "../../../../loop/tiles/work.js";
import { apply, type Buffer, type Expr, int, load, real, variable } from "../../../../lower/expr.js";
import type { Store, TileFold } from "../../../../lower/nest.js";
import type { Folds } from "./folds.js";
import { and, type Group, when } from "./group.js";
import { pairsOf } from "./layout.js";
import type { Pass } from "./plan.js";
import type { Products } from "./products.js";
import { allStores } from "./stores.js";

/** Values of a tile's cells: of all, in workgroup memory, and the invocation's. */
interface Laid {
  readonly tile: Buffer;
  /** [lane][row]. */
  readonly own: Buffer;
}
export class Pairs {
  /** By a sum's element: two may have the same. */
  readonly #elements = new Map<Expr, Laid>();
  readonly #places = new Map<TileFold, Laid>();

  constructor(
    readonly g: Group,
    readonly products: Products,
    readonly folds: Folds,
  ) {
    const { demand, layout } = g;
    const tiles = new Map<string, Buffer>();
    const laid = (stem: string, dtype: "f32" | "i32"): Laid => {
      // Side by side where operands are, else one tile that they take turns in.
      const known = layout.staging === "together" ? undefined : tiles.get(dtype);
      const tile = known ?? g.shared(stem, dtype, ...pairsOf(layout));
      tiles.set(dtype, tile);
      return { tile, own: g.private(stem, dtype, layout.ex, layout.ey) };
    };
    for (const { fold } of demand.sums) {
      const e = fold.elements[0] as Expr;
      if (!this.#elements.has(e)) this.#elements.set(e, laid("elements", "f32"));
      if (fold.at) this.#places.set(fold, laid("places", "i32"));
    }
  }
  elements(f: TileFold): Buffer {
    return this.#ofElement(f).tile;
  }
  places(f: TileFold): Buffer | undefined {
    return this.#places.get(f)?.tile;
  }
  #ofElement(f: TileFold): Laid {
    return this.#elements.get(f.elements[0] as Expr) as Laid; // every sum's element has a place
  }

  /** Lays out what the sums take in. */
  lay(folds: readonly TileFold[]): readonly Stmt[] {
    const { g } = this;
    const { layout } = g;
    const all = new Set(folds.flatMap((f) => [this.#ofElement(f), ...(this.#places.has(f) ? [this.#places.get(f) as Laid] : [])]));
    return [...all].map(({ tile, own }) =>
      g.eachLane((c) => {
        const r = freshName("r");
        const [row, lane] = [g.row(variable(r)), g.lane(c)];
        const store = storeS(tile, layout.vectors ? [lane, row] : [row, lane], load(own, [c, variable(r)]));
        return [loop(r, int(0), int(layout.ey), [store], layout.vectors && layout.ey === 4 ? "vector" : "unroll")];
      }),
    );
  }

  pass(p: Pass): readonly Stmt[] {
    const { g, folds } = this;
    const roots = [
      ...p.keeps.map((k) => k.value),
      ...p.folds.flatMap((f) => f.elements),
      ...p.sums.flatMap((s) => [s.element, ...(s.at ? [s.at] : [])]),
      ...p.quads.flatMap((q) => [q.value, ...q.index]),
    ];
    if (roots.length === 0) return [];
    return [
      g.rowByRow((r) => {
        const row = freshName("row");
        return [
          letS(row, g.someRow(g.row(r))),
          ...g.rowLets([...roots, ...folds.roots(p)], r),
          ...folds.before(p, r),
          ...p.sums.flatMap(({ i, fold }) => this.#rescaled(i, fold, r)),
          g.laneByLane((c) => this.#cell(p, roots, r, c, variable(row))),
          ...p.folds.flatMap(({ fold }) => folds.after(fold, r)),
        ];
      }),
    ];
  }
  #rescaled(i: number, fold: TileFold, r: Expr): readonly Stmt[] {
    const factor = this.folds.factor(fold, r);
    const { total } = this.products.sums[i] as Products["sums"][number];
    if (!factor) return [];
    return this.products.eachColumn(i, (n, e) => [storeS(total, [r, n, e], apply("mul", "real", load(total, [r, n, e]), factor))]);
  }
  #cell(p: Pass, roots: readonly Expr[], r: Expr, c: Expr, row: Expr): readonly Stmt[] {
    const { g } = this;
    const lane = freshName("lane");
    const exists = g.laneExists(g.lane(c));
    const cse = shared(g.shape.at(roots, row, variable(lane)), "v");
    const values = [...cse.roots];
    const take = (n: number): readonly Expr[] => values.splice(0, n);
    const put = (to: Laid): Stmt => {
      const [e] = take(1) as readonly [Expr];
      const nothing = e.type === "int" ? int(0) : real(0);
      return storeS(to.own, [c, r], exists === null ? e : apply("select", e.type, exists, e, nothing));
    };
    const quads = (): readonly Stmt[] => {
      const done = p.quads.map((q): Store => {
        const [value, ...index] = take(1 + q.index.length) as readonly [Expr, ...Expr[]];
        return { buffer: q.buffer, index, value };
      });
      const first = g.layout.parts > 1 ? apply("eq", "bool", g.part, int(0)) : null;
      return done.length > 0 ? when(and(exists, g.rowExists(g.row(r)), first), allStores(done)) : [];
    };
    return [
      letS(lane, g.someLane(g.lane(c))),
      ...g.laneLets(roots, c),
      ...g.pairLets(roots, r, c),
      ...cse.lets.map(([name, e]) => letS(name, e)),
      ...p.keeps.map((k) => storeS(k.cells, [r, c], take(1)[0] as Expr)),
      ...p.folds.flatMap(({ fold, elements }) => this.folds.cell(fold, take(elements.length), exists, r, c)),
      ...p.sums.flatMap(({ fold, at }) => [put(this.#ofElement(fold)), ...(at ? [put(this.#places.get(fold) as Laid)] : [])]),
      ...quads(),
    ];
  }
}
