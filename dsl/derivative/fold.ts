// Derivatives of folds.
//
//   sum       every element gets the cotangent
//   max, min  the elements that attain it share the cotangent equally: their mass is 1
//   others    y = (P ∘ x) ∘ S with the exclusive prefix P and the exclusive suffix S of each element, and the derivative
//             is that of the combine. A product is exact at zeros, because nothing is divided.
// A fold over several axes of such a monoid is a fold of folds.
import { fold as makeFold, scan } from "../build.js";
import type { FoldNode, MonoidBody, Node } from "../node.js";
import { arg, call, constant, type Scalar } from "../scalar.js";
import { cotangents } from "../scalar-derivative.js";
import { bindSides, kindOf, mapValues, swapSides } from "./monoid.js";
import { combineOf, type Rule, type Use } from "./rule.js";
import { add, broadcast, lift, sumOver, sumTo, unionOf, zero } from "./terms.js";

type Components = Readonly<Record<string, Node>>;

export const fold: Rule<FoldNode> = (uses, needs) => {
  const [{ node, ct }] = uses;
  const [x] = node.args as readonly [Node, ...Node[]];
  switch (kindOf(node.monoid)) {
    case "sum":
      return [broadcast(ct, x.axes)];
    case "max":
    case "min": {
      const y = uses[0].node;
      const attains = call("eq", arg("x"), arg("y"));
      const count = sumOver(lift({ x, y }, call("select", attains, one, zero)), y.over);
      return [lift({ x, y, ct, count }, call("select", attains, call("div", arg("ct"), arg("count")), zero))];
    }
    default:
      return general(uses, needs);
  }
};
const one = constant(1);

function general(uses: readonly Use<FoldNode>[], needs: readonly boolean[]): readonly (Node | null)[] {
  const { monoid, args, over } = (uses[0] as Use<FoldNode>).node;
  const names = Object.keys(monoid.empty);
  // stages[k] is what is folded over over[k]; the last stage's results are the node's.
  const stages: Components[] = [Object.fromEntries(names.map((c, i) => [c, args[i] as Node]))];
  for (const axis of over.slice(0, -1)) stages.push(makeFold(stages.at(-1) as Components, monoid, [axis]));
  let cts: Readonly<Record<string, Node | null>> = Object.fromEntries(uses.map(({ node, ct }) => [node.field, ct]));
  for (let k = stages.length - 1; k >= 0; k--)
    cts = along(stages[k] as Components, monoid, over[k] as string, cts, k === 0 ? names.filter((_, i) => needs[i]) : names);
  return names.map((c) => cts[c] ?? null);
}

/** One axis. */
function along(
  xs: Components,
  monoid: MonoidBody,
  axis: string,
  cts: Readonly<Record<string, Node | null>>,
  wanted: readonly string[],
): Readonly<Record<string, Node | null>> {
  const names = Object.keys(monoid.empty);
  const combine = combineOf(monoid);
  const extent = unionOf(Object.values(xs))[axis]!;
  // A scan combines (what it has, the next element) whichever way it runs; a suffix comes after its element.
  const swapped: MonoidBody = { empty: monoid.empty, combine: { kind: "scalar", at: mapValues(combine, swapSides) } };
  const before = scan(xs, monoid, axis, { exclusive: true });
  const after = scan(xs, swapped, axis, { exclusive: true, reverse: true });
  const prefixed = mapValues(combine, (s) =>
    bindSides(
      s,
      (c) => arg(`before.${c}`),
      (c) => arg(`x.${c}`),
    ),
  );
  const inputs: Record<string, Node> = {};
  for (const c of names) {
    inputs[`before.${c}`] = before[c] as Node;
    inputs[`after.${c}`] = after[c] as Node;
    inputs[`x.${c}`] = xs[c] as Node;
  }
  const out: Record<string, Node | null> = Object.fromEntries(names.map((c) => [c, null]));
  for (const field of names) {
    const ct = cts[field];
    if (!ct) continue;
    const whole = bindSides(
      combine[field] as Scalar,
      (c) => prefixed[c] as Scalar,
      (c) => arg(`after.${c}`),
    );
    const bodies = cotangents(
      whole,
      arg("ct"),
      wanted.map((c) => `x.${c}`),
    );
    for (const c of wanted) {
      const body = bodies[`x.${c}`];
      if (!body) continue;
      const x = xs[c] as Node;
      const part = sumTo(lift({ ...inputs, ct }, body, { ...x.axes, [axis]: extent }), x.axes);
      out[c] = out[c] ? add(out[c], part) : part;
    }
  }
  return out;
}
