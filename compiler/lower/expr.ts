// Index notation: typed scalar expressions over buffers, after every map and view has been substituted away. A kernel
// ("nest") is loops around these. Hash-consed like scalars. Index arithmetic is `int` and exact; everything that a
// user's arrow computes with is `real` unless it is provably integer (indices, sizes, i32 loads and + − * min max abs
// floor-division and remainder of those), so `i - j < W` and `(i - j) % d` are integer code.
import type { DType, Extent } from "../../dsl/node.js";
import type { Primitive } from "../../dsl/primitives.js";

export type Type = "real" | "int" | "bool";

/** Memory with named axes, row-major over the axes' maximal sizes. */
export interface Buffer {
  readonly id: number;
  /** Unique in its plan and a valid identifier in every target. */
  readonly name: string;
  readonly dtype: DType;
  readonly axes: readonly BufferAxis[];
  /** table: constants computed once in f64 (`data`); temp: lives in the arena between its first and last use. */
  readonly role: "input" | "output" | "state" | "temp" | "table";
  readonly data?: Float64Array;
}
export interface BufferAxis {
  readonly name: string;
  readonly extent: Extent;
}

export type Expr =
  /** bool: 0 or 1. */
  | { readonly id: number; readonly kind: "num"; readonly type: Type; readonly value: number }
  /** A loop variable of the nest, a run-time extent (`extentVar`), or the counter of an enclosing loop step. */
  | { readonly id: number; readonly kind: "var"; readonly type: "int"; readonly name: string }
  /** A value bound by an earlier stage: a component of a fold, the sum of a contraction, an operand of a combine. */
  | { readonly id: number; readonly kind: "local"; readonly type: Type; readonly name: string }
  /** One int per buffer axis. `inside` null: proved within bounds; else where it is false the value is 0 and the
   *  address must not be touched (index expressions may then be out of range). i32 loads are int, bool loads bool. */
  | {
      readonly id: number;
      readonly kind: "load";
      readonly type: Type;
      readonly buffer: Buffer;
      readonly index: readonly Expr[];
      readonly inside: Expr | null;
    }
  /** Primitives as in dsl; on ints also `idiv` and `imod` (floor division and its remainder; divisor > 0).
   *  `div` is always real, `mod` on ints is the truncated remainder. `toReal` converts int or bool. */
  | { readonly id: number; readonly kind: "call"; readonly type: Type; readonly prim: Primitive | "idiv" | "imod"; readonly args: readonly Expr[] }
  /** dsl/random.ts: a draw from (key, extend, counter). */
  | {
      readonly id: number;
      readonly kind: "random";
      readonly type: "real";
      readonly draw: "uniform" | "normal";
      readonly key: string;
      readonly extend: readonly Expr[];
      readonly counter: Expr;
    };

const table = new Map<string, Expr>();
let nextId = 0;
function cons<T extends Expr>(key: string, make: (id: number) => T): T {
  const known = table.get(key);
  if (known) return known as T; // one key, one shape
  const e = make(nextId++);
  table.set(key, e);
  return e;
}
const literal = (v: number) => (Object.is(v, -0) ? "-0" : String(v));
const ids = (xs: readonly Expr[]) => xs.map((x) => x.id).join(",");

export const num = (value: number, type: Type): Expr => cons(`n${type}${literal(value)}`, (id) => ({ id, kind: "num", type, value }));
export const int = (value: number): Expr => num(value, "int");
export const real = (value: number): Expr => num(value, "real");
export const variable = (name: string): Expr => cons(`v${name}`, (id) => ({ id, kind: "var", type: "int", name }));
export const local = (name: string, type: Type): Expr => cons(`l${type}${name}`, (id) => ({ id, kind: "local", type, name }));
export const load = (buffer: Buffer, index: readonly Expr[], inside: Expr | null = null): Expr =>
  cons(`L${buffer.id}[${ids(index)}]${inside ? inside.id : ""}`, (id) => ({
    id,
    kind: "load",
    type: buffer.dtype === "i32" ? "int" : buffer.dtype === "bool" ? "bool" : "real",
    buffer,
    index,
    inside,
  }));
export const apply = (prim: Primitive | "idiv" | "imod", type: Type, ...args: readonly Expr[]): Expr =>
  cons(`${prim}:${type}(${ids(args)})`, (id) => ({ id, kind: "call", type, prim, args }));
export const random = (draw: "uniform" | "normal", key: string, extend: readonly Expr[], counter: Expr): Expr =>
  cons(`r${draw}${JSON.stringify(key)}(${ids(extend)};${counter.id})`, (id) => ({ id, kind: "random", type: "real", draw, key, extend, counter }));

export const partsOf = (e: Expr): readonly Expr[] => {
  switch (e.kind) {
    case "num":
    case "var":
    case "local":
      return [];
    case "load":
      return e.inside ? [...e.index, e.inside] : e.index;
    case "call":
      return e.args;
    case "random":
      return [...e.extend, e.counter];
  }
};

/** Buffer ids are process-wide, so that equal expressions over different plans' buffers never coincide. */
let nextBuffer = 0;
export const buffer = (name: string, dtype: DType, axes: readonly BufferAxis[], role: Buffer["role"], data?: Float64Array): Buffer => ({
  id: nextBuffer++,
  name,
  dtype,
  axes,
  role,
  ...(data ? { data } : {}),
});

export const maxOf = (e: Extent): number => (typeof e === "number" ? e : e.max);
/** Row-major strides, in elements. */
export function strides(b: Buffer): readonly number[] {
  const out: number[] = [];
  let step = 1;
  for (const axis of [...b.axes].reverse()) {
    out.unshift(step);
    step *= maxOf(axis.extent);
  }
  return out;
}
export const elements = (b: Buffer): number => b.axes.reduce((n, a) => n * maxOf(a.extent), 1);
/** The variable that holds a run-time extent, in every kernel of a plan. */
export const extentVar = (e: Extent): Expr => (typeof e === "number" ? int(e) : variable(`n_${e.name}_${e.id}`));
