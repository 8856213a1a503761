// What the graph passes refuse: a mistake of the author's that only the whole expression shows. Like every typed error of
// the language it names the offending expression and its place, and says what would be right.
import { showShape } from "../../dsl/build.js";
import { MallardError } from "../../dsl/errors.js";
import type { Node } from "../../dsl/node.js";
import { placesOf } from "../../dsl/places.js";
import type { CaptureError } from "../capture/error.js";

export class GraphError extends MallardError {
  override readonly name: string = "GraphError";
  constructor(
    readonly pass: "read" | "grad" | "rates",
    what: string,
    hint: string,
    readonly node: Node,
  ) {
    const place = placesOf(node)[0];
    super(what, hint, place ? { place } : {});
  }
}
/** What the pipeline's fallible passes give on the left. */
export type PassError = GraphError | CaptureError;

/** A node in a message: what it is, without its operands. */
export const describeNode = (n: Node): string => {
  const name = n.op === "leaf" && n.name ? ` "${n.name}"` : n.op === "label" ? ` "${n.name}"` : "";
  return `${n.op}${name} ${showShape(n.axes)}`;
};
