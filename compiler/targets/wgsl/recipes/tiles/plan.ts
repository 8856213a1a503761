// What the pairs of a tile compute, in passes. Pass 0 reads scores alone; pass p reads results of folds of the passes before,
// brought up to date. What an earlier pass computed and a later one needs again (a masked, capped score) stays in
// registers. What reads one side alone is a value of the invocation's rows or lanes (group.ts).
import { freshName } from "../../../../loop/spans.js";
import { namesOf, rename, replace } from "../../../../loop/terms.js";
import { cost } from "../../../../loop/tiles/cost.js";
import { type Buffer, type Expr, load, local } from "../../../../lower/expr.js";
import type { Store, TileFold } from "../../../../lower/nest.js";
import { type Group, isPair } from "./group.js";

export interface Kept {
  readonly name: string;
  readonly value: Expr;
  readonly cells: Buffer;
}
export interface Pass {
  readonly folds: readonly { readonly fold: TileFold; readonly elements: readonly Expr[] }[];
  /** By the number of the sum. */
  readonly sums: readonly { readonly i: number; readonly fold: TileFold; readonly element: Expr; readonly at: Expr | null }[];
  readonly quads: readonly Store[];
  readonly keeps: readonly Kept[];
}

/** What is dearer than this is kept rather than computed again. */
const KEEP = 2.5;

export function passesOf(g: Group): readonly Pass[] {
  const { shape, nest, demand } = g;
  const all = (f: TileFold) => [...f.elements, ...(f.at ? [f.at] : []), ...(f.rescale ? [f.rescale] : [])];
  const level = (roots: readonly Expr[]) => Math.max(0, ...roots.map((e) => shape.levelOf(e)));
  const last = Math.max(0, ...nest.folds.map((f) => level(all(f))), ...nest.quads.map((q) => level([q.value, ...q.index])));
  const keeps: Kept[][] = Array.from({ length: last + 1 }, () => []);
  const known = new Map<Expr, Kept>();
  const kept = (e: Expr): Kept => {
    const found = known.get(e);
    if (found) return found;
    const cells = g.private("kept", "f32", g.layout.ey, g.layout.ex);
    const k: Kept = { name: freshName("kept"), value: e, cells };
    known.set(e, k);
    keeps[shape.levelOf(e)]?.push(k);
    g.holdPair(k.name, (r, c) => load(cells, [r, c]));
    return k;
  };
  /** As pass p computes it. */
  const mine = (roots: readonly Expr[], p: number): readonly Expr[] => {
    const own = g.sided(roots);
    if (p === 0) return own;
    const stands = new Map<string, Expr>();
    const next = replace(own, (e) => {
      if (e.kind !== "call" || e.type !== "real" || !isPair(shape, e) || shape.levelOf(e) >= p || cost(e) <= KEEP) return undefined;
      const key = `again:${e.id}`;
      stands.set(key, e);
      return local(key, e.type);
    });
    const to = new Map<string, Expr>();
    for (const n of namesOf(...next)) {
      const e = stands.get(n);
      if (e) to.set(n, local(kept(e).name, e.type));
    }
    return rename(next, to);
  };
  const sumOf = new Map(demand.sums.map((s, i) => [s.fold, i]));
  const passes: Omit<Pass, "keeps">[] = [];
  for (let p = 0; p <= last; p++) {
    const here = nest.folds.filter((f) => level(all(f)) === p);
    const folds = here.filter((f) => f.n.length === 0).map((fold) => ({ fold, elements: mine(fold.elements, p) }));
    const sums = here
      .filter((f) => f.n.length > 0)
      .map((fold) => {
        const [element, at] = mine([fold.elements[0] as Expr, ...(fold.at ? [fold.at] : [])], p);
        return { i: sumOf.get(fold) as number, fold, element: element as Expr, at: at ?? null };
      });
    const quads = nest.quads
      .filter((q) => level([q.value, ...q.index]) === p)
      .map((q): Store => {
        const [value, ...index] = mine([q.value, ...q.index], p);
        return { buffer: q.buffer, index, value: value as Expr };
      });
    passes.push({ folds, sums, quads });
  }
  return passes.map((p, i) => ({ ...p, keeps: keeps[i] as readonly Kept[] }));
}
