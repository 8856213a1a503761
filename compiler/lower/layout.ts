// The order of a stored value's axes in memory. It is the expression's own, unless a map (or a view) over the same axes reads
// it in another: then it lies as that one goes, so that both are read in order. Gradients thus lie as their weights do.
import type { Node } from "../../dsl/node.js";
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
/** A view that reads every axis where it is, but for those of one index. */
const inPlace = (n: Node): boolean =>
  n.op === "view" &&
  n.index.kind === "scalar" &&
  Object.entries(n.index.at).every(([a, e]) => (e.kind === "index" && e.axis === a) || (e.kind === "const" && n.args[0].axes[a] === 1));
