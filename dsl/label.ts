// Names inside an expression: `label` gives them, `find` gives every value so named, also out of loops; `bounded` names
// a map whose norm is known.
import * as build from "./build.js";
import { ArgumentError } from "./errors.js";
import type { LabelNode, Loop, Node } from "./node.js";
import { argsOf } from "./node.js";
import { scope } from "./scope.js";
import { describe, handle, nodeOf } from "./tensor.js";
import { flatten } from "./tree.js";
import type { Axes, DType, Real, Tensor, Tree } from "./types.js";

export const labelled = (x: Node, name: string): Node => {
  const { path, inputs } = scope();
  return build.label(x, name, path, inputs);
};
/** x, with a name that `find`, kernels and messages use. No effect on the value. */
export function label<A extends Axes, D extends DType>(x: Tensor<A, D>, name: string): Tensor<A, D> {
  if (typeof name !== "string" || name === "" || name.startsWith(mark))
    throw new ArgumentError(`label: ${typeof name === "string" ? `"${name}"` : describe(name)} is no name for a value`);
  return handle(labelled(nodeOf(x, "label: its first argument"), name));
}

const mark = "bounded:";
/** x, declared to be linear in one tensor with this operator norm for every fixed value of everything else (a
 *  rotation: 1). Derivations of rates pass through it as one factor. A label named `bounded:NORM`, whose input is
 *  the tensor that it is linear in. */
export function bounded<A extends Axes, B extends Axes>(
  x: Tensor<A, "f32">,
  o: { readonly linearIn: Tensor<B, Real>; readonly norm: number },
): Tensor<A, "f32"> {
  if (!(o.norm >= 0 && Number.isFinite(o.norm))) throw new ArgumentError(`bounded: the norm is ${o.norm}; a number of at least 0 is wanted`);
  return handle(build.label(nodeOf(x, "bounded: its first argument"), `${mark}${o.norm}`, scope().path, [nodeOf(o.linearIn, "bounded: linearIn")]));
}
/** The norm of a node that `bounded` made; undefined for any other. */
export const boundOf = (n: Node): number | undefined => (n.op === "label" && n.name.startsWith(mark) ? Number(n.name.slice(mark.length)) : undefined);

/** Every node labelled so below `of`, with the model path it stands in. A value inside a loop comes stacked on the
 *  loop's axis. */
export function find(of: Tree, name: string): readonly { readonly path: string; readonly value: Tensor<Axes, "f32"> }[] {
  const graph = survey(flatten(of).map((l) => l.node));
  const found = graph.filter((v): v is Visit & { readonly node: LabelNode } => v.node.op === "label" && v.node.name === name);
  return found.map(({ node, loops }) => ({ path: node.path, value: handle(outside(node, loops, graph)) }));
}

interface Visit {
  readonly node: Node;
  /** The loops whose bodies lead here, outermost first. */
  readonly loops: readonly Loop[];
}
/** Every node below the roots, arguments first, loop bodies included; each once. */
export function survey(roots: readonly Node[]): readonly Visit[] {
  const out: Visit[] = [];
  const seen = new Set<Node>();
  const stack: (Visit & { readonly open: boolean })[] = [...roots].reverse().map((node) => ({ node, loops: [], open: true }));
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { node, loops, open } = top;
    if (!open) {
      out.push({ node, loops });
      continue;
    }
    if (seen.has(node)) continue;
    seen.add(node);
    stack.push({ node, loops, open: false });
    if (node.op === "carry" || node.op === "emit") {
      const inner = [...loops, node.loop];
      const results = node.op === "emit" ? [...node.loop.next, node.of] : node.loop.next;
      for (const r of [...results].reverse()) stack.push({ node: r, loops: inner, open: true });
    }
    for (const a of [...argsOf(node)].reverse()) stack.push({ node: a, loops, open: true });
  }
  return out;
}
/** A value of a loop's body, as seen from outside: stacked over each loop that it depends on, innermost first. */
export function outside(node: Node, loops: readonly Loop[], graph: readonly Visit[]): Node {
  const free = freeLoops(graph);
  const depends = new Set(free.get(node));
  return loops.reduceRight<Node>((value, loop) => {
    if (!depends.delete(loop)) return value;
    for (const n of [...loop.init, ...loop.xs, ...loop.next]) for (const l of free.get(n) ?? []) if (l !== loop) depends.add(l);
    return build.emit(loop, value);
  }, node);
}
const known = new WeakMap<readonly Visit[], ReadonlyMap<Node, ReadonlySet<Loop>>>();
/** By node, the loops whose placeholders it depends on, those of its own bodies apart. */
function freeLoops(graph: readonly Visit[]): ReadonlyMap<Node, ReadonlySet<Loop>> {
  const before = known.get(graph);
  if (before) return before;
  const owner = new Map<Node, Loop>();
  for (const { node } of graph)
    if (node.op === "carry" || node.op === "emit")
      for (const p of [...node.loop.carry, ...node.loop.slices, node.loop.counter]) owner.set(p, node.loop);
  const free = new Map<Node, Set<Loop>>();
  for (const { node } of graph) {
    const mine = new Set<Loop>();
    const own = owner.get(node);
    if (own) mine.add(own);
    for (const a of argsOf(node)) for (const l of free.get(a) ?? []) mine.add(l);
    if (node.op === "carry" || node.op === "emit")
      for (const r of node.op === "emit" ? [...node.loop.next, node.of] : node.loop.next)
        for (const l of free.get(r) ?? []) if (l !== node.loop) mine.add(l);
    free.set(node, mine);
  }
  known.set(graph, free);
  return free;
}
