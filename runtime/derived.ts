// What QuacK derives from a model's labelled logits, as formulas and as text: `mallard bound`.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { budgetText, certificateText, pathText, rateText } from "../compiler/explain/bound-text.js";
import { type DerivedBounds, derivedBounds, type LogitBounds } from "../compiler/explain/bounds.js";
import { order } from "../compiler/graph/walk.js";
import { find } from "../dsl/label.js";
import type { Leaf, Node } from "../dsl/node.js";
import type { RateOptions } from "../dsl/rates.js";
import { flatten } from "../dsl/tree.js";
import type { Tree } from "../dsl/types.js";
import { CompileError } from "./backend.js";
import { authored } from "./excerpt.js";

export type { DerivedBounds, LogitBounds } from "../compiler/explain/bounds.js";
export type { Greatest, Norm, PathFormula, Product, RateFormula } from "../compiler/explain/formulas.js";

/** The bounds of the logits labelled `label` in `out`; null where none are. `params`: all parameters of the model, those that
 *  `out` is computed from unless said. */
export function boundsOf(out: Tree, o: RateOptions & { readonly label?: string } = {}, params?: Tree): Either<CompileError, DerivedBounds> | null {
  const { norm = "frobenius", combine = "max", floor = 0, heuristic = false } = o;
  const logits = find(out, o.label ?? "logits").map(({ path, value }) => ({ path, value: value as unknown as Node })); // a tensor is a node
  if (logits.length === 0) return null;
  const nodes = params === undefined ? order(flatten(out).map((l) => l.node)) : flatten(params).map((l) => l.node);
  const leaves = nodes.filter((n): n is Leaf => n.op === "leaf" && n.role === "param");
  const found = derivedBounds(logits, params === undefined ? leaves.sort((a, b) => a.id - b.id) : leaves, { norm, combine, floor, heuristic });
  return isLeft(found) ? left(new CompileError(found.left)) : right(found.right);
}

export interface LogitText {
  /** "blocks.*.attention [blocks, head, query, key]" */
  readonly logits: string;
  readonly paths: readonly string[];
  readonly factors: readonly string[];
  /** Terms that are added; null where the rates are a heuristic. */
  readonly certificate: readonly string[] | null;
  readonly budget: { readonly first: readonly string[]; readonly rest: readonly string[] } | null;
  readonly names: readonly string[];
  readonly heuristic: readonly string[];
}
export interface BoundsText {
  readonly logits: readonly LogitText[];
  readonly keeps: readonly string[];
}
const at = (place: LogitBounds["heuristic"][number]["place"]): string => {
  const p = place && authored(place);
  return p ? `  ← ${p.file}:${p.line}:${p.column}` : "";
};
export function boundsText(b: DerivedBounds): BoundsText {
  const rated = new Set(b.rates.map((f) => f.weight));
  return {
    logits: b.logits.map((l) => {
      const here = new Set(l.paths.flatMap((p) => p.parameters.map((n) => n.of)));
      const proven = l.heuristic.length === 0;
      return {
        logits: `${l.path === "" ? "logits" : l.path} [${l.axes.join(", ")}]`,
        paths: l.paths.map(pathText),
        factors: b.rates.filter((f) => here.has(f.weight)).map(rateText),
        certificate: proven ? certificateText(l.paths) : null,
        budget: proven ? budgetText(l.paths, rated, b.combine) : null,
        names: l.fixed.map(({ name, what, place }) => `${name}: ${what}${at(place)}`),
        heuristic: l.heuristic.map(({ what, place }) => `${what} counts as a map of norm 1${at(place)}`),
      };
    }),
    keeps: b.keeps.map(({ weight, why }) => `${weight}: ${why}`),
  };
}
