// What a path is: one product of the sum that a logit expression is (paths.ts walks, monomials.ts multiplies out, network.ts
// finishes), and how paths are made and joined.
import { zeros } from "../../dsl/derivative/terms.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { index, type Scalar } from "../../dsl/scalar.js";
import { GraphError } from "./error.js";

export interface Factor {
  /** The parameter or fixed tensor, seen through the views on its way. */
  readonly tensor: Node;
  readonly weight: Leaf | null;
  /** A parameter (weights and gains); a tensor whose values are known before the program runs; one that a run gives, the
   *  model's inputs and what is computed from them alone. A joint stands, during the walk, for a map of its entries. */
  readonly kind: "parameter" | "constant" | "input" | "joint";
  /** Its axes that have been summed over. */
  readonly contracted: ReadonlySet<string>;
  /** In which of the path's sums each of them takes part. */
  readonly sums: ReadonlyMap<string, number>;
  /** The contracted axes in groups that only this factor connects: as an operator it maps from some of the groups to the
   *  others. One group where the rest of the path connects them all: then its Euclidean norm is what bounds it. */
  readonly sides: readonly (readonly string[])[];
  /** In every contraction two other factors took part: the factor only scales, and its largest entry bounds it. */
  readonly scales: boolean;
  /** Layers that were picked from a stacked weight by number. */
  readonly picked: ReadonlyMap<string, number>;
  /** The index along each axis of the parameter, by the indices of `tensor`. */
  readonly origin: ReadonlyMap<string, Scalar>;
}
export interface Path {
  readonly scale: number;
  readonly factors: readonly Factor[];
  /** How many sums there are. */
  readonly sums: number;
  /** What passed as a map of norm 1 without being one: the bound is a heuristic where there is any. */
  readonly heuristic: readonly Node[];
}
export const refusal = (n: Node, what: string, hint: string): GraphError => new GraphError("rates", `deriveRates: ${what}`, hint, n);
export const refuse = (n: Node, what: string, hint: string): never => {
  throw refusal(n, what, hint);
};
export const noBound = "no bound on the change of the logits exists through it";
export const asBounded = "declare its operator norm, if that is known: bounded(…, { linearIn, norm })";

/** Paths of one value. */
export const most = 4096;
export const tooMany = (n: Node): never =>
  refuse(n, `the logits are a sum of more than ${most} products`, "label an earlier value, or declare a part of it as bounded");

export const factor = (tensor: Node, weight: Leaf | null, kind: Factor["kind"]): Factor => ({
  tensor,
  weight,
  kind,
  contracted: new Set(),
  sums: new Map(),
  sides: [],
  scales: false,
  picked: new Map(),
  origin: weight ? new Map(Object.keys(tensor.axes).map((a) => [a, index(a)])) : new Map(),
});
export const path = (factors: readonly Factor[], scale = 1, heuristic: readonly Node[] = []): Path => ({ scale, factors, sums: 0, heuristic });
export const linked = (f: Factor, links: readonly (readonly [string, number])[]): Factor =>
  links.length === 0 ? f : { ...f, sums: new Map([...f.sums, ...links]), contracted: new Set([...f.contracted, ...links.map(([a]) => a)]) };
export const times = (p: Path, q: Path): Path => ({
  scale: p.scale * q.scale,
  factors: [
    ...p.factors,
    ...q.factors.map((f) => (p.sums === 0 || f.sums.size === 0 ? f : { ...f, sums: new Map([...f.sums].map(([a, s]) => [a, s + p.sums])) })),
  ],
  sums: p.sums + q.sums,
  heuristic: [...p.heuristic, ...q.heuristic.filter((n) => !p.heuristic.includes(n))],
});
/** The entries pass a map of their own (a choice, a contraction): no matrix norm is left of what stands before it, but the
 *  Euclidean norm over all the axes that are still there. */
export const jointly = (p: Path, n: Node): Path => {
  const open = Object.fromEntries(Object.entries(n.axes).filter(([a]) => p.factors.some((f) => free(f, a))));
  return Object.keys(open).length < 2 ? p : { ...p, factors: [...p.factors, factor(zeros(open), null, "joint")] };
};

export const free = (f: Factor, axis: string): boolean => axis in f.tensor.axes && !f.sums.has(axis);
