// Intervals of index expressions: what proves that a load is in bounds, that a floor division can be undone, and that
// arithmetic stays within 32 bits. Variables are bounded by their loops' extents.
import type { Expr } from "./expr.js";

export type Range = readonly [lo: number, hi: number];
/** Bounds of variables by name, inclusive. */
export type Bounds = ReadonlyMap<string, Range>;

const all: Range = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
const i32: Range = [-(2 ** 31), 2 ** 31 - 1];

const products = (a: Range, b: Range): Range => {
  const p = [a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]].map((x) => (Number.isNaN(x) ? 0 : x)); // 0·∞ is 0 here: no index is infinite
  return [Math.min(...p), Math.max(...p)];
};

/** The interval of an int expression. Bounded depth: index expressions are small and their parts shared. */
export function rangeOf(e: Expr, bounds: Bounds): Range {
  switch (e.kind) {
    case "num":
      return [e.value, e.value];
    case "var":
      return bounds.get(e.name) ?? all;
    case "load":
      return e.buffer.dtype === "bool" ? [0, 1] : i32;
    case "call": {
      const r = (i: number) => rangeOf(e.args[i] as Expr, bounds);
      switch (e.prim) {
        case "add": {
          const [a, b] = [r(0), r(1)];
          return [a[0] + b[0], a[1] + b[1]];
        }
        case "sub": {
          const [a, b] = [r(0), r(1)];
          return [a[0] - b[1], a[1] - b[0]];
        }
        case "mul":
          return products(r(0), r(1));
        case "neg": {
          const a = r(0);
          return [-a[1], -a[0]];
        }
        case "idiv": {
          const [a, b] = [r(0), r(1)];
          if (b[0] < 1) return all;
          const q = [a[0] / b[0], a[0] / b[1], a[1] / b[0], a[1] / b[1]].map(Math.floor);
          return [Math.min(...q), Math.max(...q)];
        }
        case "imod": {
          const [a, b] = [r(0), r(1)];
          return a[0] >= 0 && a[1] < b[0] ? a : [0, b[1] - 1];
        }
        case "mod": {
          const [a, b] = [r(0), r(1)];
          const m = Math.max(Math.abs(b[0]), Math.abs(b[1])) - 1;
          return [a[0] < 0 ? Math.max(a[0], -m) : 0, a[1] > 0 ? Math.min(a[1], m) : 0];
        }
        case "min": {
          const [a, b] = [r(0), r(1)];
          return [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
        }
        case "max": {
          const [a, b] = [r(0), r(1)];
          return [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
        }
        case "abs": {
          const a = r(0);
          return a[0] >= 0 ? a : a[1] <= 0 ? [-a[1], -a[0]] : [0, Math.max(-a[0], a[1])];
        }
        case "sign":
          return [-1, 1];
        case "select": {
          const [a, b] = [r(1), r(2)];
          return [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
        }
        default:
          return e.type === "bool" ? [0, 1] : all;
      }
    }
    default:
      return all;
  }
}
