// Checks a graph after a pass: every node is what its constructor would make of its parts, placeholders stay inside their
// loops, loops are consistent. What it finds is a bug of ours, never of the author, so it throws.
import { showShape, unite, withArgs } from "../../dsl/build.js";
import { argsOf, type Leaf, type Loop, type Node, type Shape } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import { describeNode } from "./error.js";
import { isLoopNode, order, owners, placeholders, scopes } from "./walk.js";

export class GraphBug extends Error {
  override readonly name = "GraphBug";
}
export interface Stage {
  /** No arrows are left. */
  readonly read?: boolean;
  /** No grad, rate and bound nodes are left. */
  readonly expanded?: boolean;
}

export function verify(roots: readonly Node[], stage: Stage = {}): void {
  const all = order(roots);
  const fail = (n: Node, what: string): never => {
    throw new GraphBug(`${describeNode(n)} (node ${n.id}): ${what}`);
  };
  let owner: ReadonlyMap<Leaf, Loop>;
  try {
    owner = owners(all);
  } catch (e) {
    throw new GraphBug(String(e));
  }
  const scope = scopes(all);
  for (const r of roots) {
    const free = [...(scope.get(r) ?? [])][0];
    if (free) fail(r, `a result depends on a placeholder of the loop over "${free.axis}"`);
  }
  for (const n of all) {
    if (n.op === "leaf" && n.role === "bound" && !owner.has(n)) fail(n, "a placeholder outside every loop");
    if (stage.expanded && (n.op === "grad" || n.op === "rate" || n.op === "bound")) fail(n, "not expanded");
    if (isLoopNode(n)) loopNode(n, fail);
    else if (argsOf(n).length > 0) {
      const again = withArgs(n, [...argsOf(n)]);
      if (!same(again.axes, n.axes) || again.dtype !== n.dtype) fail(n, `its parts make ${again.dtype} ${showShape(again.axes)}`);
    }
    shape(n, fail);
    scalars(n, stage, fail);
  }
}
type Fail = (n: Node, what: string) => never;
const same = (a: Shape, b: Shape): boolean => Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([k, e]) => b[k] === e);

/** The shape rules once more, from the parts. */
function shape(n: Node, fail: Fail): void {
  switch (n.op) {
    case "map":
      for (const [axis, extent] of Object.entries(unite(n.args.map((a) => a.axes))))
        if (n.axes[axis] !== extent) fail(n, `axis "${axis}" of its inputs is missing`);
      return;
    case "at":
      if (n.args.length !== n.along.length + 1) fail(n, "as many indices as axes");
      for (const i of n.args.slice(1)) if (i.dtype !== "i32") fail(n, `an index of type ${i.dtype}`);
      return;
    case "fold":
    case "scan":
      if (n.args.length !== Object.keys(n.monoid.empty).length || !(n.field in n.monoid.empty)) fail(n, "components and inputs do not agree");
      return;
    case "grad":
      if (!same(n.axes, n.args[1].axes)) fail(n, "a gradient has the axes of what it is taken with respect to");
      return;
    default:
      return;
  }
}
function loopNode(n: Extract<Node, { loop: Loop }>, fail: Fail): void {
  const l = n.loop;
  const args = [...l.init, ...l.xs];
  if (args.length !== n.args.length || args.some((a, i) => a !== n.args[i])) fail(n, "its args are not its loop's init and xs");
  if (l.carry.length !== l.init.length || l.next.length !== l.init.length || l.slices.length !== l.xs.length)
    fail(n, "its loop's parts differ in number");
  l.carry.forEach((c, k) => {
    for (const m of [l.init[k] as Node, l.next[k] as Node])
      if (!same(c.axes, m.axes)) fail(n, `carry ${k} is ${showShape(c.axes)}, given ${showShape(m.axes)}`);
  });
  l.slices.forEach((s, k) => {
    const x = l.xs[k] as Node;
    if (x.axes[l.axis] !== l.count || !same({ ...s.axes, [l.axis]: l.count }, x.axes))
      fail(n, `slice ${k} is ${showShape(s.axes)} of ${showShape(x.axes)}`);
  });
  if (new Set(placeholders(l)).size !== placeholders(l).length) fail(n, "a placeholder stands twice");
  if (n.op === "carry" && !same(n.axes, (l.init[n.index] as Node).axes)) fail(n, "a carry has the axes of its initial value");
  if (n.op === "emit" && !same(n.axes, { [l.axis]: l.count, ...n.of.axes })) fail(n, "an emitted value is stacked on the loop's axis");
}
function scalars(n: Node, stage: Stage, fail: Fail): void {
  const check = (roots: readonly Scalar[], args: readonly string[], indices: Shape, sizes: Shape) => {
    for (const t of terms(roots)) {
      if (t.kind === "arg" && !args.includes(t.name)) fail(n, `its body reads input "${t.name}", which it has not`);
      if (t.kind === "index" && !(t.axis in indices)) fail(n, `its body reads the index of "${t.axis}", which it has not`);
      if (t.kind === "size" && !(t.axis in sizes)) fail(n, `its body reads the size of "${t.axis}", which it has not`);
    }
  };
  const unread = () => {
    if (stage.read) fail(n, "an arrow that has not been read");
  };
  if (n.op === "map") {
    if (n.body.kind === "scalar") check([n.body.body], n.names, n.axes, n.axes);
    else unread();
  } else if (n.op === "view") {
    if (n.index.kind === "scalar") {
      check(Object.values(n.index.at), [], n.axes, { ...n.axes, ...n.args[0].axes });
      if (Object.keys(n.index.at).sort().join() !== [...n.reads].sort().join()) fail(n, "its index is not over the axes it reads");
    } else unread();
  } else if (n.op === "fold" || n.op === "scan") {
    const { combine, empty } = n.monoid;
    if (combine.kind === "scalar")
      check(
        Object.values(combine.at),
        Object.keys(empty).flatMap((c) => [`x.${c}`, `y.${c}`]),
        {},
        {},
      );
    else unread();
  }
}
