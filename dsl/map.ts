// map: lifts a closed scalar arrow over tensors aligned by axis name. The first of the five primitives.
import { arrowBody, type Captures, call, probeIndices, probeSizes, probeValues, resultType, strict } from "./arrows.js";
import * as build from "./build.js";
import { ArgumentError, SizeError } from "./errors.js";
import type { Arrow, DType, MapNode, Node, Shape } from "./node.js";
import { UpTo } from "./node.js";
import { agree, describe, handle, isNode } from "./tensor.js";
import type { Agreeing, AnyTensor, Indices, Merged, Tensor } from "./types.js";

type ClosedFn = (...x: never[]) => number | boolean;
/** What an arrow may read: tensors as scalars; numbers, booleans and closed functions as they stand. */
export type Captured = AnyTensor | number | boolean | ClosedFn;
export type CapturedBy = { readonly [name: string]: Captured };
export type ScalarOf<T> = "dtype" extends keyof T ? Of<T["dtype"]> : T extends number ? number : T extends boolean ? boolean : T;
type Of<D> = D extends "bool" ? boolean : number;
type Out = number | boolean;
export type Mapped<A, R> = [R] extends [number]
  ? Tensor<A, "f32">
  : [R] extends [boolean]
    ? Tensor<A, "bool">
    : { readonly [K in keyof R]: Mapped<A, R[K]> };
type Values<I> = "axes" extends keyof I ? ScalarOf<I> : { readonly [K in keyof I]: ScalarOf<I[K]> };
type Joint<I> = "axes" extends keyof I ? I["axes"] : Merged<I>;

/** Lifts a closed arrow: its first parameter is the inputs' values, the second the index of every axis of the
 *  result, the third every size. Inputs align by axis name; numbers and closed functions are captured as they stand.
 *  An arrow that returns a record gives a record of tensors.
 *  @throws SizeError, ArrowError, ArgumentError */
export function map<const I extends AnyTensor | CapturedBy, R extends Out | { readonly [name: string]: Out }>(
  inputs: I & Agreeing<I>,
  f: (x: Values<I>, at: Indices<Joint<I>>, size: Joint<I>) => R,
): Mapped<Joint<I>, R> {
  if (isNode(inputs)) return handle(lifted("map", { "": inputs }, {}, f));
  const { tensors, captured } = sortInputs("map", inputs);
  if (Object.keys(tensors).length + Object.keys(captured).length === 0)
    throw new ArgumentError("map: no inputs", "for a tensor of its indices alone use grid(axes, ({ i }) => …)");
  return handle(lifted("map", tensors, captured, f));
}

/** Tensors apart from what is captured as it stands. */
export function sortInputs(
  what: string,
  inputs: unknown,
): { readonly tensors: Record<string, Node>; readonly captured: Record<string, number | boolean | Arrow> } {
  if (typeof inputs !== "object" || inputs === null)
    throw new ArgumentError(`${what}: the inputs are ${describe(inputs)}; a tensor or a record is wanted`);
  const tensors: Record<string, Node> = {};
  const captured: Record<string, number | boolean | Arrow> = {};
  for (const [name, value] of Object.entries<unknown>({ ...inputs })) {
    if (isNode(value)) tensors[name] = value;
    else if (typeof value === "number" || typeof value === "boolean") captured[name] = value;
    else if (typeof value === "function")
      captured[name] = value as Arrow; // typeof says it can be called, no more can be known
    else if (value instanceof UpTo)
      throw new SizeError(
        `${what}: input "${name}" is the extent of an upTo axis, known only when the program runs`,
        "read it in the arrow's third parameter, the sizes",
      );
    else throw new ArgumentError(`${what}: input "${name}" is ${describe(value)}`, "inputs are tensors, numbers, booleans and closed functions");
  }
  return { tensors, captured };
}

/** The node, or one per field, after one call of the arrow on dummies. */
export function lifted(
  what: string,
  inputs: Readonly<Record<string, Node>>,
  captured: Captures,
  f: unknown,
  extra: Shape = {},
): Node | Record<string, Node> {
  agree(what, inputs);
  const axes = build.unite([...Object.values(inputs).map((n) => n.axes), extra]);
  const at = strict(what, "the index of", probeIndices(axes));
  const size = strict(what, "the size of", probeSizes(axes));
  const alone = "" in inputs;
  const bare = Object.keys(inputs).length + Object.keys(captured).length === 0;
  const values = probeValues(inputs, captured);
  const out = call(what, f, bare ? [at, size] : [alone ? values[""] : strict(what, "input", values), at, size]);
  const type = resultType(what, out);
  const fn = f as Arrow; // called above
  if (typeof type === "string") return build.map(inputs, arrowBody(fn, captured), type, extra);
  return Object.fromEntries(Object.entries(type).map(([field, dtype]) => [field, build.map(inputs, arrowBody(fn, captured, field), dtype, extra)]));
}

/** For this folder's own compositions: a module-level arrow over nodes. Its identity is its meaning, so equal
 *  compositions are one node. */
export const lift = (inputs: Readonly<Record<string, Node>>, fn: Arrow, captured: Captures = {}, dtype: DType = "f32"): MapNode => {
  agree("map", inputs);
  return build.map(inputs, arrowBody(fn, captured), dtype);
};
