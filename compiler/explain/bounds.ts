// What QuacK derives from the labelled logits of a model: by logits the paths, certificate and budget, by weight the
// factor of its rate or why it keeps its rate, as formulas (formulas.ts). The derivation is that of the expressions.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { argsOf, isMatrix, type Leaf, type Node, type RateRule } from "../../dsl/node.js";
import { type Place, placesOf } from "../../dsl/places.js";
import { describeNode, GraphError, type PassError } from "../graph/error.js";
import type { Factor, Path } from "../graph/paths.js";
import { pathsOfLogits } from "../graph/rates.js";
import { read } from "../graph/read.js";
import { order, owners } from "../graph/walk.js";
import { type PathFormula, pathFormula, type RateFormula, rateFormulas } from "./formulas.js";

/** A value, by the name it has in formulas. */
export interface Named {
  readonly name: string;
  readonly what: string;
  readonly place: Place | undefined;
}
export interface LogitBounds {
  /** Of the label: the part of the model that it stands in. */
  readonly path: string;
  readonly axes: readonly string[];
  readonly paths: readonly PathFormula[];
  /** Constants and inputs in the formulas. */
  readonly fixed: readonly Named[];
  /** What counts as a map of norm 1 without being one. */
  readonly heuristic: readonly Omit<Named, "name">[];
}
export interface DerivedBounds extends RateRule {
  readonly logits: readonly LogitBounds[];
  readonly rates: readonly RateFormula[];
  readonly keeps: readonly { readonly weight: string; readonly why: string }[];
}

/** `params`: all parameters of the model. */
export function derivedBounds(
  logits: readonly { readonly path: string; readonly value: Node }[],
  params: readonly Leaf[],
  rule: RateRule,
): Either<readonly PassError[], DerivedBounds> {
  const whole = read(logits.map((l) => l.value));
  if (isLeft(whole)) return whole;
  const { roots } = whole.right;
  const owner = new Map(owners(order(roots)));
  try {
    const all = roots.map((root) => pathsOfLogits(root, owner, rule));
    const labels = roots.map(labelBelow);
    const names = labels.map((l) => naming(l.op === "label" ? l.inputs : []));
    const formulas = all.map((paths, i) => paths.map((p) => pathFormula(p, (names[i] as Naming).of)));
    const naming0 = naming([]);
    const rates = params.flatMap((w) =>
      isMatrix(w) ? rateFormulas(w, all, rule.combine, (names[all.findIndex((ps) => on(w, ps))] ?? naming0).of) : [],
    );
    return right({
      ...rule,
      logits: logits.map(({ path, value }, i) => ({
        path,
        axes: Object.keys(value.axes),
        paths: formulas[i] as readonly PathFormula[],
        fixed: (names[i] as Naming).named,
        heuristic: [...new Set((all[i] as readonly Path[]).flatMap((p) => p.heuristic))].map((n) => ({
          what: describeNode(n),
          place: placesOf(n)[0],
        })),
      })),
      rates,
      keeps: params.filter((w) => !rates.some((f) => f.weight === w.name)).map((w) => ({ weight: w.name, why: reason(w, all) })),
    });
  } catch (e) {
    if (e instanceof GraphError) return left([e]);
    throw e;
  }
}
const on = (w: Leaf, paths: readonly Path[]): boolean => paths.some((p) => p.factors.some((f) => f.weight === w));
function reason(w: Leaf, all: readonly (readonly Path[])[]): string {
  if (!all.some((paths) => on(w, paths))) return "on no path to the logits";
  return isMatrix(w) ? "alone on its path: no other parameter's norm scales its steps" : "a gain or table: it enters the factors of others";
}
function labelBelow(value: Node): Node {
  let n = value;
  while (n.op === "emit") n = n.of;
  return n;
}

interface Naming {
  readonly of: (f: Factor) => string;
  readonly named: Named[];
}
/** The model's inputs are x, or x1, x2, …; what is computed from them alone fixed1, …; constants constant1, …. */
function naming(inputs: readonly Node[]): Naming {
  const known = new Map<Node, string>();
  const named: Named[] = [];
  const name = (n: Node, text: string, what: string): string => {
    const before = known.get(n);
    if (before !== undefined) return before;
    known.set(n, text);
    named.push({ name: text, what, place: placesOf(n)[0] });
    return text;
  };
  const next = (prefix: string): string => `${prefix}${named.filter((x) => x.name.startsWith(prefix)).length + 1}`;
  const of = (f: Factor): string => {
    let n = f.tensor;
    while (["view", "at", "cast", "stop", "label"].includes(n.op) && !inputs.includes(n)) n = argsOf(n)[0] as Node;
    const i = inputs.indexOf(n);
    if (i >= 0) {
      const [text, what] = inputs.length === 1 ? ["x", "an input"] : [`x${i + 1}`, `input ${i + 1}`];
      return name(n, text, `${what} of the model that labels the logits`);
    }
    return f.kind === "constant" ? name(n, next("constant"), describeNode(n)) : name(n, next("fixed"), describeNode(n));
  };
  return { of, named };
}
