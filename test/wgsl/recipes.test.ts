// Every recipe of the WGSL target against the oracle: the cases of the laws' recipes, on the simulator at WebGPU's default
// limits, with subgroups, and on an adapter that has little; then on WebGPU itself, twice with the same bits.
import { describe, expect, it } from "vitest";
import { elements } from "../../compiler/lower/expr.js";
import { lower } from "../../compiler/lower/lower.js";
import { nestsOf } from "../../compiler/lower/turns.js";
import { guaranteed, type WgslLimits } from "../../compiler/targets/wgsl/limits.js";
import { lowering } from "../../compiler/targets/wgsl/lowering.js";
import { passed } from "../../runtime/backend.js";
import { right } from "../graph/harness.js";
import { faultsOf, reference, run, show } from "../laws/judge.js";
import { recipeCases } from "../laws/recipe-cases.js";
import { seed } from "../laws/seed.js";
import { share, targets } from "../laws/targets.js";
import { simulatePlan } from "./plan.js";
import type { Memory } from "./simulate.js";

const adapters: Readonly<Record<string, WgslLimits>> = {
  "default limits": guaranteed,
  subgroups: { ...guaranteed, subgroups: { min: 4, max: 32 } },
  "a small adapter": { ...guaranteed, workgroupMemory: 4096, invocations: 64, workgroupSize: [64, 64, 64] },
  "a processor": { ...guaranteed, subgroups: { min: 4, max: 4 }, processor: true },
};
/** Ten million terms, of the same kernels as others. */
const LONG = "contract: few results of many terms, divided along the sum";

/** Tiles have tests of their own. */
const cases = recipeCases(seed).filter((c) => c.form !== "tiles" && c.name !== LONG);

describe("recipes on the simulator", () => {
  for (const [n, c] of cases.entries()) {
    const leaves = [...c.inputs.keys()];
    const inputs = Object.fromEntries(leaves.map((leaf, k) => [`x${k}`, leaf]));
    const outputs = Object.fromEntries(Object.values(c.outputs).map((y, k) => [`y${k}`, y]));
    const lowered = () => right(lower(right(passed({ name: "recipes", inputs, outputs, updates: [] })).program, lowering));
    // Products take long here: each on one adapter, all others on all.
    const own = Object.entries(adapters).filter((_, i) => c.form !== "contract" || i === n % 4);
    for (const [adapter, limits] of own)
      it(`${c.name}: ${adapter}`, { timeout: 60_000 }, () => {
        const plan = lowered();
        if (c.form !== "contract") expect(nestsOf(plan.steps).some(({ nest }) => c.shows(nest))).toBe(true);
        const memory: Memory = new Map();
        for (const [k, leaf] of leaves.entries()) {
          const b = plan.inputs[`x${k}`];
          if (b) memory.set(b, Float64Array.from(c.inputs.get(leaf) as Float64Array));
        }
        simulatePlan(plan, limits, memory);
        const { exact } = reference(c);
        for (const [k, want] of exact.entries()) {
          const b = plan.outputs[`y${k}`];
          if (!b) throw new Error(`no output y${k}`);
          const got = memory.get(b) as Float64Array;
          expect(got.length).toBe(elements(b));
          const most = want.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
          for (const [j, w] of want.entries()) {
            const g = got[j] as number;
            if (!(Math.abs(g - w) <= 1e-6 * most)) expect(g, `y${k}[${j}]`).toBe(w);
          }
        }
      });
  }
});

for (const target of targets.filter((t) => t === "webgpu" || t === "webgpu-chromium"))
  describe(`recipes on ${target}`, () => {
    for (const c of share(target, cases, 4, "recipes"))
      it(c.name, { timeout: 120_000 }, async () => {
        const [[first = []], [second = []]] = [await run([c], target), await run([c], target)];
        expect(show(faultsOf(c, first))).toBe("");
        expect(second).toEqual(first);
      });
  });
