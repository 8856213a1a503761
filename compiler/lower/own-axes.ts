// New state in the state's own axes. A rule over matrices sees a weight and its momentum with their axes merged to "out" and
// "in", and its results are split again. What it computes element by element needs neither: the view moves inside, where it
// meets the view that made the matrix, and what is left reads and writes the state index by index, in place, in one pass.
//
//   split(f(merge(m), merge(g)))     →     f(split(merge(m)), split(merge(g))), which reads m and g at their own indices
import { map, view } from "../../dsl/build.js";
import { ordered } from "../../dsl/derivative/terms.js";
import type { Node, ViewNode } from "../../dsl/node.js";
import { terms } from "../../dsl/scalar.js";
import { simplify } from "../graph/simplify.js";
import { unviewed } from "./unview.js";

export function inOwnAxes(value: Node): Node {
  const moved: ViewNode[] = [];
  let n = value;
  for (; n.op === "view" && unviewed(n); n = n.args[0]) moved.push(n);
  if (moved.length === 0 || n.op !== "map" || n.body.kind !== "scalar" || depends(n.body.body)) return value;
  const args = n.args.map((a) => [...moved].reverse().reduce<Node>(viewed, a));
  const inputs = Object.fromEntries(n.names.map((name, i) => [name, args[i] as Node]));
  const made = map(inputs, n.body, n.dtype);
  if (Object.keys(made.axes).length !== Object.keys(value.axes).length) return value;
  return simplify([ordered(made, value.axes)]).roots[0] as Node;
}
const depends = (body: Parameters<typeof terms>[0][number]): boolean => terms([body]).some((t) => t.kind === "index" || t.kind === "size");

/** The same view of a value that may lack some of the axes. */
function viewed(x: Node, v: ViewNode): Node {
  if (v.index.kind !== "scalar") return x;
  const at = Object.fromEntries(Object.entries(v.index.at).filter(([a]) => a in x.axes));
  if (Object.keys(at).length === 0) return x;
  const used = new Set(terms(Object.values(at)).flatMap((t) => (t.kind === "index" ? [t.axis] : [])));
  const fresh = Object.fromEntries(Object.entries(v.fresh).filter(([a]) => used.has(a)));
  return view(x, fresh, { kind: "scalar", at }, Object.keys(at));
}
