// Bar: |Δℓ| ≤ certificate and |Δℓ| ≤ budget of the initial norms, over 10,000 cases an architecture. Δℓ by expansion, the
// bounds from the derived expressions, and each of these judged by the referee's closed forms.
import { describe, expect, it } from "vitest";
import { quack } from "../../models/index.js";
import { boundedLogitChange, counterexample } from "../../testing.js";
import { architectures, headsOf } from "./architectures.js";
import { unit } from "./harness.js";
import { Referee } from "./referee.js";

const [tau, eta] = [0.5, 0.25];
/** The referee is slow: it sees one case in so many. */
const SEEN = 20;

describe("over 10,000 cases", () => {
  for (const [name, a] of Object.entries(architectures))
    it(name, () => {
      let [judged, constructed, inexact, least] = [0, 0, 0, 1];
      const verdict = boundedLogitChange(
        a.model,
        { shapes: a.shapes, optimizer: quack(unit, { tau }), tau, eta, runs: 10_000, seed: 20_261_122 },
        (trials, shape, cases, outcomes) => {
          const referee = new Referee(trials.weights, a.paths(shape), headsOf(a, trials.weights));
          for (const [i, o] of outcomes.entries()) {
            const { recipe, case: c } = cases[i] as (typeof cases)[number];
            if (!o.exact) inexact++;
            // Constructed: aligned weights and inputs, a step along the gradient of a logit of one position with itself.
            const { at, change, bound } = o.certificate;
            if (recipe.kind === "aligned" && recipe.inputs === "aligned" && recipe.step === "along" && o.picked.query === o.picked.key) {
              constructed++;
              least = Math.min(least, change / bound);
            }
            if (i % SEEN !== 0) continue;
            judged++;
            const head = (x: Readonly<Record<string, number>>) =>
              Object.fromEntries(a.heads.flatMap((h) => (x[h] === undefined ? [] : [[h, x[h] as number]])));
            expect(bound / referee.certificate(c.now, o.steps, head(at))).toBeCloseTo(1, 9);
            expect(o.budget.bound / referee.budget(c.start, c.now, 1, tau * eta, head(o.budget.at))).toBeCloseTo(1, 9);
          }
        },
      );
      expect("failure" in verdict ? counterexample(verdict.failure) : null).toBeNull();
      if (!("held" in verdict)) return;
      expect(verdict.held.runs).toBe(10_000);
      expect(verdict.held.tightest.certificate).toBeGreaterThan(0.99);
      expect(verdict.held.tightest.budget).toBeGreaterThan(0.99);
      expect(inexact).toBe(0);
      expect(judged).toBeGreaterThan(300);
      expect(constructed).toBeGreaterThan(300);
      expect(least).toBeGreaterThan(0.99);
    });
});
