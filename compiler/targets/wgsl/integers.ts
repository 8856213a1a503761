// Proves that a kernel's index arithmetic stays within the 32 bits that WGSL has. What is computed from data (values of i32
// tensors, rounded reals) may wrap, as i32 arithmetic does (limits.ts, numerics): an address made of them is behind a guard,
// or was proved within its buffer.
import { exprsOf, type Kernel, type Stmt } from "../../loop/ir.js";
import { type Interval, interval, termsOf } from "../../loop/terms.js";
import type { Expr } from "../../lower/expr.js";

const LEAST = -(2 ** 31);
const MOST = 2 ** 31 - 1;
const fits = (i: Interval) => i.lo >= LEAST && i.hi <= MOST;
const nothing: Interval = { lo: 0, hi: 0 };

/** The first term that may leave 32 bits, with its interval. `outer`: of extents and counters. */
export function beyond32(kernel: Kernel, outer: ReadonlyMap<string, Interval>): Interval | undefined {
  const ranges = new Map(outer);
  let found: Interval | undefined;
  let known = new Map<Expr, Interval>();
  const check = (root: Expr) => {
    for (const e of termsOf([root])) {
      if (e.type !== "int" || found) continue;
      // Of data, only what is added to it counts.
      const isData = e.kind === "load" || (e.kind === "call" && e.args.some((a) => a.type === "real"));
      if (isData) known.set(e, nothing);
      const at = interval(e, ranges, known);
      if (!fits(at)) found = at;
    }
  };
  const walk = (body: readonly Stmt[]) => {
    for (const s of body) {
      for (const e of exprsOf(s)) check(e);
      if (found) return;
      switch (s.s) {
        case "let":
        case "var":
          if (ranges.has(s.name)) known = new Map();
          // What is set later is data to this proof.
          if (s.value.type === "int") ranges.set(s.name, s.s === "var" ? nothing : interval(s.value, ranges, known));
          break;
        case "for": {
          const [from, to] = [interval(s.from, ranges, known), interval(s.to, ranges, known)];
          // The counter passes its end by less than a step.
          const end = { lo: from.lo, hi: Math.max(from.lo, to.hi - 1 + s.step) };
          if (!fits(end)) {
            found = end;
            return;
          }
          ranges.set(s.v, { lo: from.lo, hi: Math.max(from.lo, to.hi - 1) });
          known = new Map();
          walk(s.body);
          known = new Map();
          break;
        }
        case "if":
          walk(s.then);
          walk(s.otherwise);
          break;
        case "use":
          walk(s.meaning);
          break;
        default:
          break;
      }
    }
  };
  walk(kernel.body);
  return found;
}
