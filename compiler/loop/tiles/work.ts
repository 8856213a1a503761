// What one tile computes, in passes. Pass 0 reads dots alone; pass p reads results of folds of the passes before, brought up to
// date. In a pass every row's lanes are walked twice: elements of sums with axes of their own and of columns, and what is dear
// of those of row folds, are computed, each lane for itself, and stored as tiles; then the row folds run their chains,
// which are eight whatever the width of vectors. A dear value that a later pass needs again (a masked, capped score)
// is kept in a tile as well; tiles share memory as soon as the last use of one is over.
import { type Buffer, type Expr, local, partsOf } from "../../lower/expr.js";
import type { Store, TileColumn, TileFold } from "../../lower/nest.js";
import { tile } from "../ir.js";
import { freshName } from "../spans.js";
import { namesOf, rename, replace, termsOf, withParts } from "../terms.js";
import { cost } from "./cost.js";
import type { OverSide } from "./prepare.js";
import type { RowSide } from "./rows.js";
import { BIND, OVER, OVER_TILE, PAIR, ROW, type Shape } from "./shape.js";

/** A value of each pair that waits in a tile: a dot, an element, something that a later pass reads. */
export interface Kept {
  readonly name: string;
  /** null: a dot. */
  readonly value: Expr | null;
  /** Moments of definition and of last use: 0 the dots, 3p + 1 the lanes of pass p, 3p + 2 their chains, 3p + 3 what follows. */
  readonly from: number;
  to: number;
  tile: Buffer | undefined;
}
export interface FoldWork {
  readonly fold: TileFold;
  /** As the chains read them: what the lanes of the pass have stored is read from there. */
  readonly elements: readonly Expr[];
}
/** An element times an operand's row, or at an index. */
export interface SumWork {
  readonly fold: TileFold;
  readonly element: Kept;
  readonly at: Expr | null;
}
export interface Pass {
  readonly level: number;
  /** Sums, maxima …: eight chains along the lanes. */
  readonly folds: readonly FoldWork[];
  /** Chained in order. */
  readonly chains: readonly FoldWork[];
  readonly sums: readonly SumWork[];
  readonly columns: readonly { readonly column: TileColumn; readonly element: Kept }[];
  readonly quads: readonly Store[];
  /** Computed by the lanes, and stored. */
  readonly keeps: readonly Kept[];
  /** Values of a row that the next pass reads, over results of folds up to this one. */
  readonly rowValues: readonly { readonly name: string; readonly value: Expr }[];
}
export interface TileWork {
  readonly dots: ReadonlyMap<string, Kept>;
  readonly passes: readonly Pass[];
  readonly kept: ReadonlyMap<string, Kept>;
}

/** What is dearer than this is kept rather than computed again. */
const KEEP = 2.5;

/** Terms that the elements share with nothing but one side become values of that side. */
export class Sides {
  readonly #bindValues = new Map<Expr, string>();
  readonly byLevel = new Map<number, { readonly name: string; readonly value: Expr }[]>();
  constructor(
    readonly shape: Shape,
    readonly over: OverSide,
    readonly rows: RowSide,
  ) {}
  split(roots: readonly Expr[]): readonly Expr[] {
    const { shape } = this;
    // Which term stands for which is settled from the top: only a term that is still read is given a place.
    const made = new Map<string, () => string>();
    const stand = (e: Expr, name: () => string): Expr => {
      const key = `side:${e.id}`;
      made.set(key, name);
      return local(key, e.type);
    };
    const next = replace(roots, (e) => {
      // Integers stay where they are: a counter of random numbers may need more than the 32 bits that a place has.
      if (e.kind === "num" || e.kind === "var" || e.kind === "local" || e.type === "int") return undefined;
      const reads = shape.reads(e);
      if (reads === OVER) return cost(e, shape.over.v) > 1.5 ? stand(e, () => this.over.lane(e)) : undefined;
      if (reads === ROW) return cost(e) > 1.5 ? stand(e, () => this.rows.value(e)) : undefined;
      if ((reads & OVER) === 0 && (reads & BIND) !== 0 && e.type === "real") return stand(e, () => this.#bindValue(e));
      return undefined;
    });
    const to = new Map<string, Expr>();
    for (const e of termsOf(next))
      if (e.kind === "local") {
        const make = made.get(e.name);
        if (make) {
          const name = make();
          to.set(e.name, local(name, e.type));
        }
      }
    return rename(next, to);
  }
  #bindValue(e: Expr): string {
    const known = this.#bindValues.get(e);
    if (known) return known;
    const { shape } = this;
    const name = freshName("row_value");
    this.#bindValues.set(e, name);
    // What it reads of the row alone is read before the first tile, so that no memory of the user's is touched past the rows.
    const parts = replace([e], (x) => {
      if (x === e || x.kind === "num" || x.kind === "local") return undefined;
      return shape.reads(x) === ROW ? local(this.rows.value(x), x.type) : undefined;
    });
    const level = shape.levelOf(e) - 1;
    const list = this.byLevel.get(level) ?? [];
    list.push({ name, value: parts[0] as Expr });
    this.byLevel.set(level, list);
    this.rows.hold(name, e);
    shape.define(name, ROW | BIND);
    return name;
  }
}

