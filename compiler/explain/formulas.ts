// What QuacK derives from labelled logits, as formulas in the weights' names: a small symbolic form that is made from the
// same paths and occurrences as the expressions (compiler/graph/rates.ts, bound.ts), simplified to a normal form, and
// compared or printed (bound-text.ts).
//
//   f(W[i]) = 1 / max over j of max over axes of Σ c ‖V[..]‖ ‖U[..]‖ …
//
// A norm is named by its weight and the logits' axes that choose a slice of it.
import { isMatrix, type Leaf } from "../../dsl/node.js";
import { show } from "../../dsl/scalar-show.js";
import type { Factor, Path } from "../graph/paths.js";
import { type Occurrence, occurrences } from "../graph/rates.js";
import { keyOf, type Separation, separation } from "../graph/separate.js";

export interface Norm {
  /** Of a weight, the norm of a slice; of what only scales, its largest entry; of what is not summed over, the value. */
  readonly kind: "norm" | "largest" | "value";
  /** A parameter's path, or the name of a constant or input. */
  readonly of: string;
  readonly index: readonly string[];
  readonly power: number;
  /** Of a value that a run gives. */
  readonly input?: true;
}
/** c · Π norms. */
export interface Product {
  readonly coefficient: number;
  readonly norms: readonly Norm[];
}
/** The greatest over these axes of the sum of products. */
export interface Greatest {
  readonly over: readonly string[];
  readonly sum: readonly Product[];
}
/** f(weight[index]) = 1 / the greatest of these. */
export interface RateFormula {
  readonly weight: string;
  readonly index: readonly string[];
  readonly bounds: readonly Greatest[];
  /** The logits' axes that are found from the weight's: "group" → "floor([head] / 2)". */
  readonly where: Readonly<Record<string, string>>;
}
/** c · inputs · W · V …: one product that the logits are a sum of. */
export interface PathFormula {
  readonly coefficient: number;
  readonly parameters: readonly Norm[];
  /** Constants and inputs, by their norms. */
  readonly fixed: readonly Norm[];
}

// ── the normal form ──────────────────────────────────────────────────────────────────────────────────
const nameOf = (n: Norm): string => JSON.stringify([n.of, n.kind, n.index]);
const same = (p: Product): string => JSON.stringify(p.norms.map((n) => [nameOf(n), n.power]));
function product({ coefficient, norms }: Product): Product {
  const powers = new Map<string, Norm>();
  for (const n of norms) powers.set(nameOf(n), { ...n, power: n.power + (powers.get(nameOf(n))?.power ?? 0) });
  const kept = [...powers.values()].filter((n) => n.power !== 0);
  return { coefficient, norms: kept.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)) };
}
function greatest(g: Greatest): Greatest {
  const sums = new Map<string, Product>();
  for (const p of g.sum.map(product)) sums.set(same(p), { ...p, coefficient: p.coefficient + (sums.get(same(p))?.coefficient ?? 0) });
  const sum = [...sums.values()].filter((p) => p.coefficient !== 0).sort((a, b) => (same(a) < same(b) ? -1 : 1));
  const used = new Set(sum.flatMap((p) => p.norms.flatMap((n) => n.index)));
  return { over: g.over.filter((a) => used.has(a)).sort(), sum };
}
/** Like products are added, what is no greater than another is left out, everything is in order. */
export function simplified(f: RateFormula): RateFormula {
  const bounds = new Map<string, Greatest>();
  for (const g of f.bounds.map(greatest)) {
    const key = JSON.stringify([g.over, g.sum.map(same)]);
    const known = bounds.get(key);
    if (!known || g.sum.every((p, i) => p.coefficient >= (known.sum[i] as Product).coefficient)) bounds.set(key, g);
    // Neither is greater throughout: both stay.
    else if (!g.sum.every((p, i) => p.coefficient <= (known.sum[i] as Product).coefficient)) bounds.set(`${key} ${bounds.size}`, g);
  }
  return { ...f, bounds: [...bounds].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, g]) => g) };
}
/** The same factor, up to rounding of the numbers in it. */
export function equal(a: RateFormula, b: RateFormula): boolean {
  const text = (f: RateFormula) => {
    const { weight, index, bounds } = simplified(f);
    return JSON.stringify([weight, [...index].sort(), bounds], (k, v: unknown) => (k === "coefficient" ? Number(v).toPrecision(12) : v));
  };
  return text(a) === text(b);
}

