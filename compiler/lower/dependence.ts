// What must be known before what, where folds are gathered in kernels: a kernel waits for all that any of its folds reads.
import { argsOf, type FoldNode, type Node } from "../../dsl/node.js";
import { isPointwise } from "../graph/quadratic.js";
import type { Regions } from "./regions.js";
import type { Draft } from "./tile-kernel.js";

/** How folds depend on a kernel: not at all; on its values for the row, through point-wise expressions; or through what
 *  is computed elsewhere from all of them, after which alone they could start. */
export function dependence(fields: readonly FoldNode[], d: Draft, place: ReadonlyMap<Node, Draft>, r: Regions): "none" | "row" | "outside" {
  let found: "none" | "row" = "none";
  const seen = new Set<string>();
  const todo: { n: Node; clean: boolean }[] = fields.flatMap((f) => f.args.map((n) => ({ n, clean: true })));
  const visited = new Set<Draft>();
  for (let item = todo.pop(); item; item = todo.pop()) {
    const { n, clean } = item;
    const key = `${n.id}${clean}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const at = place.get(n);
    if (at === d) {
      if (!clean) return "outside";
      found = "row";
      continue;
    }
    if (at && !visited.has(at)) {
      visited.add(at);
      for (const f of [...at.folds.flat(), ...at.quads]) for (const a of argsOf(f)) todo.push({ n: a, clean: false });
    }
    const still = clean && isPointwise(n);
    for (const p of partsOf(n, r)) todo.push({ n: p, clean: still });
  }
  return found;
}
export function partsOf(n: Node, r: Regions): readonly Node[] {
  if (n.op === "carry" || n.op === "emit") return [...n.args, ...n.loop.next, ...(n.op === "emit" ? [n.of] : [])];
  if (n.op !== "leaf") return argsOf(n);
  const l = r.owner.get(n);
  const k = l ? l.slices.indexOf(n) : -1;
  return l && k >= 0 ? [l.xs[k] as Node] : l?.carry.includes(n) ? [l.init[l.carry.indexOf(n)] as Node] : [];
}
/** Everything computed from these values. */
export function dependents(own: ReadonlySet<Node>, r: Regions): ReadonlySet<Node> {
  const out = new Set<Node>();
  for (const n of r.order) if (partsOf(n, r).some((p) => own.has(p) || out.has(p))) out.add(n);
  return out;
}
/** Is any of these values computed from a kernel's results, whichever kernels lie between? */
export function waitsFor(values: readonly Node[], d: Draft, place: ReadonlyMap<Node, Draft>, r: Regions): boolean {
  const seen = new Set<Node>();
  const visited = new Set<Draft>();
  const todo = [...values];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (seen.has(x)) continue;
    seen.add(x);
    const at = place.get(x);
    if (at === d) return true;
    if (at && !visited.has(at)) {
      visited.add(at);
      for (const f of [...at.folds.flat(), ...at.quads]) todo.push(...argsOf(f));
    }
    todo.push(...partsOf(x, r));
  }
  return false;
}