/** `given`: the nest's tile expressions, as this variant of the tile computes them. */
export function planTile(shape: Shape, sides: Sides, given: (roots: readonly Expr[]) => readonly Expr[], tiles: Buffer[]): TileWork {
  const { nest } = shape;
  const mine = (roots: readonly Expr[]) => sides.split(given(roots));
  const kept = new Map<string, Kept>();
  const byValue = new Map<Expr, Kept>();
  const dots = new Map<string, Kept>();
  for (const d of nest.dots) {
    const k: Kept = { name: d.name, value: null, from: 0, to: 0, tile: undefined };
    dots.set(d.name, k);
    kept.set(d.name, k);
  }
  const levelOfFold = (f: TileFold) => Math.max(0, ...[...f.elements, ...(f.rescale ? [f.rescale] : [])].map((e) => shape.levelOf(e)));
  const levels = [
    ...nest.folds.map(levelOfFold),
    ...nest.columns.map((c) => shape.levelOf(c.element)),
    ...nest.quads.flatMap((q) => [q.value, ...q.index].map((e) => shape.levelOf(e))),
  ];
  const last = Math.max(0, ...levels);
  /** Terms that the lanes of earlier passes computed, and in which. */
  const computed = new Map<Expr, number>();
  const keepsOf: Kept[][] = [];
  const passes: Pass[] = [];
  for (let level = 0; level <= last; level++) {
    const [lanes, chained, after] = [3 * level + 1, 3 * level + 2, 3 * level + 3];
    keepsOf.push([]);
    const keep = (e: Expr, from: number, to: number): Kept => {
      const known = byValue.get(e) ?? (e.kind === "local" ? kept.get(e.name) : undefined);
      if (known) {
        known.to = Math.max(known.to, to);
        return known;
      }
      const k: Kept = { name: freshName("kept"), value: e, from, to, tile: undefined };
      byValue.set(e, k);
      kept.set(k.name, k);
      (keepsOf[(from - 1) / 3] as Kept[]).push(k);
      shape.define(k.name, shape.reads(e));
      return k;
    };
    /** Reads what earlier passes computed from where it is kept. */
    const reuse = (roots: readonly Expr[], moment: number): readonly Expr[] => {
      const stand = new Map<string, Expr>();
      const next = replace(roots, (e) => {
        const pass = computed.get(e);
        if (pass === undefined || e.kind === "local" || e.type !== "real" || (shape.reads(e) & OVER) === 0 || cost(e) <= KEEP) return undefined;
        const key = `again:${e.id}`;
        stand.set(key, e);
        return local(key, e.type);
      });
      const to = new Map<string, Expr>();
      for (const n of namesOf(...next)) {
        const e = stand.get(n);
        if (e) to.set(n, local(keep(e, 3 * (computed.get(e) as number) + 1, moment).name, "real"));
      }
      return rename(next, to);
    };
    const use = (roots: readonly Expr[], moment: number) => {
      for (const n of namesOf(...roots)) {
        const k = kept.get(n);
        if (k) k.to = Math.max(k.to, moment);
      }
    };
    const all: Expr[] = [];
    /** A tile expression that the lanes of this pass compute. */
    const lane = (roots: readonly Expr[]): readonly Expr[] => {
      const out = reuse(mine(roots), lanes);
      all.push(...out);
      use(out, lanes);
      return out;
    };
    const element = (e: Expr): Kept => {
      const [x] = lane([e]) as readonly [Expr];
      return keep(x, lanes, after);
    };
    const here = nest.folds.filter((f) => levelOfFold(f) === level);
    const chains = here
      .filter((f) => f.n.length === 0 && f.monoid.kind === "general")
      .map((fold): FoldWork => {
        const elements = mine(fold.elements).map((e) => {
          if (e.type !== "real" || (shape.reads(e) & PAIR) !== PAIR || cost(e) <= KEEP) return e;
          const [x] = reuse([e], lanes) as readonly [Expr];
          all.push(x);
          use([x], lanes);
          return local(keep(x, lanes, after).name, "real");
        });
        use(elements, after);
        return { fold, elements };
      });
    const sums = here
      .filter((f) => f.n.length > 0)
      .map((fold): SumWork => {
        const [e, at] = [fold.elements[0] as Expr, fold.at ? (mine([fold.at])[0] as Expr) : null];
        if (at) use([at], after);
        return { fold, element: element(e), at };
      });
    const columns = nest.columns.filter((c) => shape.levelOf(c.element) === level).map((column) => ({ column, element: element(column.element) }));
    const quads = nest.quads
      .filter((q) => Math.max(...[q.value, ...q.index].map((e) => shape.levelOf(e))) === level)
      .map((q): Store => {
        const [value, ...index] = lane([q.value, ...q.index]) as readonly [Expr, ...Expr[]];
        return { buffer: q.buffer, index, value };
      });
    // What the chains need that is dear, or stored anyway, the lanes compute.
    const stored = (e: Expr): Expr => {
      if (e.type !== "real" || e.kind === "local" || (shape.reads(e) & OVER) === 0) return e;
      return byValue.has(e) || cost(e) > KEEP ? local(keep(e, lanes, after).name, "real") : e;
    };
    const folds = here
      .filter((f) => f.n.length === 0 && f.monoid.kind !== "general")
      .map((fold): FoldWork => {
        const elements = reuse(mine(fold.elements), chained).map((e): Expr => {
          all.push(e);
          // A sum of products is an fma chain: the product stays, its factors may be stored.
          if (!isProduct(fold.elements[0] as Expr)) return stored(e);
          return isProduct(e) ? withParts(e, partsOf(e).map(stored)) : e;
        });
        use(elements, chained);
        return { fold, elements };
      });
    for (const k of keepsOf[level] as Kept[]) use([k.value as Expr], lanes);
    for (const e of termsOf(all)) if (!computed.has(e)) computed.set(e, level);
    passes.push({ level, folds, chains, sums, columns, quads, keeps: keepsOf[level] as Kept[], rowValues: sides.byLevel.get(level) ?? [] });
  }
  // Later passes may have asked for row values of earlier levels.
  const out = passes.map((p) => ({ ...p, rowValues: sides.byLevel.get(p.level) ?? [] }));
  // One tile after the other in order of definition; lanes read all before they store any, so a tile's last reader may
  // define the next, unless that is a chain.
  const free: { readonly buffer: Buffer; until: number }[] = tiles.map((buffer) => ({ buffer, until: -1 }));
  for (const k of [...kept.values()].sort((a, b) => a.from - b.from)) {
    const place = free.find((f) => f.until <= k.from && (k.from > 0 || f.until < 0));
    if (place) {
      place.until = k.to;
      k.tile = place.buffer;
    } else {
      const buffer = tile(freshName("pairs"), "f32", shape.rowTile, OVER_TILE);
      tiles.push(buffer);
      free.push({ buffer, until: k.to });
      k.tile = buffer;
    }
  }
  return { dots, passes: out, kept };
}

