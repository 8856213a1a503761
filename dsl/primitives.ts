// The scalar primitives: the whole vocabulary of numbers. One row each: how many arguments, what it computes in f64
// (JavaScript's own operators and Math.*: the oracle), which type it yields, whether its arguments commute. Total sibling
// tables hold what needs more room: `scalar-partials.ts` (derivatives), `scalar-interval.ts` (ranges), `scalar-shift.ts`
// (how values change when one quantity moves). A new primitive does not compile until every table, and every target, has
// its row.
//
// Conventions where Math.* has no counterpart:
//   recip0(x)            x == 0 ? 0 : 1/x, the pseudo-inverse: what a softmax row masked whole divides by
//   fma(a, b, c)         a·b + c rounded once
//   select(c, a, b)      c ? a : b, both sides computed
//   toF32 toBf16 toF16   round to nearest, ties to even, to that storage format; overflow gives ±∞, subnormals are kept
//   toI32                towards zero, saturating at the ends of i32; NaN gives 0
//   toBool toReal        Boolean(x) and Number(x)
// Integers (`int`) are exact: indices, sizes and i32 loads, and what arithmetic makes of them. An int has no −0 and no
// NaN, so `mod` by 0 and the sign of a zero are facts about f64 that integer code does not keep.

export type Value = number | boolean;
export type ScalarType = "real" | "int" | "bool";

export type Primitive =
  | "neg"
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "mod"
  | "pow"
  | "min"
  | "max"
  | "abs"
  | "sign"
  | "floor"
  | "ceil"
  | "round"
  | "trunc"
  | "sqrt"
  | "cbrt"
  | "exp"
  | "expm1"
  | "log"
  | "log1p"
  | "log2"
  | "log10"
  | "sin"
  | "cos"
  | "tan"
  | "asin"
  | "acos"
  | "atan"
  | "atan2"
  | "sinh"
  | "cosh"
  | "tanh"
  | "asinh"
  | "acosh"
  | "atanh"
  | "hypot"
  | "recip0"
  | "fma"
  | "lt"
  | "le"
  | "gt"
  | "ge"
  | "eq"
  | "ne"
  | "and"
  | "or"
  | "not"
  | "select"
  | "toF32"
  | "toBf16"
  | "toF16"
  | "toI32"
  | "toBool"
  | "toReal";

export interface PrimitiveRow {
  readonly arity: 1 | 2 | 3;
  /** Its parameters are as many as `arity` says; call it through `evaluate`. */
  readonly value: (...args: never[]) => Value;
  readonly type: (args: readonly ScalarType[]) => ScalarType;
  readonly commutative: boolean;
}

const toReal = (): ScalarType => "real";
const toInt = (): ScalarType => "int";
const toBool = (): ScalarType => "bool";
/** int on ints alone. */
const integral = (args: readonly ScalarType[]): ScalarType => (args.every((t) => t === "int") ? "int" : "real");
/** The rounding family: of a real, a real that is whole; of an int, the int itself. */
const same = integral;
const branch = ([, a, b]: readonly ScalarType[]): ScalarType => (a === b && a !== undefined ? a : "real");

const one = (value: (x: number) => Value, type: PrimitiveRow["type"] = toReal): PrimitiveRow => ({ arity: 1, value, type, commutative: false });
const two = (value: (x: number, y: number) => Value, type: PrimitiveRow["type"] = toReal): PrimitiveRow => ({
  arity: 2,
  value,
  type,
  commutative: false,
});
const commuting = (row: PrimitiveRow): PrimitiveRow => ({ ...row, commutative: true });

