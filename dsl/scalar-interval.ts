// Interval analysis of scalar expressions: from ranges of the arguments, a range that surely holds the result in f64.
// It decides which tiles a mask leaves empty or full, so it must never claim too much: `nan` says that the value may
// also be NaN (for which every comparison but ≠ is false, and which a range of numbers does not show). Conditions are
// ranges within 0 … 1. Ranges make no difference between 0 and −0.
//
// Add, multiply, divide and square root round monotonically, so their endpoints are exact bounds. Of Math.exp and its
// like that is not promised: their endpoints are widened by a few units in the last place.
import { evaluate, type Primitive } from "./primitives.js";
import { type Scalar, terms } from "./scalar.js";

/** [least, greatest, may be NaN]; a value that is always NaN has the range of all numbers. */
export type Interval = readonly [lo: number, hi: number, nan?: boolean];
/** Its parameters are as many as the primitive's arity says; call it through `intervalOfCall`. */
type Rule = (...args: never[]) => Interval;
type Rule1 = (x: Interval) => Interval;
type Rule2 = (x: Interval, y: Interval) => Interval;

export const everything: Interval = [-Infinity, Infinity, true];
const undecided: Interval = [0, 1];
const yes: Interval = [1, 1];
const no: Interval = [0, 0];
export const exactly = (v: number | boolean): Interval => (Number.isNaN(v) ? everything : [Number(v), Number(v)]);

const nanOf = (...xs: readonly Interval[]) => xs.some((x) => x[2] === true);
const make = (lo: number, hi: number, nan: boolean): Interval => (nan ? [lo, hi, true] : [lo, hi]);
const has = (x: Interval, v: number) => x[0] <= v && v <= x[1];
const infinite = (x: Interval) => x[0] === -Infinity || x[1] === Infinity;
const greatest = (x: Interval) => Math.max(Math.abs(x[0]), Math.abs(x[1]));
/** The hull of the corners that are numbers. */
function hull(corners: readonly number[], nan: boolean): Interval {
  const real = corners.filter((c) => !Number.isNaN(c));
  return real.length === 0 ? everything : make(Math.min(...real), Math.max(...real), nan);
}
const corners = (f: (x: number, y: number) => number, x: Interval, y: Interval) => [f(x[0], y[0]), f(x[0], y[1]), f(x[1], y[0]), f(x[1], y[1])];
const down = (x: number) => (x === Infinity ? Number.MAX_VALUE : x - Math.abs(x) * 2 ** -50 - Number.MIN_VALUE);
const up = (x: number) => -down(-x);
const widened = (x: Interval, least = -Infinity, most = Infinity): Interval => make(Math.max(down(x[0]), least), Math.min(up(x[1]), most), nanOf(x));

/** f grows on from … to, with values in least … most, and is NaN outside; `exact` where its rounding is monotone. */
const rising =
  (f: (x: number) => number, o: { from?: number; to?: number; least?: number; most?: number; exact?: boolean } = {}): Rule1 =>
  (x) => {
    const { from = -Infinity, to = Infinity, least, most, exact = false } = o;
    const [lo, hi] = x;
    if (hi < from || lo > to) return everything;
    const r = make(f(Math.max(lo, from)), f(Math.min(hi, to)), nanOf(x) || lo < from || hi > to);
    return exact || lo === hi ? r : widened(r, least, most);
  };
const stepped = (prim: Primitive): Rule1 => rising((x) => Number(evaluate(prim, [x])), { exact: true });

const neg: Rule1 = (x) => make(-x[1], -x[0], nanOf(x));
const add: Rule2 = (x, y) => {
  const nan = nanOf(x, y) || (x[1] === Infinity && y[0] === -Infinity) || (x[0] === -Infinity && y[1] === Infinity);
  const lo = x[0] + y[0];
  const hi = x[1] + y[1];
  return make(Number.isNaN(lo) ? -Infinity : lo, Number.isNaN(hi) ? Infinity : hi, nan);
};
const mul: Rule2 = (x, y) =>
  hull(
    // 0·∞ at a corner is the limit of 0·finite
    corners((a, b) => (a === 0 || b === 0 ? 0 : a * b), x, y),
    nanOf(x, y) || (has(x, 0) && infinite(y)) || (has(y, 0) && infinite(x)),
  );
