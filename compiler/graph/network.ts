// What a path's links say of each factor's norm. A path is a network: its factors are joined by the sums that they take
// part in, and |Σ| over all of them is at most the product of
//
//   - the largest entry, of a factor that only scales: in each of its sums two others remain that do not only scale
//   - the operator norm, of a factor that alone connects groups of its axes: contracting what hangs on each group leaves a
//     vector there, no longer than the product of the norms in that part
//   - the Euclidean norm, of a factor whose axes the rest of the network connects (by Cauchy and Schwarz)
//
// Note [Norms on a network]. Blocks of a network (parts that no single factor separates) meet in single factors, so the
// network is a tree of blocks. From the leaves of that tree inwards each block is contracted: inside, Cauchy and Schwarz
// (every sum has two holders that do not only scale, or one and a vector of ones whose norm √n the path's number has);
// where a factor joins blocks, its norm as a multilinear form on one vector a block, which any of its operator norms
// between these groups bounds.

import { isMatrix } from "../../dsl/node.js";
import type { Factor, Path } from "./path.js";

/** The path at the end of the walk: without joints, each factor with its sides and whether it only scales. */
export function finished(p: Path): Path {
  const scaling = scalingOf(p.factors.filter((f) => f.kind !== "joint"));
  const factors = p.factors
    .map((f) => (f.kind === "joint" ? f : { ...f, contracted: new Set(f.sums.keys()), scales: scaling.has(f), sides: sidesOf(f, p.factors) }))
    .filter((f) => f.kind !== "joint");
  return { ...p, factors };
}

const inputsLast = ["constant", "parameter", "input"];
/** Gains, constants and fixed tensors, as long as two that do not scale stay in every sum. */
function scalingOf(factors: readonly Factor[]): ReadonlySet<Factor> {
  const others = new Map<number, number>();
  for (const f of factors) for (const s of f.sums.values()) others.set(s, (others.get(s) ?? 0) + 1);
  const out = new Set<Factor>();
  const candidates = factors.filter((f) => !isMatrix(f.weight) && f.sums.size > 0);
  for (const f of candidates.sort((a, b) => inputsLast.indexOf(a.kind) - inputsLast.indexOf(b.kind))) {
    if (![...f.sums.values()].every((s) => (others.get(s) as number) > 2)) continue;
    for (const s of f.sums.values()) others.set(s, (others.get(s) as number) - 1);
    out.add(f);
  }
  return out;
}

/** The factor's contracted axes, together where the others connect them. */
function sidesOf(f: Factor, factors: readonly Factor[]): readonly (readonly string[])[] {
  const parent = new Map<number, number>();
  const root = (s: number): number => {
    let at = s;
    for (let up = parent.get(at); up !== undefined; up = parent.get(at)) at = up;
    return at;
  };
  for (const g of factors) {
    if (g === f) continue;
    const [first, ...more] = g.sums.values();
    for (const s of more) if (root(s) !== root(first as number)) parent.set(root(s), root(first as number));
  }
  const groups = new Map<number, string[]>();
  for (const [axis, s] of f.sums) groups.set(root(s), [...(groups.get(root(s)) ?? []), axis]);
  return [...groups.values()];
}
