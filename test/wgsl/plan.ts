// A whole plan on the simulator: each nest by its WGSL recipe, the plan's loops by this host.

import { place } from "../../compiler/loop/place.js";
import type { Interval } from "../../compiler/loop/terms.js";
import { verifyKernel } from "../../compiler/loop/verify.js";
import { type Buffer, elements, extentVar } from "../../compiler/lower/expr.js";
import type { Step } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import type { WgslLimits } from "../../compiler/targets/wgsl/limits.js";
import { scheduled } from "../../compiler/targets/wgsl/recipes/index.js";
import { type Memory, simulate } from "./simulate.js";

/** `memory`: inputs and state, by buffer; all else is made, unwritten. */
export function simulatePlan(plan: Plan, limits: WgslLimits, memory: Memory, extents: ReadonlyMap<number, number> = new Map()): void {
  for (const b of plan.buffers) if (!memory.has(b) && b.role !== "table") memory.set(b, new Float64Array(elements(b)).fill(Number.NaN));
  const ints = new Map<string, number>();
  const outer = new Map<string, Interval>();
  for (const x of plan.extents) {
    const v = extentVar(x);
    if (v.kind !== "var") continue;
    ints.set(v.name, extents.get(x.id) as number);
    outer.set(v.name, { lo: 0, hi: x.max });
  }
  const walk = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.step === "nest") {
        const kernel = scheduled(s.nest, limits);
        verifyKernel(kernel, outer);
        const placed = place(kernel);
        verifyKernel(placed, outer);
        simulate(placed, memory, ints);
        continue;
      }
      if (s.blocks) throw new Error("loops over blocks of rows are not simulated");
      outer.set(s.v, { lo: 0, hi: s.count - 1 });
      for (let turn = 0; turn < s.count; turn++) {
        ints.set(s.v, s.reverse ? s.count - 1 - turn : turn);
        walk(s.body);
      }
    }
  };
  walk(plan.steps);
}
export type { Buffer };
