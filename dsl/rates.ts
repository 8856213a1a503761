// deriveRates: for every weight that labelled logits are computed from, the factor of its learning rate, as an
// expression that the compiler derives from the logits (quack.md). This file finds the weights.
import * as build from "./build.js";
import { ArgumentError, quote, RuleError } from "./errors.js";
import type { Leaf, Loop, Node, RateNode } from "./node.js";
import { argsOf } from "./node.js";
import type { Rates } from "./rules.js";
import { handle, nodeOf } from "./tensor.js";
import type { Axes, Tensor } from "./types.js";

/** The factors for every weight below the labelled logits, as far as the inputs of the model that labelled them.
 *  Gains and tables (no `from`, no `to`) keep theirs. Refused by the compiler, with the node, where no bound exists. */
export function deriveRates(
  logits: readonly { readonly value: Tensor<Axes, "f32"> }[],
  o: { readonly norm?: "frobenius" | "spectral"; readonly combine?: "max" | "sum" } = {},
): Rates {
  if (!Array.isArray(logits) || logits.length === 0)
    throw new RuleError("deriveRates: no logits", 'name them where they are computed: label(s, "logits"), then find(loss, "logits")');
  const how: Pick<RateNode, "norm" | "combine"> = { norm: o.norm ?? "frobenius", combine: o.combine ?? "max" };
  if (!["frobenius", "spectral"].includes(how.norm))
    throw new ArgumentError(`deriveRates: no norm "${how.norm}"`, 'norms are "frobenius" and "spectral"');
  if (!["max", "sum"].includes(how.combine))
    throw new ArgumentError(`deriveRates: cannot combine by "${how.combine}"`, 'paths combine by "max" or "sum"');
  const by = new Map<Leaf, Node[]>();
  for (const { value } of logits) {
    const n = nodeOf(value, "deriveRates: the logits");
    for (const w of paramsBelow(n).filter(isMatrix)) by.set(w, [...(by.get(w) ?? []), n]);
  }
  if (by.size === 0) throw new RuleError("deriveRates: no weight stands between the logits and the inputs of their model");
  const paths = [...by.keys()].map((w) => w.name);
  const twice = paths.find((p, i) => paths.indexOf(p) !== i);
  if (twice !== undefined)
    throw new RuleError(`deriveRates: two weights are called ${quote([twice])}`, "logits of two models: derive their rates apart");
  return handle(Object.fromEntries([...by].map(([w, ls]) => [w.name, build.rate(w, ls, how)])));
}

const isMatrix = ({ param }: Leaf): boolean => param !== undefined && param.from.length + param.to.length > 0;

/** Parameters below the label that `value` shows, its model's inputs and what is below them left out. A loop's slices
 *  lead to what they are slices of. */
export function paramsBelow(value: Node): readonly Leaf[] {
  const sources = new Map<Node, readonly Node[]>();
  const enter = (l: Loop) => {
    for (const [k, s] of l.slices.entries()) sources.set(s, [l.xs[k] as Node]);
    for (const [k, c] of l.carry.entries()) sources.set(c, [l.init[k] as Node, l.next[k] as Node]);
  };
  let label = value;
  for (; label.op === "emit"; label = label.of) enter(label.loop);
  const beyond = new Set<Node>(label.op === "label" ? label.inputs : []);
  const found = new Set<Leaf>();
  const seen = new Set<Node>();
  const stack: Node[] = [label];
  for (let n = stack.pop(); n; n = stack.pop()) {
    if (seen.has(n) || (beyond.has(n) && n !== label)) continue;
    seen.add(n);
    if (n.op === "leaf" && n.role === "param") found.add(n);
    if (n.op === "carry" || n.op === "emit") {
      enter(n.loop);
      stack.push(...(n.op === "emit" ? [n.of] : [n.loop.next[n.index] as Node]));
    } else stack.push(...argsOf(n));
    stack.push(...(sources.get(n) ?? []));
  }
  // In the order in which the weights were declared, whatever way the walk came.
  return [...found].sort((a, b) => a.id - b.id);
}
