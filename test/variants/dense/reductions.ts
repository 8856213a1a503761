// What runs along axes: contractions, sums, softmax, prefix sums, and the choice of the k greatest. Sums go one term after
// the other, rounded each time: the plain evaluation has no art.
import { scale, unary } from "./pointwise.js";
import { exact, type Rounding, single } from "./rounding.js";
import { count, extent, only, places, type Shape, union, type Value, without } from "./tape.js";

/** into += Σ over `sum` of x·y, for each element of `out`. */
function accumulate(r: Rounding, out: Shape, sum: Shape, a: Shape, x: Float64Array, b: Shape, y: Float64Array, into: Float64Array): void {
  const [ao, bo, as, bs] = [places(a, out), places(b, out), places(a, sum), places(b, sum)];
  const n = as.length;
  for (let o = 0; o < into.length; o++) {
    const [ia, ib] = [ao[o] as number, bo[o] as number];
    let acc = 0;
    // The two common roundings are written out: most of the time would go to their calls.
    if (r === exact) for (let k = 0; k < n; k++) acc += (x[ia + (as[k] as number)] as number) * (y[ib + (bs[k] as number)] as number);
    else if (r === single)
      for (let k = 0; k < n; k++) acc = Math.fround(acc + Math.fround((x[ia + (as[k] as number)] as number) * (y[ib + (bs[k] as number)] as number)));
    else for (let k = 0; k < n; k++) acc = r(acc + r((x[ia + (as[k] as number)] as number) * (y[ib + (bs[k] as number)] as number)));
    into[o] = r((into[o] as number) + acc);
  }
}
/** Σ a·b over the named axes. */
export function contract(a: Value, b: Value, ...over: readonly string[]): Value {
  const r = a.tape.round;
  const all = union(a.shape, b.shape);
  const out = without(all, over);
  const data = new Float64Array(count(out));
  accumulate(r, out, only(all, over), a.shape, a.data, b.shape, b.data, data);
  return a.tape.record(out, data, (y) => {
    accumulate(r, a.shape, without(all, Object.keys(a.shape)), out, y.adjoint, b.shape, b.data, a.adjoint);
    accumulate(r, b.shape, without(all, Object.keys(b.shape)), out, y.adjoint, a.shape, a.data, b.adjoint);
  });
}
export const total = (x: Value, ...over: readonly string[]): Value =>
  contract(
    x,
    x.tape.table(only(x.shape, over), () => 1),
    ...over,
  );
export const square = (x: Value): Value =>
  unary(
    x,
    (r, x) => r(x * x),
    (r, ct, x) => r(ct * r(2 * x)),
  );
export const average = (x: Value, axis: string): Value => scale(total(x, axis), 1 / extent(x.shape, axis));

/** P = e^x / (e^sink + Σ e^x) along the named axes, and the sink's own share of each row. A row of −∞ throughout gives 0. */
function weights(x: Value, over: readonly string[], sink?: Value) {
  const r = x.tape.round;
  const rows = without(x.shape, over);
  const [start, step] = [places(x.shape, rows), places(x.shape, only(x.shape, over))];
  const ofSink = sink ? places(sink.shape, rows) : null;
  const P = new Float64Array(x.data.length);
  const drained = new Float64Array(start.length);
  for (let i = 0; i < start.length; i++) {
    const z = sink && ofSink ? (sink.data[ofSink[i] as number] as number) : -Infinity;
    const row = start[i] as number;
    let m = z;
    for (const s of step) m = Math.max(m, x.data[row + s] as number);
    if (m === -Infinity) continue;
    const toSink = r(Math.exp(r(z - m)));
    let l = toSink;
    for (const s of step) {
      P[row + s] = r(Math.exp(r((x.data[row + s] as number) - m)));
      l = r(l + (P[row + s] as number));
    }
    for (const s of step) P[row + s] = r((P[row + s] as number) / l);
    drained[i] = r(toSink / l);
  }
  /** dx = P∘(dP − D), dz = −P_z·D, where D is the mean of dP under P, by row. */
  const back = (dP: Float64Array, D: Float64Array) => {
    for (let i = 0; i < start.length; i++) {
      const [row, mean] = [start[i] as number, D[i] as number];
      for (const s of step) x.adjoint[row + s] = r((x.adjoint[row + s] as number) + r((P[row + s] as number) * r((dP[row + s] as number) - mean)));
      if (!sink || !ofSink) continue;
      const at = ofSink[i] as number;
      sink.adjoint[at] = r((sink.adjoint[at] as number) - r((drained[i] as number) * mean));
    }
  };
  return { P, rows, back };
}
export function softmax(x: Value, ...over: readonly string[]): Value {
  const r = x.tape.round;
  const { P, rows, back } = weights(x, over);
  return x.tape.record(x.shape, P, ({ adjoint }) => {
    const D = new Float64Array(count(rows));
    accumulate(r, rows, only(x.shape, over), x.shape, P, x.shape, adjoint, D);
    back(adjoint, D);
  });
}
/** Σ P·v along the named axes, P = softmax(s), with a sink if there is one. Backward as in FlashAttention (Dao 2022,
 *  algorithm 4): D = Σ dO∘O. Σ P∘dP is the same number and has no error where one key has all the weight; but nothing that
 *  never stores P can compute that, and the plain evaluation shall err as such things do. */