const div: Rule2 = (x, y) => {
  if (has(y, 0)) return everything;
  return hull(
    corners((a, b) => a / b, x, y),
    nanOf(x, y) || (infinite(x) && infinite(y)),
  );
};
const mod: Rule2 = (x, y) => {
  const nan = nanOf(x, y) || has(y, 0) || infinite(x);
  const least = has(y, 0) ? 0 : Math.min(Math.abs(y[0]), Math.abs(y[1]));
  if (greatest(x) < least) return make(x[0], x[1], nan);
  const bound = Math.min(greatest(x), greatest(y)); // |x % y| ≤ |x| and < |y|, with the sign of x
  return make(x[0] < 0 ? -bound : 0, x[1] > 0 ? bound : 0, nan);
};
const pow: Rule2 = (x, y) => {
  const nan = nanOf(x, y) || ((has(x, 1) || has(x, -1)) && infinite(y));
  const n = y[0];
  if (x[0] === 0 && y[0] < 0) return make(-Infinity, Infinity, nan); // (−0) ** −1 is −∞
  if (x[0] >= 0) {
    // exp(y·log x): bilinear, so its extremes are corners; 1^∞ is NaN in JavaScript, and 1 in the limit.
    const c = corners((a, b) => (a === 1 ? 1 : a ** b), x, y);
    return widened(hull(c, nan), 0);
  }
  if (y[0] !== y[1] || nanOf(y) || !Number.isInteger(n) || n < 0) return everything;
  if (n === 0) return exactly(1); // NaN ** 0 is 1 too
  const ends = [x[0] ** n, x[1] ** n];
  return n % 2 === 0 ? widened(hull(has(x, 0) ? [...ends, 0] : ends, nan), 0) : widened(hull(ends, nan));
};
const smaller: Rule2 = (x, y) => make(Math.min(x[0], y[0]), Math.min(x[1], y[1]), nanOf(x, y));
const larger: Rule2 = (x, y) => make(Math.max(x[0], y[0]), Math.max(x[1], y[1]), nanOf(x, y));
const abs: Rule1 = (x) => make(has(x, 0) ? 0 : Math.min(Math.abs(x[0]), Math.abs(x[1])), greatest(x), nanOf(x));
/** sin, with its crests at crest + 2πk and its troughs half a turn on. */
const wave =
  (f: (x: number) => number, crest: number): Rule1 =>
  (x) => {
    const nan = nanOf(x) || infinite(x);
    // Far out a period is few units in the last place: no telling where a crest lies.
    if (greatest(x) > 1e6 || x[1] - x[0] >= 2 * Math.PI) return make(-1, 1, nan);
    const reaches = (at: number) => Math.floor((x[1] - at) / (2 * Math.PI) + 1e-9) >= Math.ceil((x[0] - at) / (2 * Math.PI) - 1e-9);
    const ends = widened(hull([f(x[0]), f(x[1])], nan), -1, 1);
    return make(reaches(crest + Math.PI) ? -1 : ends[0], reaches(crest) ? 1 : ends[1], nan);
  };
const tan: Rule1 = (x) => (greatest(x) < 1.57 ? widened(make(Math.tan(x[0]), Math.tan(x[1]), nanOf(x))) : everything);
const acos: Rule1 = (x) => {
  const r = rising((v) => -Math.acos(v), { from: -1, to: 1, least: -Math.PI, most: 0 })(x);
  return r === everything ? r : neg(r);
};
const hypot: Rule2 = (x, y) => {
  const [a, b] = [abs(x), abs(y)];
  return widened(make(Math.hypot(a[0], b[0]), Math.hypot(a[1], b[1]), nanOf(x, y)), 0);
};
const recip0: Rule1 = (x) => {
  if (has(x, 0)) return make(x[0] < 0 ? -Infinity : 0, x[1] > 0 ? Infinity : 0, nanOf(x));
  return make(1 / x[1], 1 / x[0], nanOf(x));
};
const fma = (x: Interval, y: Interval, z: Interval): Interval => {
  const product = mul(x, y);
  // The exact product lies within one rounding of the rounded one; adding is monotone.
  return add(widened(product), z);
};
const when = (surely: boolean, never: boolean): Interval => (surely ? yes : never ? no : undecided);
/** With a NaN about, an ordering is never sure to hold, but it may be sure to fail. */
const less: Rule2 = (x, y) => when(x[1] < y[0] && !nanOf(x, y), x[0] >= y[1]);
const atMost: Rule2 = (x, y) => when(x[1] <= y[0] && !nanOf(x, y), x[0] > y[1]);
const equal: Rule2 = (x, y) => when(x[0] === x[1] && y[0] === y[1] && x[0] === y[0] && !nanOf(x, y), x[1] < y[0] || y[1] < x[0]);
const not: Rule1 = (x) => [1 - x[1], 1 - x[0]];
const toI32: Rule1 = (x) => {
  const r = [Number(evaluate("toI32", [x[0]])), Number(evaluate("toI32", [x[1]]))] as const;
  return nanOf(x) ? [Math.min(r[0], 0), Math.max(r[1], 0)] : r;
};

