// Point-wise operations: operands align by axis name and broadcast by absence. Each says its value and what a cotangent
// becomes on the way back, with a rounding after every operation.
import type { Rounding } from "./rounding.js";
import { count, eachPlace, type Place, places, union, type Value } from "./tape.js";

export function unary(x: Value, f: (r: Rounding, x: number) => number, back: (r: Rounding, ct: number, x: number, y: number) => number): Value {
  const r = x.tape.round;
  const data = x.data.map((v) => f(r, v));
  return x.tape.record(x.shape, data, (out) => {
    for (let i = 0; i < data.length; i++)
      x.adjoint[i] = r((x.adjoint[i] as number) + back(r, out.adjoint[i] as number, x.data[i] as number, data[i] as number));
  });
}
type Back = (r: Rounding, ct: number, a: number, b: number, y: number) => number;
export function binary(a: Value, b: Value, f: (r: Rounding, a: number, b: number) => number, backA: Back, backB: Back): Value {
  const r = a.tape.round;
  const shape = union(a.shape, b.shape);
  const [pa, pb] = [places(a.shape, shape), places(b.shape, shape)];
  const data = new Float64Array(count(shape));
  for (let i = 0; i < data.length; i++) data[i] = f(r, a.data[pa[i] as number] as number, b.data[pb[i] as number] as number);
  return a.tape.record(shape, data, (out) => {
    for (let i = 0; i < data.length; i++) {
      const [ia, ib] = [pa[i] as number, pb[i] as number];
      const [x, y, ct] = [a.data[ia] as number, b.data[ib] as number, out.adjoint[i] as number];
      a.adjoint[ia] = r((a.adjoint[ia] as number) + backA(r, ct, x, y, data[i] as number));
      b.adjoint[ib] = r((b.adjoint[ib] as number) + backB(r, ct, x, y, data[i] as number));
    }
  });
}

const same: Back = (_, ct) => ct;
const minus: Back = (_, ct) => -ct;
export const add = (a: Value, b: Value): Value => binary(a, b, (r, a, b) => r(a + b), same, same);
export const sub = (a: Value, b: Value): Value => binary(a, b, (r, a, b) => r(a - b), same, minus);
export const mul = (a: Value, b: Value): Value =>
  binary(
    a,
    b,
    (r, a, b) => r(a * b),
    (r, ct, _, b) => r(ct * b),
    (r, ct, a) => r(ct * a),
  );
export const div = (a: Value, b: Value): Value =>
  binary(
    a,
    b,
    (r, a, b) => r(a / b),
    (r, ct, _, b) => r(ct / b),
    (r, ct, _, b, y) => -r(r(ct * y) / b),
  );
/** a to the power of a table: its exponents are constants. */
export const power = (a: Value, e: Value): Value =>
  binary(
    a,
    e,
    (r, a, e) => r(a ** e),
    (r, ct, a, e) => (e === 0 ? 0 : r(ct * r(e * r(a ** (e - 1))))),
    () => 0,
  );

export function scale(x: Value, by: number): Value {
  const c = x.tape.round(by);
  return unary(
    x,
    (r, x) => r(x * c),
    (r, ct) => r(ct * c),
  );
}
export function plus(x: Value, by: number): Value {
  const c = x.tape.round(by);
  return unary(
    x,
    (r, x) => r(x + c),
    (_, ct) => ct,
  );
}
export const exp = (x: Value): Value =>
  unary(
    x,
    (r, x) => r(Math.exp(x)),
    (r, ct, _, y) => r(ct * y),
  );
export const tanh = (x: Value): Value =>
  unary(
    x,
    (r, x) => r(Math.tanh(x)),
    (r, ct, _, y) => r(ct * r(1 - r(y * y))),
  );
export const root = (x: Value): Value =>
  unary(
    x,
    (r, x) => r(Math.sqrt(x)),
    (r, ct, _, y) => r(ct / r(2 * y)),
  );
const sigma = (r: Rounding, x: number) => r(1 / r(1 + r(Math.exp(-x))));
export const sigmoid = (x: Value): Value => unary(x, sigma, (r, ct, _, y) => r(ct * r(y * r(1 - y))));
/** log σ(x), without cancellation on either side. */
export const logSigmoid = (x: Value): Value =>
  unary(
    x,
    (r, x) => r(Math.min(x, 0) - r(Math.log1p(r(Math.exp(-Math.abs(x)))))),
    (r, ct, x) => r(ct * sigma(r, -x)),
  );
export const relu = (x: Value): Value =>
  unary(
    x,
    (_, x) => Math.max(x, 0),
    (_, ct, x) => (x > 0 ? ct : 0),
  );
export const atLeast = (x: Value, least: number): Value =>
  unary(
    x,
    (r, x) => r(Math.max(x, least)),
    (_, ct, x) => (x > least ? ct : 0),
  );

/** x where the test holds, else a constant. The test may read integer tensors at the place. */
export function keep(x: Value, test: (at: Place) => boolean, otherwise = -Infinity): Value {
  const data = new Float64Array(x.data.length);
  const kept = new Uint8Array(data.length);
  eachPlace(x.shape, (at, i) => {
    kept[i] = test(at) ? 1 : 0;
    data[i] = kept[i] ? (x.data[i] as number) : otherwise;
  });
  return x.tape.record(x.shape, data, (out) => {
    const r = x.tape.round;
    for (let i = 0; i < data.length; i++) if (kept[i]) x.adjoint[i] = r((x.adjoint[i] as number) + (out.adjoint[i] as number));
  });
}
