// deriveRates: for every weight that labelled logits are computed from, the factor of its learning rate, as an
// expression that the compiler derives from the logits (docs/quack.md). This file finds the weights: those that stand on a path
// to the logits together with another parameter. Which do, the arrows between them say, and these the compiler reads: it
// provides the answer (`provideDerivation`), and where it refuses the logits, every weight below them has an expression,
// whose expansion tells why.
import * as build from "./build.js";
import { ArgumentError, quote, RuleError } from "./errors.js";
import type { Leaf, Loop, Node, RateRule, Shape } from "./node.js";
import { argsOf, isMatrix } from "./node.js";
import type { Rates } from "./rules.js";
import { handle, nodeOf } from "./tensor.js";
import type { Axes, Tensor } from "./types.js";

/** For each of the logits, the matrices that stand with another parameter on a path to them, each with its axes that
 *  separate rates; null where the logits have no bound. */
export type Derivation = (logits: readonly Node[], o: { readonly heuristic: boolean }) => readonly (ReadonlyMap<Leaf, readonly string[]> | null)[];
let derivation: Derivation = (logits) => logits.map(() => null);
/** The compiler's: which weights are on which paths. */
export const provideDerivation = (d: Derivation): void => {
  derivation = d;
};

export interface RateOptions {
  /** Of the weights' slices: Frobenius unless said. */
  readonly norm?: RateRule["norm"];
  /** A weight's bounds on several paths to one logit: their maximum (the paper's), or their sum. */
  readonly combine?: RateRule["combine"];
  /** The least value that the norm of a parameter is taken for: 0 unless said. With it, a weight that begins at zero does
   *  not stop the rates of those it is multiplied with. */
  readonly floor?: number;
  /** What has no bound (QK norm, norms of latents: the logits do not grow with the weights before them) counts as a map of
   *  norm 1. The rates are then a heuristic: no certificate and no budget hold. */
  readonly heuristic?: boolean;
}

/** The factors f(W) for the weights on the paths to the labelled logits, as far as the inputs of the model that labelled
 *  them. Gains and tables (no `from`, no `to`) keep their rate, and so does a weight alone on its path (a bias table, a
 *  sink): they are not in the result. The factor of a weight whose partner is 0 is infinite.
 *  Refused by the compiler, with the expression and its place, where no bound exists. */
export function deriveRates(logits: readonly { readonly value: Tensor<Axes, "f32"> }[], o: RateOptions = {}): Rates {
  if (!Array.isArray(logits) || logits.length === 0)
    throw new RuleError("deriveRates: no logits", 'name them where they are computed: label(s, "logits"), then find(loss, "logits")');
  const rule: RateRule = { norm: o.norm ?? "frobenius", combine: o.combine ?? "max", floor: o.floor ?? 0, heuristic: o.heuristic ?? false };
  if (!["frobenius", "spectral"].includes(rule.norm))
    throw new ArgumentError(`deriveRates: no norm "${rule.norm}"`, 'norms are "frobenius" and "spectral"');
  if (!["max", "sum"].includes(rule.combine))
    throw new ArgumentError(`deriveRates: cannot combine by "${rule.combine}"`, 'paths combine by "max" or "sum"');
  if (!(rule.floor >= 0 && Number.isFinite(rule.floor)))
    throw new ArgumentError(`deriveRates: the floor is ${rule.floor}`, "a number of at least 0 is wanted: the least value of a weight's norm");
  const by = new Map<Leaf, { readonly logits: Node[]; readonly axes: Set<string> }>();
  let below = 0;
  const nodes = logits.map(({ value }) => nodeOf(value, "deriveRates: the logits"));
  const derived = derivation(nodes, rule);
  for (const [i, n] of nodes.entries()) {
    const weights = paramsBelow(n).filter(isMatrix);
    below += weights.length;
    for (const [w, axes] of derived[i] ?? new Map(weights.map((w) => [w, named(w, n)]))) {
      const known = by.get(w) ?? { logits: [], axes: new Set() };
      by.set(w, { logits: [...known.logits, n], axes: new Set([...known.axes, ...axes]) });
    }
  }
  if (by.size === 0)
    throw new RuleError(
      `deriveRates: no weight stands ${below > 0 ? "with another one on a path" : ""} between the logits and the inputs of their model`.replace(
        "  ",
        " ",
      ),
      below > 0
        ? "weights alone on their paths keep their rate: there is nothing to derive"
        : "label the logits in the model whose parts the weights are: paths end at the inputs of the model that labels",
    );
  const paths = [...by.keys()].map((w) => w.name);
  const twice = paths.find((p, i) => paths.indexOf(p) !== i);
  if (twice !== undefined)
    throw new RuleError(`deriveRates: two weights are called ${quote([twice])}`, "logits of two models: derive their rates apart");
  // In the order in which the weights were declared, whatever way the walk came.
  const sorted = [...by].sort(([a], [b]) => a.id - b.id);
  const shape = (w: Leaf, axes: ReadonlySet<string>): Shape => Object.fromEntries(Object.entries(w.axes).filter(([a]) => axes.has(a)));
  return handle(Object.fromEntries(sorted.map(([w, { logits, axes }]) => [w.name, build.rate(w, logits, rule, shape(w, axes))])));
}
/** Axes by name, where nothing is known of the paths. */
const named = (w: Leaf, logits: Node): readonly string[] => Object.keys(w.axes).filter((a) => a in logits.axes || w.param?.stacked.includes(a));

/** The parameters below the label that `value` shows, gains and tables too, its model's inputs and what is below them left
 *  out, in the order in which they were declared. A loop's slices lead to what they are slices of. */
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
  return [...found].sort((a, b) => a.id - b.id);
}
