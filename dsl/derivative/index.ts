// The derivative of every operation, one rule each. Loops (`carry`, `emit`) have no rule here: their derivative is a loop
// that the compiler builds from these rules for the body; `grad` and `rate` are expanded before anything that contains
// them is differentiated.
import { top as makeTop } from "../build.js";
import type { CastNode, Node, Op, TopNode } from "../node.js";
import { arg, call, index } from "../scalar.js";
import { at } from "./at.js";
import { fold } from "./fold.js";
import { map } from "./map.js";
import type { Rule, Use } from "./rule.js";
import { scan } from "./scan.js";
import { freshAxis, isFloat, lift, rename, sumOver, zero } from "./terms.js";
import { view } from "./view.js";

export type Differentiable = Exclude<Op, "carry" | "emit" | "grad" | "rate" | "bound">;
type NodeOf<O extends Op> = Extract<Node, { readonly op: O }>;
type Rules = { readonly [O in Differentiable]: Rule<NodeOf<O>> };

const none = ([{ node }]: readonly [Use<Node>, ...Use<Node>[]]) => ("args" in node ? node.args.map(() => null) : []);
const passes = ([{ ct }]: readonly [Use<Node>, ...Use<Node>[]]) => [ct];

/** The k greatest are a gather: the gradient goes back to where each came from. */
const top: Rule<TopNode> = ([{ node, ct }]) => {
  if (node.field !== "value") return [null];
  const [x] = node.args;
  const from = makeTop(x, node.over, node.slot, node.k, "index");
  const slot = node.slot in x.axes ? freshAxis(node.slot, x.axes, node.axes) : node.slot;
  const apart = new Map([[node.slot, slot]]);
  const hot = call("select", call("eq", arg("from"), index(node.over)), arg("ct"), zero);
  return [sumOver(lift({ from: rename(from, apart), ct: rename(ct, apart) }, hot, x.axes), [slot])];
};
/** Rounding to a storage format counts as the identity; what becomes or was an integer has no gradient. */
const cast: Rule<CastNode> = ([{ node, ct }]) => [isFloat(node) && isFloat(node.args[0]) ? ct : null];

export const derivatives: Rules = {
  leaf: none,
  constant: none,
  map,
  view,
  at,
  fold,
  scan,
  top,
  random: none,
  cast,
  stop: none,
  label: passes,
};

/** The rule for these results, which are one operation's. */
export function derive(uses: readonly [Use<Node>, ...Use<Node>[]], needs: readonly boolean[]): readonly (Node | null)[] {
  const op = uses[0].node.op;
  if (op === "carry" || op === "emit" || op === "grad" || op === "rate" || op === "bound")
    throw new Error(`derivative: ${op} is the compiler's to expand`);
  // The table pairs each op with a rule for its own nodes; the checker cannot follow that through an index.
  return (derivatives[op] as Rule<Node>)(uses, needs);
}
export type { Rule, Use } from "./rule.js";