// ── from paths ───────────────────────────────────────────────────────────────────────────────────────
/** Names for what is no parameter. */
export type Names = (f: Factor) => string;
/** Layers stacked by a loop are shown by the * in a weight's path. */
const layers = (f: Factor): ReadonlySet<string> => new Set(f.weight?.param?.stacked);
function norm(f: Factor, names: Names): Norm {
  const hidden = layers(f);
  const index = [...Object.keys(f.tensor.axes).filter((a) => !f.contracted.has(a) && !hidden.has(a)), ...picked(f)];
  const matrix = isMatrix(f.weight);
  const kind = f.contracted.size === 0 ? "value" : !matrix && f.scales ? "largest" : "norm";
  return { kind, of: f.weight?.name ?? names(f), index, power: 1, ...(f.kind === "input" ? { input: true } : {}) };
}

export function pathFormula(p: Path, names: Names): PathFormula {
  const of = (keep: (f: Factor) => boolean) => p.factors.filter(keep).map((f) => norm(f, names));
  return { coefficient: Math.abs(p.scale), parameters: of((f) => f.weight !== null), fixed: of((f) => f.weight === null) };
}
/** Of a weight with partners; none for one that is alone on its paths, or on none. One formula, or one for each number at
 *  which the weight is picked from an axis of its own. */
export function rateFormulas(weight: Leaf, logits: readonly (readonly Path[])[], combine: "max" | "sum", names: Names): readonly RateFormula[] {
  const all = logits.map((paths) => occurrences(weight, paths));
  if (!all.flat(2).some((o) => o.others.some((f) => f.weight !== null))) return [];
  const picks = (o: Occurrence) => picked(o.own).filter((a) => !weight.param?.stacked.some((s) => a.startsWith(`${s} = `)));
  const apart = [...new Map(all.flat(2).map((o) => [picks(o).join(), picks(o)])).values()];
  return apart.map((at) => {
    const here = all.map((paths) => paths.map((os) => os.filter((o) => picks(o).join() === at.join())).filter((os) => os.length > 0));
    return rateFormula(weight, here, at, combine, names);
  });
}
type PathsOf = readonly (readonly (readonly Occurrence[])[])[];
function rateFormula(weight: Leaf, all: PathsOf, picks: readonly string[], combine: "max" | "sum", names: Names): RateFormula {
  const axes = new Set<string>();
  const at = new Map<string, string>();
  for (const o of all.flat(2)) {
    const s = separation(o.own);
    for (const a of s.axes) if (!weight.param?.stacked.includes(a) && !s.picked.has(a)) axes.add(a);
    for (const [a, index] of s.at) if (index.kind !== "index" || index.axis !== a) at.set(a, show(index));
  }
  const groups = all.flatMap((paths) => (combine === "max" ? paths : paths.length > 0 ? [paths.flat()] : []));
  const bounds = groups.map((g) => bound(g, names));
  const used = new Set(bounds.flatMap((g) => g.sum.flatMap((p) => p.norms.flatMap((n) => n.index))));
  const index = [...Object.keys(weight.axes).filter((a) => axes.has(a)), ...picks];
  return simplified({ weight: weight.name, index, bounds, where: Object.fromEntries([...at].filter(([a]) => used.has(a))) });
}
const picked = (f: Factor): readonly string[] => [...f.picked].map(([a, i]) => `${a} = ${i}`);
function bound(group: readonly Occurrence[], names: Names): Greatest {
  const over = new Set<string>();
  const keys = new Set<string>();
  const sum = group.map(({ own, others, path }): Product => {
    const how: Separation = separation(own);
    keys.add(keyOf(how));
    // What was picked from the same layer is shown by the * in its path.
    const layer = picked(own).filter((a) => own.weight?.param?.stacked.some((s) => a.startsWith(`${s} = `)));
    const norms = others.map((f) => norm(f, names)).map((n) => ({ ...n, index: n.index.filter((a) => !layer.includes(a)) }));
    for (const n of norms) for (const a of n.index) if (!how.at.has(a) && !a.includes("=")) over.add(a);
    return { coefficient: Math.abs(path.scale), norms };
  });
  // Where a weight stands at different indices, the greatest of each is taken before they are added.
  return { over: [...over], sum };
}
