// Storing through a view: where a view puts each element of what it views, if it only moves them.
import { solve } from "../../dsl/derivative/inverse.js";
import type { Extent, Shape, ViewNode } from "../../dsl/node.js";
import { constant, index as indexOf, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";

/** For a view that only moves elements: its own axes as functions of the indices of what it views. */
export function unviewed(n: ViewNode): Readonly<Record<string, Scalar>> | undefined {
  const [x] = n.args;
  const { index } = n;
  if (index.kind !== "scalar") return undefined;
  const apart = (a: string) => `${a}'`;
  const known = (t: Scalar): Scalar | undefined => {
    if (t.kind === "index") return indexOf(apart(t.axis));
    const e = t.kind === "size" ? (x.axes[t.axis] ?? n.axes[t.axis]) : undefined;
    return typeof e === "number" ? constant(e) : undefined;
  };
  const at = new Map(n.reads.map((a) => [a, simplify(substitute(index.at[a] as Scalar, known))] as const));
  const out: Record<string, Scalar> = {};
  // Axes of one element are at 0 on both sides.
  const equations = new Map([...at].filter(([a, e]) => !(x.axes[a] === 1 && e.kind === "const" && e.value === 0)));
  const used = new Set([...at.values()].flatMap((e) => terms([e]).flatMap((t) => (t.kind === "index" ? [t.axis] : []))));
  const wanted = new Map(Object.entries(n.fresh).filter(([a, e]) => used.has(apart(a)) || e !== 1));
  for (const a of Object.keys(n.fresh)) if (!wanted.has(a)) out[a] = constant(0);
  // Each axis of one side is an axis of the other, of the same extent.
  const renamed = [...equations].every(([a, e]) => e.kind === "index" && x.axes[a] === n.axes[e.axis.slice(0, -1)]);
  if (renamed && new Set(equations.values()).size === equations.size && equations.size === wanted.size) {
    for (const [a, e] of equations) if (e.kind === "index") out[e.axis.slice(0, -1)] = indexOf(a);
    return out;
  }
  const size = (s: Shape) => Object.values(s).reduce<number>((p, e) => p * (typeof e === "number" ? e : Number.NaN), 1);
  if (size(x.axes) !== size(n.axes)) return undefined;
  const { solved, conditions } = solve(
    equations,
    new Map([...equations.keys()].map((a) => [a, x.axes[a] as Extent])),
    new Map([...wanted].map(([a, e]) => [apart(a), e])),
  );
  if (conditions.length > 0 || [...wanted.keys()].some((a) => !solved.has(apart(a)))) return undefined;
  for (const a of wanted.keys()) out[a] = solved.get(apart(a)) as Scalar;
  return out;
}
