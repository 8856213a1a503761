// The form of a derivative rule. Reverse mode asks: given the cotangents of an operation's results, what is the
// cotangent of each argument? Results that are computed together (the components of one fold or scan) are asked together.
import type { Body, IndexBody, MonoidBody, Node } from "../node.js";
import type { Scalar } from "../scalar.js";

/** One of the results and its cotangent, which has the result's axes (in any order). */
export interface Use<N extends Node> {
  readonly node: N;
  readonly ct: Node;
}
/** `uses` is not empty. One cotangent per argument, with that argument's axes, or null where it is zero or not needed. */
export type Rule<N extends Node> = (uses: readonly [Use<N>, ...Use<N>[]], needs: readonly boolean[]) => readonly (Node | null)[];

// Rules differentiate meanings: the graph has been read by the time they are asked.
const unread = (): never => {
  throw new Error("derivative of an arrow that has not been read: compiler/graph/read comes first");
};
export const scalarOf = (b: Body): Scalar => (b.kind === "scalar" ? b.body : unread());
export const indexOf = (b: IndexBody): Readonly<Record<string, Scalar>> => (b.kind === "scalar" ? b.at : unread());
export const combineOf = (m: MonoidBody): Readonly<Record<string, Scalar>> => (m.combine.kind === "scalar" ? m.combine.at : unread());
