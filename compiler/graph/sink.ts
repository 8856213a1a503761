// What is computed from a loop's stacked results layer by layer is computed in the loop: the greatest logit of every
// layer needs no stack of all logits. A fold, map or view of emitted values that does not touch the loop's axis moves
// into the body and is emitted itself.
//
//   f(emit(L, x), y) → emit(L, f(x, y))     where f treats each index of L's axis alike and y does not depend on L
import { emit, fold, map, view, withArgs } from "../../dsl/build.js";
import { argsOf, type Loop, type Node } from "../../dsl/node.js";
import { terms } from "../../dsl/scalar.js";
import { below, rebuild } from "./walk.js";

export function sink(roots: readonly Node[]): readonly Node[] {
  const depends = new Map<Loop, Map<Node, boolean>>();
  return rebuild(roots, (n) => sunk(n, depends) ?? n).roots;
}

function sunk(n: Node, depends: Map<Loop, Map<Node, boolean>>): Node | undefined {
  if (n.op !== "map" && n.op !== "fold" && n.op !== "view" && n.op !== "cast" && n.op !== "stop") return undefined;
  const args = argsOf(n);
  const loop = args.find((a) => a.op === "emit");
  if (loop?.op !== "emit") return undefined;
  const l = loop.loop;
  if (!(l.axis in n.axes) || !evenAlong(n, l.axis)) return undefined;
  for (const a of args) {
    const same = a.op === "emit" && a.loop === l;
    if (!same && (l.axis in a.axes || reaches(a, l, depends))) return undefined;
  }
  const inner = args.map((a) => (a.op === "emit" && a.loop === l ? a.of : a));
  const { [l.axis]: _, ...axes } = n.axes;
  switch (n.op) {
    case "map":
      return emit(l, map(Object.fromEntries(n.names.map((name, i) => [name, inner[i] as Node])), n.body, n.dtype, axes));
    case "view":
      return emit(l, view(inner[0] as Node, n.fresh, n.index, n.reads));
    case "fold": {
      const fields = fold(Object.fromEntries(Object.keys(n.monoid.empty).map((c, i) => [c, inner[i] as Node])), n.monoid, n.over);
      return emit(l, fields[n.field] as Node);
    }
    case "cast":
    case "stop":
      return emit(l, withArgs(n, inner));
  }
}

/** Does the operation do the same at every index of the axis? */
function evenAlong(n: Node, axis: string): boolean {
  const mentions = (t: ReturnType<typeof terms>[number]) => (t.kind === "index" || t.kind === "size") && t.axis === axis;
  switch (n.op) {
    case "map":
      return n.body.kind === "scalar" && !terms([n.body.body]).some(mentions);
    case "view":
      return n.index.kind === "scalar" && !n.reads.includes(axis) && !(axis in n.fresh) && !terms(Object.values(n.index.at)).some(mentions);
    case "fold":
      return !n.over.includes(axis);
    default:
      return true;
  }
}

/** Is one of the loop's results below n? */
function reaches(n: Node, l: Loop, depends: Map<Loop, Map<Node, boolean>>): boolean {
  const known = depends.get(l) ?? new Map<Node, boolean>();
  depends.set(l, known);
  const stack: { n: Node; parts: readonly Node[]; next: number }[] = [];
  const enter = (x: Node) => {
    if (known.has(x)) return;
    if ((x.op === "carry" || x.op === "emit") && x.loop === l) known.set(x, true);
    else {
      known.set(x, false);
      stack.push({ n: x, parts: below(x), next: 0 });
    }
  };
  enter(n);
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const p = top.parts[top.next++];
    if (p) enter(p);
    else {
      if (top.parts.some((x) => known.get(x))) known.set(top.n, true);
      stack.pop();
    }
  }
  return known.get(n) === true;
}
