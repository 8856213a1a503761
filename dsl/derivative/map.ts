// y = body(x₁, x₂, …) element by element: each argument's cotangent is one map of the seed through the body's own
// derivative, summed over the axes along which that argument was broadcast.
import type { MapNode } from "../node.js";
import { arg } from "../scalar.js";
import { cotangents } from "../scalar-derivative.js";
import { type Rule, scalarOf } from "./rule.js";
import { lift, sumTo } from "./terms.js";

export const map: Rule<MapNode> = ([{ node, ct }], needs) => {
  let seed = "ct";
  while (node.names.includes(seed)) seed += "_";
  const cts = cotangents(
    scalarOf(node.body),
    arg(seed),
    node.names.filter((_, i) => needs[i]),
  );
  const inputs = { ...Object.fromEntries(node.names.map((name, i) => [name, node.args[i]!])), [seed]: ct };
  return node.args.map((x, i) => {
    const body = cts[node.names[i] as string];
    return needs[i] && body ? sumTo(lift(inputs, body, node.axes), x.axes) : null;
  });
};
