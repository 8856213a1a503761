// A lower bound for what a training step must keep from its forward pass. When the loss is known and nothing of the backward
// pass is, every forward value that the backward pass needs is in memory or can be computed again from what is. Which ones may be
// computed again is the rule of graph/residuals.ts: point-wise values, views and random numbers, and what is larger than all it is
// made of (scores); all other folds, gathers and states of loops are not. The least memory of such a choice is a minimum cut: a
// value is cut where it is kept, at the price of its bytes in every turn of the loops around it; what cannot be computed again
// flows from the source, what can flows on from its arguments, and what the backward pass reads flows into the sink. Weights,
// inputs and constants are there anyway.
import type { Leaf, Loop, Node } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { elementsOf, isKept } from "../graph/residuals.js";
import type { Program } from "../lower/lower.js";
import { type Regions, regions } from "../lower/regions.js";

export interface Saved {
  readonly bytes: number;
  /** What is kept, the largest first; a value inside a loop once for each turn. */
  readonly values: readonly { readonly node: Node; readonly turns: number; readonly bytes: number }[];
}
const BYTES: Readonly<Record<Node["dtype"], number>> = { f32: 4, f64: 8, i32: 4, bf16: 2, f16: 2, bool: 1 };

/** `p`: after the graph passes. Its outputs are the forward pass, what its updates need beside is the backward pass. */
export function savedActivations(p: Pick<Program, "outputs" | "updates">): Saved {
  const roots = [...Object.values(p.outputs), ...p.updates.map((u) => u.value)];
  const r = regions(roots);
  const forward = closure(Object.values(p.outputs), r);
  const given = (n: Node): boolean =>
    n.op === "constant" || (n.op === "leaf" && !r.owner.has(n)) || isSliceOf(n, r, (x) => given(x)) || isCounter(n, r);
  const turnsOf = (n: Node): number => {
    let t = 1;
    for (let l: Loop | null = r.home.get(n) ?? null; l; l = r.parent.get(l) ?? null) t *= l.count;
    return t;
  };
  const values = [...forward].filter((n) => !given(n));
  const number = new Map(values.map((n, i) => [n, i]));
  const flow = new Flow(2 * values.length + 2);
  const [source, sink] = [2 * values.length, 2 * values.length + 1];
  for (const [i, n] of values.entries()) {
    flow.edge(2 * i, 2 * i + 1, elementsOf(n) * BYTES[n.dtype] * turnsOf(n));
    const again = n.op === "leaf" ? r.owner.get(n)?.slices.includes(n) : !isKept(n);
    if (!again) flow.edge(source, 2 * i, Number.POSITIVE_INFINITY);
    else
      for (const a of partsOf(n, r)) {
        const from = number.get(a);
        if (from !== undefined) flow.edge(2 * from + 1, 2 * i, Number.POSITIVE_INFINITY);
      }
  }
  const wanted = new Set<number>();
  for (const n of [...r.order.filter((x) => !forward.has(x)).flatMap((x) => partsOf(x, r)), ...p.updates.map((u) => u.value)]) {
    const i = number.get(n);
    if (i !== undefined) wanted.add(i);
  }
  for (const i of wanted) flow.edge(2 * i + 1, sink, Number.POSITIVE_INFINITY);
  const bytes = flow.run(source, sink);
  const reached = flow.reached(source);
  return {
    bytes,
    values: values
      .flatMap((node, i) =>
        reached.has(2 * i) && !reached.has(2 * i + 1)
          ? [{ node, turns: turnsOf(node), bytes: elementsOf(node) * BYTES[node.dtype] * turnsOf(node) }]
          : [],
      )
      .sort((a, b) => b.bytes - a.bytes),
  };
}

/** What a node is computed from; a placeholder, and a result, of a loop from what the loop makes of it. */
function partsOf(n: Node, r: Regions): readonly Node[] {
  if (n.op === "emit") return [n.of];
  if (n.op === "carry") return [n.loop.next[n.index] as Node, n.loop.init[n.index] as Node];
  if (n.op !== "leaf") return argsOf(n);
  const l = r.owner.get(n);
  if (!l) return [];
  const [i, k] = [l.carry.indexOf(n), l.slices.indexOf(n)];
  return i >= 0 ? [l.init[i] as Node, l.next[i] as Node] : k >= 0 ? [l.xs[k] as Node] : [];
}
function closure(roots: readonly Node[], r: Regions): ReadonlySet<Node> {
  const seen = new Set<Node>();
  const todo = [...roots];
  for (let n = todo.pop(); n; n = todo.pop()) {
    if (seen.has(n)) continue;
    seen.add(n);
    todo.push(...partsOf(n, r));
  }
  return seen;
}
const isSliceOf = (n: Node, r: Regions, of: (x: Node) => boolean): boolean => {
  const l = n.op === "leaf" ? r.owner.get(n) : undefined;
  const k = l ? l.slices.indexOf(n as Leaf) : -1;
  return l !== undefined && k >= 0 && of(l.xs[k] as Node);
};
const isCounter = (n: Node, r: Regions): boolean => n.op === "leaf" && r.owner.get(n)?.counter === n;

/** Greatest flow by shortest augmenting paths (Edmonds and Karp, 1972): a few hundred values. */
class Flow {
  readonly #to: number[] = [];
  readonly #left: number[] = [];
  readonly #edges: number[][];
  constructor(nodes: number) {
    this.#edges = Array.from({ length: nodes }, () => []);
  }
  /** An edge and its way back stand side by side. */
  edge(from: number, to: number, capacity: number): void {
    (this.#edges[from] as number[]).push(this.#to.length);
    this.#to.push(to);
    this.#left.push(capacity);
    (this.#edges[to] as number[]).push(this.#to.length);
    this.#to.push(from);
    this.#left.push(0);
  }
  #search(source: number): ReadonlyMap<number, number> {
    /** The edge by which each was reached. */
    const by = new Map<number, number>([[source, -1]]);
    for (const at of by.keys())
      for (const e of this.#edges[at] as number[]) {
        const to = this.#to[e] as number;
        if ((this.#left[e] as number) > 0 && !by.has(to)) by.set(to, e);
      }
    return by;
  }
  run(source: number, sink: number): number {
    for (let total = 0; ; ) {
      const by = this.#search(source);
      if (!by.has(sink)) return total;
      const path: number[] = [];
      for (let at = sink; at !== source; at = this.#to[(path.at(-1) as number) ^ 1] as number) path.push(by.get(at) as number);
      const much = Math.min(...path.map((e) => this.#left[e] as number));
      if (!Number.isFinite(much)) throw new Error("a value that is needed has no price"); // every path passes a value
      for (const e of path) {
        this.#left[e] = (this.#left[e] as number) - much;
        this.#left[e ^ 1] = (this.#left[e ^ 1] as number) + much;
      }
      total += much;
    }
  }
  reached(source: number): ReadonlySet<number> {
    return new Set(this.#search(source).keys());
  }
}
