// The same elements elsewhere: other axis names, an axis cut in pieces, one element of an axis, shifts, and
// gathers by an index tensor.
import { count, extent, places, type Shape, strides, union, Value, without } from "./tape.js";

/** The same array under another shape. Value and adjoint are shared: there is nothing to send back. */
const seen = (x: Value, shape: Shape): Value => new Value(x.tape, shape, x.data, x.adjoint);

export const rename = (x: Value, to: Readonly<Record<string, string>>): Value =>
  seen(x, Object.fromEntries(Object.entries(x.shape).map(([a, e]) => [to[a] ?? a, e])));
/** One axis as several, the first the slowest. */
export const split = (x: Value, axis: string, into: Shape): Value =>
  seen(x, Object.fromEntries(Object.entries(x.shape).flatMap(([a, e]) => (a === axis ? Object.entries(into) : [[a, e] as const]))));
/** Elements of x by their places; −1 reads 0. */
function gathered(x: Value, shape: Shape, from: Int32Array): Value {
  const r = x.tape.round;
  const data = Float64Array.from(from, (i) => (i < 0 ? 0 : (x.data[i] as number)));
  return x.tape.record(shape, data, ({ adjoint }) => {
    for (let i = 0; i < data.length; i++) {
      const at = from[i] as number;
      if (at >= 0) x.adjoint[at] = r((x.adjoint[at] as number) + (adjoint[i] as number));
    }
  });
}
/** x at one index of an axis. */
export function pick(x: Value, axis: string, index: number): Value {
  const shape = without(x.shape, [axis]);
  const by = index * (strides(x.shape).get(axis) as number);
  return gathered(
    x,
    shape,
    places(x.shape, shape).map((i) => i + by),
  );
}
/** x[axis = index], where index is a tensor: its axes replace the axis, those it shares with x align. Outside reads 0. */
export function gather(x: Value, axis: string, index: Value): Value {
  const shape = union(index.shape, without(x.shape, [axis]));
  const step = strides(x.shape).get(axis) as number;
  const [base, chosen] = [places(without(x.shape, [axis]), shape), places(index.shape, shape)];
  const rest = places(x.shape, without(x.shape, [axis])); // of x without the axis, element by element, in x
  const n = extent(x.shape, axis);
  const from = new Int32Array(count(shape));
  for (let i = 0; i < from.length; i++) {
    const k = index.data[chosen[i] as number] as number;
    from[i] = k >= 0 && k < n ? (rest[base[i] as number] as number) + k * step : -1;
  }
  return gathered(x, shape, from);
}
/** y[i] = x[i − by] along an axis, 0 outside. */
export function shift(x: Value, axis: string, by: number): Value {
  const step = strides(x.shape).get(axis) as number;
  const n = extent(x.shape, axis);
  const from = places(x.shape, x.shape);
  for (let i = 0; i < from.length; i++) {
    const k = (Math.floor(i / step) % n) - by;
    from[i] = k >= 0 && k < n ? i - by * step : -1;
  }
  return gathered(x, x.shape, from);
}
