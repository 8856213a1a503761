// A tape: dense arrays with named axes, reverse-mode differentiation, every intermediate stored. It is written from the
// mathematics for comparison with what the compiler derives, so it shares nothing with it: no names, no code, no
// derivatives. Every operation records how its result's adjoint adds to its arguments'; `backward` runs the record from the
// end. All arithmetic goes through `round` (rounding.ts), forward and backward.
import type { Rounding } from "./rounding.js";

export type Shape = Readonly<Record<string, number>>;
export type Place = Readonly<Record<string, number>>;

export const count = (s: Shape): number => Object.values(s).reduce((n, e) => n * e, 1);
export const without = (s: Shape, axes: readonly string[]): Shape => Object.fromEntries(Object.entries(s).filter(([a]) => !axes.includes(a)));
export const only = (s: Shape, axes: readonly string[]): Shape => Object.fromEntries(axes.map((a) => [a, extent(s, a)]));
export function extent(s: Shape, axis: string): number {
  const e = s[axis];
  if (e === undefined) throw new Error(`no axis ${axis} in ${JSON.stringify(s)}`);
  return e;
}
/** The axes of both, a's first; one size an axis. */
export function union(a: Shape, b: Shape): Shape {
  for (const [axis, e] of Object.entries(b)) if (axis in a && a[axis] !== e) throw new Error(`axis ${axis} is ${a[axis]} and ${e}`);
  return { ...a, ...b };
}
export function strides(s: Shape): ReadonlyMap<string, number> {
  const out = new Map<string, number>();
  let stride = 1;
  for (const [axis, e] of Object.entries(s).reverse()) {
    out.set(axis, stride);
    stride *= e;
  }
  return out;
}
/** Where the elements of `space`, row-major, lie in an array of shape `of`; axes that it lacks do not move the place. */
export function places(of: Shape, space: Shape): Int32Array {
  const step = strides(of);
  const axes = Object.entries(space).map(([a, e]) => [e, step.get(a) ?? 0] as const);
  const out = new Int32Array(count(space));
  let filled = Math.min(1, out.length);
  // From the innermost axis outwards: each repeats what is there, shifted.
  for (const [e, s] of axes.reverse()) {
    for (let i = 1; i < e && out.length > 0; i++) for (let k = 0; k < filled; k++) out[i * filled + k] = (out[k] as number) + i * s;
    filled *= e;
  }
  return out;
}
/** Calls f with every place of a shape, in row-major order; the record is reused. */
export function eachPlace(s: Shape, f: (at: Place, i: number) => void): void {
  const axes = Object.entries(s).reverse();
  const at: Record<string, number> = Object.fromEntries(Object.keys(s).map((a) => [a, 0]));
  const n = count(s);
  for (let i = 0; i < n; i++) {
    f(at, i);
    for (const [a, e] of axes) {
      const next = (at[a] as number) + 1;
      at[a] = next < e ? next : 0;
      if (next < e) break;
    }
  }
}

export class Value {
  readonly #step: ReadonlyMap<string, number>;
  constructor(
    readonly tape: Tape,
    readonly shape: Shape,
    readonly data: Float64Array,
    /** d loss / d value, once the tape has run backward. */
    readonly adjoint: Float64Array = new Float64Array(data.length),
  ) {
    if (data.length !== count(shape)) throw new Error(`${data.length} elements for ${JSON.stringify(shape)}`);
    this.#step = strides(shape);
  }
  /** One element; indices of axes that it lacks are passed over. */
  at(place: Place): number {
    let i = 0;
    for (const [axis, step] of this.#step) i += (place[axis] as number) * step;
    return this.data[i] as number;
  }
  /** The elements in another order of the same axes. */
  ordered(axes: readonly string[], what: Float64Array = this.data): Float64Array {
    return Float64Array.from(places(this.shape, only(this.shape, axes)), (i) => what[i] as number);
  }
}

export class Tape {
  readonly #steps: (() => void)[] = [];
  /** The least distance of a kept score from a dropped one, over all selections: below it the choice is rounding's. */
  margin = Infinity;
  constructor(readonly round: Rounding) {}

  /** An input, or a table computed from indices alone. */
  leaf(shape: Shape, data: Float64Array): Value {
    return new Value(this, shape, data);
  }
  /** A table: a function of indices, computed exactly and rounded once. */
  table(shape: Shape, f: (at: Place) => number): Value {
    const data = new Float64Array(count(shape));
    eachPlace(shape, (at, i) => {
      data[i] = this.round(f(at));
    });
    return this.leaf(shape, data);
  }
  record(shape: Shape, data: Float64Array, back: (out: Value) => void): Value {
    const out = new Value(this, shape, data);
    this.#steps.push(() => back(out));
    return out;
  }
  /** Adjoints of everything, from Σ out·cotangent. */
  backward(out: Value, cotangent: Float64Array): void {
    out.adjoint.set(cotangent);
    for (const step of this.#steps.reverse()) step();
    this.#steps.length = 0;
  }
}
