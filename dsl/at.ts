// at: index by integers; top: the k greatest along an axis.
import * as build from "./build.js";
import { ArgumentError, AxisError, DTypeError, quote, SizeError } from "./errors.js";
import type { Extent, Node } from "./node.js";
import { UpTo } from "./node.js";
import { agree, describe, fresh, handle, isNode, need, nodeOf, omit, realOf, shapeOf } from "./tensor.js";
import type { Axes, DType, Merged, NoMore, Real, Swap, Tensor } from "./types.js";

/** x[axis = index]: the index tensor's axes replace the axis and align by name with x's others (embedding, gather,
 *  top-k selection, diagonal). A number picks one. An index outside x reads 0. */
// biome-ignore lint/suspicious/noExplicitAny: a bound to infer from; the axes are checked by name
export function at<A extends Axes, D extends DType, const W extends { readonly [axis: string]: Tensor<any, "i32"> | number }>(
  x: Tensor<A, D>,
  where: W & NoMore<W, A>,
): Tensor<Swap<A, keyof W, Merged<W>>, D> {
  const n = nodeOf(x, "at: its first argument");
  if (typeof where !== "object" || where === null)
    throw new ArgumentError(`at: the indices are ${describe(where)}; a record such as { vocab: tokens } is wanted`);
  const along = Object.keys(where);
  if (along.length === 0) throw new ArgumentError("at: no axis is indexed");
  need("at", n, along);
  const indices = Object.entries<unknown>(where).map(([axis, i]) => indexNode(axis, i, n.axes[axis] as Extent));
  agree("at", { x: { ...n, axes: omit(n.axes, along) }, ...Object.fromEntries(along.map((a, k) => [`the index of ${a}`, indices[k] as Node])) });
  return handle(build.at(n, along, indices));
}
function indexNode(axis: string, i: unknown, extent: Extent): Node {
  if (typeof i === "number") {
    const size = extent instanceof UpTo ? extent.max : extent;
    if (!Number.isInteger(i) || i < 0 || i >= size) throw new SizeError(`at: ${i} is no index of axis "${axis}" of size ${size}`);
    return build.constant(i, "i32");
  }
  if (!isNode(i)) throw new ArgumentError(`at: the index of "${axis}" is ${describe(i)}; an integer tensor or a number is wanted`);
  if (i.dtype !== "i32")
    throw new DTypeError(
      `at: the index of "${axis}" is ${i.dtype}; integers (i32) are wanted`,
      'declare it as input(axes, "i32"), or use cast(x, "i32")',
    );
  return i;
}

/** The k greatest, in order, ties to the lower index. Gradients flow through `value` alone. */
export function top<A extends Axes, N extends keyof A & string, const S extends Axes>(
  x: Tensor<A, Real>,
  over: N,
  slots: S,
): { readonly value: Tensor<Swap<A, N, S>, "f32">; readonly index: Tensor<Swap<A, N, S>, "i32">; readonly chosen: Tensor<A, "bool"> } {
  const n = realOf(x, "top: its first argument");
  need("top", n, [over]);
  const made = Object.entries(shapeOf("top", slots));
  const [slot, k] = made[0] ?? [];
  if (slot === undefined || made.length > 1)
    throw new AxisError(`top: one axis of slots is wanted, ${quote(Object.keys(slots))} are given`, 'top(x, "key", { slot: 16 })');
  const has = n.axes[over] as Extent;
  if (typeof k !== "number" || k > (has instanceof UpTo ? has.max : has))
    throw new SizeError(`top: ${typeof k === "number" ? k : "an upTo number"} slots of an axis "${over}" of size ${build.showExtent(has)}`);
  fresh("top", omit(n.axes, [over]), [slot]);
  return handle({
    value: build.top(n, over, slot, k, "value"),
    index: build.top(n, over, slot, k, "index"),
    chosen: build.top(n, over, slot, k, "chosen"),
  });
}
