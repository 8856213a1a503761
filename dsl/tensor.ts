// The bridge between the author's handles and the graph's nodes. A `Tensor` handle IS a `Node`: its `axes` and `dtype`
// are the node's own fields, and nothing is wrapped. This file is the one place where the two types meet, and holds
// the run-time counterparts of what the types check.
import { showExtent, showShape } from "./build.js";
import { ArgumentError, AxisError, DTypeError, quote, SizeError } from "./errors.js";
import { didYouMean } from "./nearest.js";
import type { DType, Extent, Node, Shape } from "./node.js";
import { UpTo } from "./node.js";
import type { AnyTensor } from "./types.js";

/** A node, or several, as the handle type that the public signature computes. The axes of that type were derived by the
 *  checker from the arguments' types, the node's by `build.ts` from the arguments themselves: they are the same rule,
 *  but the checker cannot know that, so this is a cast. */
export function handle<T>(made: unknown): T {
  return made as T;
}

export const isNode = (x: unknown): x is Node =>
  typeof x === "object" && x !== null && "op" in x && typeof x.op === "string" && "axes" in x && "dtype" in x;

/** The node behind a handle; `what` says which argument of which operation it is. */
export function nodeOf(x: unknown, what: string): Node {
  if (isNode(x)) return x;
  throw new ArgumentError(
    `${what} is ${describe(x)}, no tensor`,
    "inside an arrow a tensor's value is a number: tensor operations belong outside the arrow",
  );
}
/** A tensor of numbers: everything but masks. */
export function realOf(x: unknown, what: string): Node {
  const n = nodeOf(x, what);
  if (n.dtype === "bool") throw new DTypeError(`${what} is a mask (bool); numbers are wanted`, "map(m, m => (m ? 1 : 0)) makes numbers of it");
  return n;
}
export function intOf(x: unknown, what: string): Node {
  const n = nodeOf(x, what);
  if (n.dtype !== "i32")
    throw new DTypeError(`${what} is ${n.dtype}; integers (i32) are wanted`, 'declare it as input(axes, "i32"), or use cast(x, "i32")');
  return n;
}
export const describe = (x: unknown): string =>
  x === null || x === undefined ? String(x) : Array.isArray(x) ? "an array" : typeof x === "object" ? "an object" : `a ${typeof x}`;

export const sameExtent = (a: Extent | undefined, b: Extent | undefined): boolean => a === b;
export const names = (s: Shape): readonly string[] => Object.keys(s);
export const omit = (s: Shape, axes: readonly string[]): Shape => Object.fromEntries(Object.entries(s).filter(([a]) => !axes.includes(a)));
export const pick = (s: Shape, axes: readonly string[]): Shape => Object.fromEntries(Object.entries(s).filter(([a]) => axes.includes(a)));

/** `x` has every one of `axes`. */
export function need(what: string, x: Node, axes: readonly unknown[]): void {
  for (const a of axes)
    if (typeof a !== "string" || !Object.hasOwn(x.axes, a))
      throw new AxisError(
        `${what}: no axis ${typeof a === "string" ? `"${a}"` : describe(a)} in ${showShape(x.axes)}`,
        `${typeof a === "string" ? didYouMean(a, names(x.axes)) : ""}its axes are ${quote(names(x.axes))}`,
      );
}
/** At least one axis, each there and named once. */
export function needSome(what: string, x: Node, axes: readonly string[]): void {
  if (axes.length === 0)
    throw new AxisError(
      `${what}: name at least one axis`,
      `"all axes" would mean other axes once a formula is lifted; here they are ${quote(names(x.axes))}`,
    );
  need(what, x, axes);
  const twice = axes.find((a, i) => axes.indexOf(a) !== i);
  if (twice !== undefined) throw new AxisError(`${what}: axis "${twice}" is named twice`);
}
/** Axes of one name have one size in all inputs. */
export function agree(what: string, inputs: Readonly<Record<string, Node>>): void {
  const first = new Map<string, readonly [string, Extent]>();
  for (const [input, n] of Object.entries(inputs))
    for (const [axis, extent] of Object.entries(n.axes)) {
      const known = first.get(axis);
      if (known === undefined) first.set(axis, [input, extent]);
      else if (!sameExtent(known[1], extent))
        throw new SizeError(
          `${what}: axis sizes differ: "${axis}" is ${showExtent(known[1])} in "${known[0]}", ${showExtent(extent)} in "${input}"`,
          "axes of one name are one axis: rename one of them if they are two",
        );
    }
}
/** Axes that an operation makes are new to the rest of `x`. */
export function fresh(what: string, rest: Shape, axes: readonly string[]): void {
  for (const a of axes)
    if (Object.hasOwn(rest, a))
      throw new AxisError(`${what}: axis "${a}" exists already in ${showShape(rest)}`, "axes of one tensor have different names");
}

const identifier = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;
/** Axes as an author writes them: names that an arrow can destructure, and whole sizes. */
export function shapeOf(what: string, axes: unknown): Shape {
  if (typeof axes !== "object" || axes === null)
    throw new ArgumentError(`${what}: axes are ${describe(axes)}; a record such as { time: 128 } is wanted`);
  for (const [a, e] of Object.entries(axes)) {
    if (!identifier.test(a)) throw new AxisError(`${what}: "${a}" is no axis name`, "an axis name is an identifier, such as head or model2");
    if (!(e instanceof UpTo) && !(Number.isInteger(e) && e >= 0))
      throw new SizeError(
        `${what}: the size of "${a}" is ${typeof e === "number" ? e : describe(e)}; a whole number is wanted`,
        "for a size known only when a program runs, use upTo(n)",
      );
  }
  return { ...axes };
}
/** The extent as a number, where the operation must know it while building. */
export function fixed(what: string, axis: string, e: Extent | undefined): number {
  if (typeof e === "number") return e;
  throw new SizeError(
    `${what}: the extent of "${axis}" is known only when the program runs`,
    "this operation needs a size; upTo axes can be mapped, folded, scanned and indexed",
  );
}
export const dtypeOf = (x: AnyTensor): DType => x.dtype;