export const isProduct = (e: Expr): boolean => e.kind === "call" && e.prim === "mul" && e.type === "real";

/** Terms in the order in which to bind them to names, so that each that is read twice is computed once. */
export function shared(
  roots: readonly Expr[],
  prefix: string,
): { readonly lets: readonly (readonly [string, Expr])[]; readonly roots: readonly Expr[] } {
  const uses = new Map<Expr, number>();
  const all = termsOf(roots);
  for (const e of all) for (const p of partsOf(e)) uses.set(p, (uses.get(p) ?? 0) + 1);
  for (const r of roots) uses.set(r, (uses.get(r) ?? 0) + 1);
  const lets: (readonly [string, Expr])[] = [];
  const named = new Map<Expr, Expr>();
  const now = (e: Expr): Expr => replace([e], (x) => (x === e ? undefined : named.get(x)))[0] as Expr;
  for (const e of all) {
    if (e.kind === "num" || e.kind === "var" || e.kind === "local" || (uses.get(e) as number) < 2) continue;
    if (e.kind === "call" && e.type === "int" && (e.prim === "add" || e.prim === "sub" || e.prim === "neg" || e.prim === "mul")) continue;
    const name = freshName(prefix);
    lets.push([name, now(e)]);
    named.set(e, local(name, e.type));
  }
  return { lets, roots: replace(roots, (x) => named.get(x)) };
}
