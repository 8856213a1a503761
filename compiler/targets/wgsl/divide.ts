// A nest with more buffers than a shader may bind, as two nests of fewer stores each. Values see what was there before any
// store of the nest: so a store goes first whose value, or whose fold, reads what another replaces, and those that
// read each other's memory stay together. What a part does not need of the folds before its stores is left out.
import { namesOf } from "../../loop/terms.js";
import type { Expr } from "../../lower/expr.js";
import { loadsOf } from "../../lower/memory.js";
import type { Nest, Stage, Store } from "../../lower/nest.js";

/** undefined: it cannot be divided. */
export function divided(nest: Nest): readonly [Nest, Nest] | undefined {
  if (nest.form === "map") {
    const parts = halves(nest.stores, (s) => [s.value, ...s.index]);
    return (
      parts && [
        { ...nest, ...named(nest, 1), stores: parts[0] },
        { ...nest, ...named(nest, 2), stores: parts[1] },
      ]
    );
  }
  if (nest.form === "row") {
    const parts = rowHalves(nest.stages);
    return (
      parts && [
        { ...nest, ...named(nest, 1), stages: parts[0] },
        { ...nest, ...named(nest, 2), stages: parts[1] },
      ]
    );
  }
  return undefined;
}
const named = (nest: Nest, part: number) => ({ name: `${nest.name}_part${part}` });

/** In order, about half of them each. `reads`: all that a store's value depends on. */
function halves(stores: readonly Store[], reads: (s: Store) => readonly Expr[]): readonly [readonly Store[], readonly Store[]] | undefined {
  const inputs = stores.map((s) => new Set(loadsOf(reads(s)).map((l) => l.buffer)));
  const into = (i: number) => (stores[i] as Store).buffer;
  const before = (i: number, j: number) => i !== j && ((inputs[i] as (typeof inputs)[number]).has(into(j)) || into(i) === into(j));
  // What must not come after a store that is already in a part is drawn into it: readers before writers.
  const closure = (of: ReadonlySet<number>): ReadonlySet<number> => {
    const out = new Set(of);
    const todo = [...of];
    for (let j = todo.pop(); j !== undefined; j = todo.pop())
      for (const i of stores.keys())
        if (!out.has(i) && before(i, j)) {
          out.add(i);
          todo.push(i);
        }
    return out;
  };
  let first: ReadonlySet<number> = new Set();
  for (const i of stores.keys()) {
    const grown = closure(new Set([...first, i]));
    if (grown.size === stores.length) continue;
    if (first.size === 0 || grown.size <= stores.length / 2) first = grown;
  }
  if (first.size === 0) return undefined;
  return [stores.filter((_, i) => first.has(i)), stores.filter((_, i) => !first.has(i))];
}

function rowHalves(stages: readonly Stage[]): readonly [readonly Stage[], readonly Stage[]] | undefined {
  const stores = stages.flatMap((s) => (s.stage === "map" ? s.stores : []));
  const written = new Set(stores.map((s) => s.buffer));
  // Of one map at the end: what an earlier stage stores a later one may read, and a scan stores as it goes.
  const maps = stages.filter((s) => s.stage !== "fold");
  const [last] = maps;
  if (maps.length !== 1 || last?.stage !== "map" || stages.at(-1) !== last) return undefined;
  const folds = stages.flatMap((s) => (s.stage === "fold" ? [s] : []));
  const elements = (roots: readonly Expr[]): readonly Expr[] => neededBy(roots, folds).flatMap((f) => f.elements);
  const reads = (s: Store) => [s.value, ...s.index, ...elements([s.value, ...s.index])];
  const parts = written.size === stores.length ? halves(last.stores, reads) : undefined;
  const stagesOf = (own: readonly Store[]): readonly Stage[] => {
    const needed = new Set<Stage>(
      neededBy(
        own.flatMap((s) => [s.value, ...s.index]),
        folds,
      ),
    );
    return [...folds.filter((f) => needed.has(f)), { ...last, stores: own }];
  };
  return parts && [stagesOf(parts[0]), stagesOf(parts[1])];
}
type Fold = Extract<Stage, { stage: "fold" }>;
/** The folds that terms read, by themselves or through others. */
function neededBy(roots: readonly Expr[], folds: readonly Fold[]): readonly Fold[] {
  const out = new Set<Fold>();
  const todo = [...roots];
  for (let e = todo.pop(); e; e = todo.pop()) {
    const names = namesOf(e);
    for (const f of folds)
      if (!out.has(f) && f.bind.some((b) => names.has(b))) {
        out.add(f);
        todo.push(...f.elements);
      }
  }
  return folds.filter((f) => out.has(f));
}
