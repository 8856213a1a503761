// repeat: `n` layers of one part of a model, or `n` iterations of a state. One loop in the graph, whatever n is.
import * as build from "./build.js";
import { ShapeError } from "./build.js";
import { ArgumentError, SizeError } from "./errors.js";
import type { Leaf, Node } from "./node.js";
import { describe, handle, need } from "./tensor.js";
import { flatten, rebuild, samePaths, type TreeLeaf } from "./tree.js";
import type { Drop, Int, None, Str, Tensor, Tree } from "./types.js";

/** A part that stands `n` times: its parameters are stacked along an axis named by the part's key. */
export class Repetition extends Array<unknown> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
  constructor(
    readonly count: number,
    readonly part: unknown,
  ) {
    super(count);
    this.fill(part);
  }
}
/** Stacked inputs as one iteration sees them: without the loop's axis. */
export type Slice<X, N> = {
  readonly [K in keyof X]: "axes" extends keyof X[K]
    ? Tensor<Drop<X[K]["axes"], Str<N>>, "dtype" extends keyof X[K] ? X[K]["dtype"] : never>
    : Slice<X[K], N>;
};

/** `n` copies of a part, each with its own parameters (`repeat(12, block)` in a model's parts). Or an iteration:
 *  `repeat(n, { state, xs, axis }, (state, slice, counter) => next)` gives the last state; `xs` are trees of tensors
 *  with the loop's axis, of which each iteration has its slice. The body is called once. */
export function repeat<M>(n: number, part: M): readonly M[];
export function repeat<const S extends Tree, const X extends Tree = None, const N extends string = "step">(
  n: number,
  o: { readonly axis?: N; readonly state: S; readonly xs?: X },
  body: (state: S, slice: Slice<X, N>, counter: Int) => S,
): S;
export function repeat(n: number, given: unknown, body?: (state: never, slice: never, counter: never) => unknown): unknown {
  if (!Number.isInteger(n) || n < 0) throw new SizeError(`repeat: the count is ${typeof n === "number" ? n : describe(n)}; a whole number is wanted`);
  if (!body) return new Repetition(n, given);
  if (typeof given !== "object" || given === null || !("state" in given))
    throw new ArgumentError("repeat: the state is missing", "repeat(n, { state: { x } }, ({ x }) => ({ x: … }))");
  const o: { readonly axis?: string; readonly state: unknown; readonly xs?: unknown } = given;
  return iterate(o.axis ?? "step", n, o.state, o.xs ?? {}, (state, slice, counter) => body(handle(state), handle(slice), handle(counter)));
}

/** One loop over trees. */
export function iterate(
  axis: string,
  count: number,
  state: unknown,
  xs: unknown,
  body: (state: unknown, slice: unknown, counter: Leaf) => unknown,
): unknown {
  const before = flatten(state);
  const inputs = flatten(xs);
  for (const { path, node } of inputs) {
    need(`repeat: "${path}"`, node, [axis]);
    if (node.axes[axis] !== count)
      throw new SizeError(`repeat: axis "${axis}" of "${path}" has ${build.showExtent(node.axes[axis] as number)} elements for ${count} iterations`);
  }
  // A state is kept in f32: half types are for storage, and a body's results are f32.
  const init = before.map(({ node }) => (node.dtype === "bf16" || node.dtype === "f16" ? build.cast(node, "f32") : node));
  let after: readonly TreeLeaf[] = [];
  try {
    const loop = build.loop({ axis, count, init, xs: inputs.map((l) => l.node) }, (carry, slices, counter) => {
      after = flatten(body(rebuild(state, carry), rebuild(xs, slices), counter));
      samePaths("repeat: the state before and after", before, after);
      const at = new Map(after.map((l) => [l.path, l.node]));
      return before.map(({ path }, i) => sameType(path, init[i] as Node, at.get(path) as Node));
    });
    return rebuild(
      state,
      before.map((_, i) => build.carry(loop, i)),
    );
  } catch (e) {
    if (e instanceof ShapeError)
      throw new SizeError(e.message, "a repeated part gives back what it is given: the same axes, the same sizes", { cause: e });
    throw e;
  }
}
function sameType(path: string, was: Node, is: Node): Node {
  if (was.dtype !== is.dtype)
    throw new ArgumentError(`repeat: the body turns "${path}" from ${was.dtype} into ${is.dtype}`, "cast it, in the state or in the body");
  return is;
}