export function attend(s: Value, v: Value, over: readonly string[], sink?: Value): Value {
  const r = s.tape.round;
  const { P, rows, back } = weights(s, over, sink);
  const out = without(union(s.shape, v.shape), over);
  const sum = only(s.shape, over);
  const O = new Float64Array(count(out));
  accumulate(r, out, sum, s.shape, P, v.shape, v.data, O);
  return s.tape.record(out, O, ({ adjoint }) => {
    const values = without(out, Object.keys(s.shape));
    const [dP, D] = [new Float64Array(P.length), new Float64Array(count(rows))];
    accumulate(r, s.shape, values, out, adjoint, v.shape, v.data, dP);
    accumulate(r, rows, values, out, adjoint, out, O, D);
    accumulate(r, v.shape, without(s.shape, Object.keys(v.shape)), out, adjoint, s.shape, P, v.adjoint);
    back(dP, D);
  });
}

export interface Running {
  readonly reverse?: boolean;
  readonly exclusive?: boolean;
}
/** Prefix sums along an axis; `reverse` from the end, `exclusive` without the element itself. */
export function cumsum(x: Value, axis: string, { reverse = false, exclusive = false }: Running = {}): Value {
  const r = x.tape.round;
  const [start, step] = [places(x.shape, without(x.shape, [axis])), places(x.shape, only(x.shape, [axis]))];
  const run = (from: Float64Array, into: Float64Array, backward: boolean) => {
    const order = backward ? [...step].reverse() : [...step];
    for (const row of start) {
      let acc = 0;
      for (const s of order) {
        const next = r(acc + (from[row + s] as number));
        into[row + s] = r((into[row + s] as number) + (exclusive ? acc : next));
        acc = next;
      }
    }
  };
  const data = new Float64Array(x.data.length);
  run(x.data, data, reverse);
  return x.tape.record(x.shape, data, ({ adjoint }) => run(adjoint, x.adjoint, !reverse));
}

/** The indices of the k greatest along an axis, the lower one first where two are equal; −1 where there are fewer. */
export function greatest(x: Value, axis: string, slot: string, k: number): Value {
  const rows = without(x.shape, [axis]);
  const [start, step] = [places(x.shape, rows), places(x.shape, only(x.shape, [axis]))];
  const data = new Float64Array(start.length * k).fill(-1);
  for (let i = 0; i < start.length; i++) {
    const value = (j: number) => x.data[(start[i] as number) + (step[j] as number)] as number;
    const order = Array.from(step.keys()).sort((a, b) => (value(a) === value(b) ? a - b : value(b) - value(a)));
    for (let s = 0; s < Math.min(k, order.length); s++) data[i * k + s] = order[s] as number;
    const [kept, dropped] = [order[k - 1], order[k]];
    if (kept === undefined || dropped === undefined || value(kept) === value(dropped)) continue;
    x.tape.margin = Math.min(x.tape.margin, value(kept) - value(dropped));
  }
  return x.tape.leaf({ ...rows, [slot]: k }, data);
}
