// The order of a stored value's axes in memory. It is the expression's own, unless
//   a product with a weight, say, reads it whose summed axes lie apart: then those come last, so that rows and depth are one
//   stride each and nothing is packed (the gradient of values, [batch, head, value, key], summed over head and value);
//   or a map (or a view) over the same axes reads it in another order: then it lies as that one goes, so that both are read in
//   order. Gradients thus lie as their weights do.
import { kindOf } from "../../dsl/derivative/monoid.js";
import type { FoldNode, Node } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import type { Regions } from "./regions.js";

export type Layouts = ReadonlyMap<Node, readonly string[]>;

export function layouts(r: Regions, stored: ReadonlySet<Node>, epilogue: ReadonlyMap<Node, Node>, fixed: ReadonlySet<Node>): Layouts {
  const out = new Map<Node, readonly string[]>();
  const wish = (n: Node, order: readonly string[]) => {
    if (out.has(n) || fixed.has(n) || !stored.has(n)) return;
    const own = Object.keys(n.axes);
    if (own.length === order.length && own.every((a) => order.includes(a)) && own.some((a, i) => a !== order[i])) out.set(n, order);
  };
  for (const f of r.order) {
    if (f.op !== "fold" || kindOf(f.monoid) !== "sum") continue;
    for (const [n, order] of summedLast(f, stored)) wish(n, order);
  }
  for (const n of r.order) {
    if (!(n.op === "map" || inPlace(n)) || [...epilogue.values()].includes(n)) continue;
    const order = Object.keys(n.axes);
    for (const a of argsOf(n)) {
      if (a.op !== "fold" && a.op !== "map" && a.op !== "emit") continue;
      if (a.op === "emit") {
        if (order.length === Object.keys(a.axes).length && order[0] === a.loop.axis) wish(a.of, order.slice(1));
      } else wish(a, order);
    }
  }
  return out;
}
/** What a product of two stored values would read in two runs of memory, with the order in which it is one run each of rows and
 *  of depth. */
function summedLast(f: FoldNode, stored: ReadonlySet<Node>): readonly (readonly [Node, readonly string[]])[] {
  const operands = new Set<Node>();
  const todo = [...f.args];
  for (let n = todo.pop(); n; n = todo.pop()) {
    if (n.op === "map" && !stored.has(n)) todo.push(...argsOf(n));
    else operands.add(n);
  }
  if (operands.size !== 2) return [];
  const [x, y] = [...operands] as [Node, Node];
  return (
    [
      [x, y],
      [y, x],
    ] as const
  ).flatMap(([n, other]) => {
    const axes = Object.keys(n.axes);
    const summed = axes.filter((a) => f.over.includes(a));
    const rows = axes.filter((a) => !f.over.includes(a));
    const apart = ![
      [...rows, ...summed],
      [...summed, ...rows],
    ].some((order) => order.every((a, i) => a === axes[i]));
    const plain = (n.op === "fold" || n.op === "map") && rows.every((a) => !(a in other.axes));
    return apart && plain ? [[n, [...rows, ...summed]] as const] : [];
  });
}
/** A view that reads every axis where it is, but for those of one index. */
const inPlace = (n: Node): boolean =>
  n.op === "view" &&
  n.index.kind === "scalar" &&
  Object.entries(n.index.at).every(([a, e]) => (e.kind === "index" && e.axis === a) || (e.kind === "const" && n.args[0].axes[a] === 1));