export const primitives: { readonly [P in Primitive]: PrimitiveRow } = {
  neg: one((x) => -x, integral),
  add: commuting(two((x, y) => x + y, integral)),
  sub: two((x, y) => x - y, integral),
  mul: commuting(two((x, y) => x * y, integral)),
  div: two((x, y) => x / y),
  mod: two((x, y) => x % y, integral),
  pow: two((x, y) => x ** y),
  min: commuting(two((x, y) => Math.min(x, y), integral)),
  max: commuting(two((x, y) => Math.max(x, y), integral)),
  abs: one((x) => Math.abs(x), integral),
  sign: one((x) => Math.sign(x), integral),
  floor: one((x) => Math.floor(x), same),
  ceil: one((x) => Math.ceil(x), same),
  round: one((x) => Math.round(x), same),
  trunc: one((x) => Math.trunc(x), same),
  sqrt: one((x) => Math.sqrt(x)),
  cbrt: one((x) => Math.cbrt(x)),
  exp: one((x) => Math.exp(x)),
  expm1: one((x) => Math.expm1(x)),
  log: one((x) => Math.log(x)),
  log1p: one((x) => Math.log1p(x)),
  log2: one((x) => Math.log2(x)),
  log10: one((x) => Math.log10(x)),
  sin: one((x) => Math.sin(x)),
  cos: one((x) => Math.cos(x)),
  tan: one((x) => Math.tan(x)),
  asin: one((x) => Math.asin(x)),
  acos: one((x) => Math.acos(x)),
  atan: one((x) => Math.atan(x)),
  atan2: two((y, x) => Math.atan2(y, x)),
  sinh: one((x) => Math.sinh(x)),
  cosh: one((x) => Math.cosh(x)),
  tanh: one((x) => Math.tanh(x)),
  asinh: one((x) => Math.asinh(x)),
  acosh: one((x) => Math.acosh(x)),
  atanh: one((x) => Math.atanh(x)),
  // Not marked commutative: V8 adds the squares in the order given, and the last bit may tell.
  hypot: two((x, y) => Math.hypot(x, y)),
  recip0: one((x) => (x === 0 ? 0 : 1 / x)),
  fma: { arity: 3, value: fma, type: toReal, commutative: false },
  lt: two((x, y) => x < y, toBool),
  le: two((x, y) => x <= y, toBool),
  gt: two((x, y) => x > y, toBool),
  ge: two((x, y) => x >= y, toBool),
  eq: commuting(two((x, y) => x === y, toBool)),
  ne: commuting(two((x, y) => x !== y, toBool)),
  and: { arity: 2, value: (x: boolean, y: boolean) => x && y, type: toBool, commutative: true },
  or: { arity: 2, value: (x: boolean, y: boolean) => x || y, type: toBool, commutative: true },
  not: { arity: 1, value: (x: boolean) => !x, type: toBool, commutative: false },
  select: { arity: 3, value: (c: boolean, a: Value, b: Value) => (c ? a : b), type: branch, commutative: false },
  toF32: one((x) => Math.fround(x)),
  toBf16: one((x) => toFormat(x, 7, -126, 2 ** 128)),
  toF16: one((x) => toFormat(x, 10, -14, 65536)),
  toI32: one((x) => Math.max(-2147483648, Math.min(2147483647, Math.trunc(x))) || 0, toInt),
  toBool: { arity: 1, value: (x: Value) => Boolean(x), type: toBool, commutative: false },
  toReal: { arity: 1, value: (x: Value) => Number(x), type: toReal, commutative: false },
};

export const primitiveNames = Object.keys(primitives) as readonly Primitive[]; // the record is total

/** A primitive on values. The cast stands for what the table cannot say: argument types go by row. */
export const evaluate = (prim: Primitive, args: readonly Value[]): Value => (primitives[prim].value as (...args: readonly Value[]) => Value)(...args);

const bits = new DataView(new ArrayBuffer(8));

/** Nearest number with `mantissa` stored bits and exponents from `least`; what reaches `overflow` is infinite. */
function toFormat(x: number, mantissa: number, least: number, overflow: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  bits.setFloat64(0, x);
  const exponent = ((bits.getUint16(0) >> 4) & 0x7ff) - 1023;
  const quantum = 2 ** (Math.max(exponent, least) - mantissa);
  // |x|/quantum < 2^(mantissa+1) and scaling is exact, so adding 2⁵² rounds to the nearest even whole number.
  const whole = Math.abs(x) / quantum + 2 ** 52 - 2 ** 52;
  const rounded = whole * quantum;
  return Math.sign(x) * (rounded >= overflow ? Infinity : rounded);
}

/** a·b + c rounded once: exact in integers, then rounded to nearest even. */
function fma(a: number, b: number, c: number): number {
  const product = a * b;
  // Infinities, NaN and zero factors are as in plain arithmetic, but that a finite product does not overflow before c.
  if (!Number.isFinite(a) || !Number.isFinite(b) || a === 0 || b === 0) return product + c;
  if (!Number.isFinite(c)) return c;
  const [ma, ea] = whole(a);
  const [mb, eb] = whole(b);
  const [mc, ec] = whole(c);
  const e = c === 0 ? ea + eb : Math.min(ea + eb, ec);
  const sum = ((ma * mb) << BigInt(ea + eb - e)) + (c === 0 ? 0n : mc << BigInt(ec - e));
  if (sum === 0n) return product + c; // exact cancellation: +0, as in plain arithmetic; never −0 here
  return scaled(sum, e);
}
/** x = m · 2^e with whole m, for finite x. */
function whole(x: number): readonly [bigint, number] {
  bits.setFloat64(0, x);
  const exponent = (bits.getUint16(0) >> 4) & 0x7ff;
  const fraction = bits.getBigUint64(0) & 0xfffffffffffffn;
  const m = exponent === 0 ? fraction : fraction | 0x10000000000000n;
  return [x < 0 ? -m : m, Math.max(exponent, 1) - 1075];
}
/** m · 2^e rounded once to f64. */
function scaled(m: bigint, e: number): number {
  const size = m < 0n ? -m : m;
  // Drop what does not fit into 53 bits, or lies below the least subnormal 2^−1074.
  const drop = Math.max(size.toString(2).length - 53, -1074 - e, 0);
  const shift = BigInt(drop);
  let kept = size >> shift;
  if (drop > 0) {
    const rest = size - (kept << shift);
    const half = 1n << (shift - 1n);
    if (rest > half || (rest === half && (kept & 1n) === 1n)) kept += 1n;
  }
  // Both factors are exact; two steps, because 2^(e + drop) alone may leave f64's range.
  const power = e + drop;
  const half = Math.trunc(power / 2);
  const value = Number(kept) * 2 ** half * 2 ** (power - half);
  return m < 0n ? -value : value;
}
