// Half-width activations: the forward pass keeps the results of its products with weights rounded to a storage format. The
// pass writes the rounding into the graph as casts, before gradients are taken, so that the backward pass reads what was
// stored, every target rounds the same values (the oracle too), and no choice of fusion or schedule moves a rounding.
//
//   Σ x·w  →  cast(Σ x·w, "bf16")    where x is made of the program's inputs, w is not, and a later product reads the result
//
// What stays f32: sums over positions of two values that both come from the data (scores, attention's outputs, whose
// normaliser the backward pass needs exactly), whatever has both sides of scores, statistics and norms, the residual stream
// (a running sum, whose terms would fall below its spacing), what only the loss reads (the output logits), and all gradients.
// A rounding counts as the identity in a derivative.
import { cast } from "../../dsl/build.js";
import type { Storage } from "../../dsl/model.js";
import type { FoldNode, Leaf, Loop, Node } from "../../dsl/node.js";
import { type Factor, factorsOf } from "./factors.js";
import { below, isLoopNode, order, type Rebuilt, rebuild } from "./walk.js";

/** The roots with what they keep rounded; arrows are read, `rate` and `bound` nodes expanded, `grad` nodes are not. */
export function roundKept(roots: readonly Node[], storage: Storage): Rebuilt {
  if (storage === "f32") return { roots, to: new Map() };
  const rounded = keptProducts(roots);
  // Loops keep the types of what they carry and slice, and a program those of its results.
  const exact = new Set<Node>(roots);
  for (const l of loopsOf(order(roots))) for (const n of [...l.init, ...l.xs, ...l.next]) exact.add(n);
  return rebuild(roots, (n, was) => {
    const made = rounded.has(was) ? cast(n, storage) : n;
    return made.dtype !== was.dtype && exact.has(was) ? cast(made, was.dtype) : made;
  });
}

const loopsOf = (nodes: readonly Node[]): readonly Loop[] => [...new Set(nodes.flatMap((n) => (isLoopNode(n) ? [n.loop] : [])))];

/** The products of data with weights, in the forward pass, that another such product reads the result of. */
export function keptProducts(roots: readonly Node[]): ReadonlySet<Node> {
  const nodes = order(roots);
  const loops = loopsOf(nodes);
  const isGrad = (n: Node) => n.op === "grad";
  const late = upwards(nodes, loops, isGrad);
  const data = upwards(nodes, loops, (n) => n.op === "leaf" && n.role === "input");
  const sides = sidesOf(nodes, data);
  const products = nodes.filter((n): n is FoldNode => !late.has(n) && data.has(n) && (sides.get(n) ?? []).length === 0 && isProduct(n, data));
  const read = downwards(nodes, loops, late, new Set<Node>([...products, ...nodes.filter((n) => !late.has(n) && ofData(n, data).length > 0)]));
  return new Set(products.filter((n) => read.has(n)));
}

/** What is made of a node of the given kind, through loops too. */
function upwards(nodes: readonly Node[], loops: readonly Loop[], is: (n: Node) => boolean): ReadonlySet<Node> {
  const out = new Set<Node>();
  for (let before = -1; before !== out.size; ) {
    before = out.size;
    for (const l of loops) {
      l.carry.forEach((c, k) => {
        if (out.has(l.init[k] as Node) || out.has(l.next[k] as Node)) out.add(c);
      });
      l.slices.forEach((s, k) => {
        if (out.has(l.xs[k] as Node)) out.add(s);
      });
    }
    for (const n of nodes) if (!out.has(n) && (is(n) || partsOf(n).some((p) => out.has(p)))) out.add(n);
  }
  return out;
}
/** A loop's result is made of what it is the result of; of its start by way of the carry. */
const partsOf = (n: Node): readonly Node[] =>
  n.op === "carry" ? [n.loop.init[n.index] as Node, n.loop.next[n.index] as Node] : n.op === "emit" ? [n.of] : below(n);

/** What the given nodes are made of, themselves left out, along nodes that are not `late`. */
function downwards(nodes: readonly Node[], loops: readonly Loop[], late: ReadonlySet<Node>, users: ReadonlySet<Node>): ReadonlySet<Node> {
  const out = new Set<Node>();
  for (let before = -1; before !== out.size; ) {
    before = out.size;
    for (const n of [...nodes].reverse()) if (!late.has(n) && (users.has(n) || out.has(n))) for (const p of partsOf(n)) out.add(p);
    for (const l of loops) {
      const meet = (placeholders: readonly Leaf[], ...values: readonly (readonly Node[])[]) =>
        placeholders.forEach((c, k) => {
          if (out.has(c)) for (const v of values) out.add(v[k] as Node);
        });
      meet(l.carry, l.init, l.next);
      meet(l.slices, l.xs);
    }
  }
  return out;
}

const isSum = (n: FoldNode): boolean => {
  const { combine, empty } = n.monoid;
  if (n.args.length !== 1 || combine.kind !== "scalar") return false;
  const body = combine.at[n.field];
  return body?.kind === "call" && body.prim === "add" && body.args.every((a) => a.kind === "arg") && empty[n.field] === 0;
};
/** Two factors of a sum of products, each with a row that the other lacks: a contraction's two sides. */
type Sides = readonly [Factor, Factor];
function contractions(n: Node): readonly Sides[] {
  if (n.op !== "fold" || !isSum(n)) return [];
  const rows = Object.keys(n.axes);
  const factors = factorsOf(n.args[0] as Node).filter((f) => n.over.some((a) => f.axes.has(a)));
  const beside = (f: Factor, g: Factor) => rows.some((a) => f.axes.has(a) && !g.axes.has(a));
  return factors.flatMap((f, i) => factors.slice(i + 1).flatMap((g): Sides[] => (beside(f, g) && beside(g, f) ? [[f, g]] : [])));
}
const isData = (f: Factor, data: ReadonlySet<Node>): boolean => f.nodes.some((n) => data.has(n));
const ofData = (n: Node, data: ReadonlySet<Node>): readonly Sides[] => contractions(n).filter((s) => s.every((f) => isData(f, data)));
const isProduct = (n: Node, data: ReadonlySet<Node>): n is FoldNode =>
  ofData(n, data).length === 0 && contractions(n).some((s) => s.some((f) => isData(f, data)));

/** The two axes of scores, for values that have both: contractions between data, and what is made of them. */
function sidesOf(nodes: readonly Node[], data: ReadonlySet<Node>): ReadonlyMap<Node, readonly (readonly string[])[]> {
  const out = new Map<Node, readonly (readonly string[])[]>();
  for (const n of nodes) {
    const inherited = below(n).flatMap((p) => out.get(p) ?? []);
    const pairs = inherited.filter((pair) => pair.every((a) => a in n.axes));
    const [sides] = inherited.length === 0 ? ofData(n, data) : [];
    if (sides) pairs.push(Object.keys(n.axes).filter((a) => sides.some((f) => f.axes.has(a)) && !sides.every((f) => f.axes.has(a))));
    if (pairs.length > 0) out.set(n, pairs);
  }
  return out;
}
