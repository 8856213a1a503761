// What stands around a plan's nests: run-time extents, and what is different in each turn of a loop.
import type { Interval } from "../loop/terms.js";
import { extentVar } from "../lower/expr.js";
import { loopsOf, turnRanges } from "../lower/turns.js";
import type { Plan } from "../plan.js";

/** Those variables' intervals, by name. */
export function outerOf(plan: Plan): ReadonlyMap<string, Interval> {
  const outer = new Map<string, Interval>();
  for (const e of plan.extents) {
    const v = extentVar(e);
    if (v.kind === "var") outer.set(v.name, { lo: 0, hi: e.max });
  }
  for (const s of loopsOf(plan.steps)) for (const [v, [lo, hi]] of turnRanges(s)) outer.set(v, { lo, hi });
  return outer;
}
