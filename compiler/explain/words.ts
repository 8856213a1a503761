// What the diagnoses of an expression have in common: their form, and how a value of the author's is called in them.
import { showExtent } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import type { Node } from "../../dsl/node.js";
import { type Place, placesOf } from "../../dsl/places.js";
import { arg, type Scalar, substitute } from "../../dsl/scalar.js";
import { show } from "../../dsl/scalar-show.js";
import type { Expanded } from "./expand.js";

export interface Diagnosis {
  /** warning: right, but hardly what is meant. stopped: a fusion that something in the expression prevents. */
  readonly kind: "warning" | "stopped";
  readonly node: Node;
  /** Where the author wrote it. */
  readonly place: Place | undefined;
  /** What is wrong: values by name, axes with sizes. */
  readonly message: string;
  /** What to do. */
  readonly hint: string;
}
export const diagnosis = (kind: Diagnosis["kind"], node: Node, message: string, hint: string): Diagnosis => ({
  kind,
  node,
  place: placesOf(node)[0],
  message,
  hint,
});

/** A value by its label, or by what it is, with its axes. */
export function called(n: Node): string {
  const axes = Object.entries(n.axes)
    .map(([a, e]) => `${a} ${showExtent(e)}`)
    .join(", ");
  const name = n.op === "label" ? `"${n.name}"` : n.op === "leaf" ? (n.name ? `"${n.name}"` : `the ${n.role}`) : `the ${operation(n)}`;
  return axes === "" ? name : `${name} (${axes})`;
}

/** Folds by what the author's language calls them. */
function operation(n: Node): string {
  if (n.op === "fold") return `${folds[kindOf(n.monoid)]} over ${n.over.join(", ")}`;
  return n.op === "scan" ? `scan over ${n.over}` : n.op;
}
const folds = { sum: "sum", prod: "product", max: "maximum", min: "minimum", general: "fold" } as const;

/** An expanded scalar, in which values of other operations have their names. */
export function shown({ body, args }: Expanded, names: (n: Node) => string | undefined = () => undefined): string {
  return show(substitute(body, (leaf) => (leaf.kind === "arg" ? named(args.get(leaf.name), names) : undefined)));
}
function named(n: Node | undefined, names: (n: Node) => string | undefined): Scalar | undefined {
  if (!n) return undefined;
  return arg(names(n) ?? (n.op === "leaf" && n.name ? n.name : `the ${operation(n)}`));
}
