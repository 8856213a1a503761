// The budget property has teeth: each way to get QuacK's rule wrong is caught by it, with a counterexample that is small.
import { describe, expect, it } from "vitest";
import { apart, each, type Optimizer } from "../../index.js";
import { quack } from "../../models/index.js";
import { type BoundedOptions, boundedLogitChange, counterexample } from "../../testing.js";
import { architectures } from "./architectures.js";
import { unit, unitRule } from "./harness.js";
import * as mutants from "./mutants.js";

const [tau, eta] = [0.5, 0.25];
const check = (architecture: string, optimizer: unknown, o: Partial<BoundedOptions> = {}) => {
  const a = architectures[architecture];
  if (!a) throw new Error(architecture);
  return boundedLogitChange(a.model, { shapes: a.shapes, shapeCount: 2, optimizer: optimizer as Optimizer, tau, eta, runs: 400, seed: 4, ...o });
};
const wrong: Readonly<Record<string, readonly [architecture: string, optimizer: unknown, Partial<BoundedOptions>?]>> = {
  "Algorithm 1 as misprinted": ["multi-head", mutants.misprinted(tau)],
  "plain η": ["multi-head", mutants.plain],
  "τη without norms": ["tensor-product", mutants.withoutNorms(tau)],
  "no maximum over the members of a group": ["grouped", mutants.groupWithoutMaximum(tau)],
  "no maximum over the heads of shared weights": ["latent", mutants.latentWithoutMaximum(tau)],
  "norms of the step before": ["differential", mutants.stale(tau)],
  "norms taken after the update": ["multi-head", mutants.afterwards(tau)],
  "square root forgotten": ["multi-query", mutants.squared(tau)],
  "5 % too large": ["latent", mutants.tooLarge(tau)],
  "rotary positions as several paths": ["latent", mutants.ropeAsPaths(tau), { combine: "sum" }],
};

describe("caught", () => {
  for (const [name, [architecture, optimizer, o]] of Object.entries(wrong))
    it(name, () => {
      const verdict = check(architecture, optimizer, o);
      expect("failure" in verdict).toBe(true);
      if (!("failure" in verdict)) return;
      const { failure } = verdict;
      const text = counterexample(failure);
      expect(text).toMatchSnapshot();
      // The budget alone: what every step keeps, these keep too.
      expect(failure.bound).toBe("budget");
      expect(failure.outcome.certificate.change).toBeLessThanOrEqual(failure.outcome.certificate.bound * (1 + 1e-9));
      // Small: most scales are 1, and no matrix is left out for its size.
      expect(text).not.toContain("numbers of norm");
      expect(text.split("\n").length).toBeLessThan(40);
    });
  it("and each can be run again from what its text says", () => {
    const optimizer = mutants.misprinted(tau);
    const first = check("multi-head", optimizer);
    if (!("failure" in first)) throw new Error("not caught");
    const { seed, path } = first.failure;
    const again = check("multi-head", optimizer, { seed, path });
    expect("failure" in again && counterexample(again.failure)).toBe(counterexample(first.failure));
  });
});
describe("not caught", () => {
  it("the rule as it is: paths summed, in spectral norms, with a floor, with steps by head", () => {
    for (const [architecture, optimizer, o] of [
      ["latent", quack(unit, { tau, combine: "sum" }), { combine: "sum" }],
      ["grouped", quack(unit, { tau, norm: "spectral" }), { norm: "spectral", runs: 300 }],
      ["multi-query", quack(unit, { tau, floor: 1 }), { floor: 1 }],
      ["multi-head", quack(each({ "*": apart(unitRule, "head") }), { tau }), {}],
    ] as const) {
      const verdict = check(architecture, optimizer, o);
      expect("failure" in verdict ? counterexample(verdict.failure) : null).toBeNull();
    }
  });
});
