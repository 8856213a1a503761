// 500 random well-typed programs, forward and gradient, on every target (a few on an emulated one, other ones on each): no
// mismatch with the oracle. MALLARD_LAWS_SEED runs the same ones again, MALLARD_LAWS_RUNS scales their number.
import { describe, expect, it } from "vitest";
import { caseOfProgram } from "./program.js";
import { drawn, mismatches } from "./random.js";
import { runs, seed } from "./seed.js";
import { everyTarget, share } from "./targets.js";

const FEW = 8;
describe.each(everyTarget)("random programs on %s", (target) => {
  const which = share(target, [...Array(runs).keys()], FEW, "programs");
  it(`${which.length} programs of seed ${seed}`, { timeout: 900_000 }, async () => {
    const found = await mismatches(seed, which, target);
    expect(found.length, found.join("\n")).toBe(0);
  });
});

describe("the generator", () => {
  it("covers the language: most operations occur often, and values are finite", () => {
    const all = drawn(seed, runs).map((p) => caseOfProgram(p).text);
    for (const word of ["repeat(", "dot(", "softmax(", "grad(", "scan(", "cumsum(", "at(", "top(", "rename(", "cast(", "upTo(", "bf16", "bool"])
      expect(all.filter((t) => t.includes(word)).length, word).toBeGreaterThan(runs / 100);
  });
});