export const intervals: { readonly [P in Primitive]: Rule } = {
  neg,
  add,
  sub: (x: Interval, y: Interval) => add(x, neg(y)),
  mul,
  div,
  mod,
  pow,
  min: smaller,
  max: larger,
  abs,
  sign: stepped("sign"),
  floor: stepped("floor"),
  ceil: stepped("ceil"),
  round: stepped("round"),
  trunc: stepped("trunc"),
  sqrt: rising(Math.sqrt, { from: 0, exact: true }),
  cbrt: rising(Math.cbrt),
  exp: rising(Math.exp, { least: 0 }),
  expm1: rising(Math.expm1, { least: -1 }),
  log: rising(Math.log, { from: 0 }),
  log1p: rising(Math.log1p, { from: -1 }),
  log2: rising(Math.log2, { from: 0 }),
  log10: rising(Math.log10, { from: 0 }),
  sin: wave(Math.sin, Math.PI / 2),
  cos: wave(Math.cos, 0),
  tan,
  asin: rising(Math.asin, { from: -1, to: 1 }),
  acos,
  atan: rising(Math.atan),
  atan2: (y: Interval, x: Interval) => make(-Math.PI, Math.PI, nanOf(x, y)),
  sinh: rising(Math.sinh),
  cosh: (x: Interval) => rising(Math.cosh, { least: 1 })(abs(x)),
  tanh: rising(Math.tanh, { least: -1, most: 1 }),
  asinh: rising(Math.asinh),
  acosh: rising(Math.acosh, { from: 1, least: 0 }),
  atanh: rising(Math.atanh, { from: -1, to: 1 }),
  hypot,
  recip0,
  fma,
  lt: less,
  le: atMost,
  gt: (x: Interval, y: Interval) => less(y, x),
  ge: (x: Interval, y: Interval) => atMost(y, x),
  eq: equal,
  ne: (x: Interval, y: Interval) => not(equal(x, y)),
  and: smaller,
  or: larger,
  not,
  select: (c: Interval, a: Interval, b: Interval) =>
    c[0] === 1 ? a : c[1] === 0 ? b : make(Math.min(a[0], b[0]), Math.max(a[1], b[1]), nanOf(a, b)),
  toF32: stepped("toF32"),
  toBf16: stepped("toBf16"),
  toF16: stepped("toF16"),
  toI32,
  toBool: (x: Interval) => when(!has(x, 0) && !nanOf(x), x[0] === 0 && x[1] === 0),
  toReal: (x: Interval) => x,
};

/** The range of a primitive's result. The cast stands for what the table cannot say: arity goes by row. */
export const intervalOfCall = (prim: Primitive, args: readonly Interval[]): Interval =>
  (intervals[prim] as (...args: readonly Interval[]) => Interval)(...args);

/** Ranges of every term below the roots, given those of arguments, indices and sizes. */
export function intervalsOf(
  roots: readonly Scalar[],
  leaf: (t: Exclude<Scalar, { kind: "call" | "const" }>) => Interval,
): ReadonlyMap<Scalar, Interval> {
  const ranges = new Map<Scalar, Interval>();
  for (const t of terms(roots)) {
    if (t.kind === "const") ranges.set(t, exactly(t.value));
    else if (t.kind !== "call") ranges.set(t, leaf(t));
    else
      ranges.set(
        t,
        intervalOfCall(
          t.prim,
          t.args.map((a) => ranges.get(a) as Interval),
        ),
      );
  }
  return ranges;
}
export const intervalOf = (root: Scalar, leaf: Parameters<typeof intervalsOf>[1]): Interval => intervalsOf([root], leaf).get(root) as Interval;
