// The two properties as devices compute them, scales from 1e-2 to 1e2: the steps that a device makes, judged in f64; and
// the change, certificate and budget that it computes itself. Hundreds of cases are one compilation.
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LogitTrials, type Met } from "../../index.js";
import { quack } from "../../models/index.js";
import { caseOf, recipes } from "../../testing/draws.js";
import { open, share, targets } from "../laws/targets.js";
import { architectures } from "./architectures.js";
import { unit } from "./harness.js";

const [tau, eta, runs] = [0.5, 0.25, 256];
/** 2^±6.6 is 1e±2. */
const range = 7;
/** Roundings of f32 in products of up to five norms, and of their expansion. */
const ROUNDING = 1e-5;
const sizes: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "multi-head": { model: 5, head: 2, dim: 4 },
  grouped: { model: 4, group: 2, member: 3, dim: 2 },
  "multi-query": { model: 3, head: 3, dim: 5 },
  latent: { model: 4, head: 2, cq: 3, latent: 2, nope: 1, rope: 2 },
  "tensor-product": { model: 3, head: 2, rq: 2, rk: 1, dim: 3 },
  differential: { model: 3, head: 1, dim: 3 },
};

for (const target of targets)
  describe(`on ${target}`, () => {
    for (const [name, a] of share(target, Object.entries(architectures), 1, "bounds"))
      it(name, async () => {
        const trials = new LogitTrials(a.model(sizes[name] ?? {}), { optimizer: quack(unit, { tau }), tau, eta });
        const cases = fc.sample(recipes(trials.weights.length, range), { seed: 7, numRuns: runs }).map((r) => caseOf(trials, r));
        using session = await open(target);
        const { inF64, itself } = await trials.runOn(session, cases);
        const exact = trials.run(cases);
        let [tightest, same] = [0, 0];
        for (const [k, o] of inF64.entries())
          for (const bound of ["certificate", "budget"] as const) {
            expect(o.exact).toBe(true);
            expect(o[bound].change).toBeLessThanOrEqual(o[bound].bound * (1 + ROUNDING));
            // And they are those of f64, where the same logit is the one that comes nearest.
            for (const other of [itself[k], exact[k]]) {
              const own = other?.[bound] as Met; // a case has both
              expect(own.change).toBeLessThanOrEqual(own.bound * (1 + ROUNDING));
              if (!isDeepStrictEqual(own.at, o[bound].at)) continue;
              same++;
              expect(Math.abs(own.bound / o[bound].bound - 1)).toBeLessThan(10 * ROUNDING);
              expect(Math.abs(own.change - o[bound].change)).toBeLessThan(10 * ROUNDING * own.bound);
            }
            tightest = Math.max(tightest, o[bound].change / o[bound].bound);
          }
        expect(tightest).toBeGreaterThan(0.99);
        expect(same).toBeGreaterThan(2 * runs);
      });
  });
