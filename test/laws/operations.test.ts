// Every operation × element type × target against the oracle: the samples of each, at extents 0, 1, primes and tiles ± 1,
// forward and gradient. An emulated target gets one sample of each operation at one extent.
import { describe, expect, it } from "vitest";
import { allSamples, caseOf } from "./cases.js";
import { rounds } from "./draw.js";
import { judge, show } from "./judge.js";
import { samples } from "./samples.js";
import { seed } from "./seed.js";
import { everyTarget, share } from "./targets.js";

describe.each(everyTarget)("operations on %s", (target) => {
  for (const op of Object.keys(samples)) {
    const mine = share(
      target,
      allSamples.filter((s) => s.op === op),
      1,
      `samples of ${op}`,
    );
    it(`${op}: ${mine.length} samples`, async () => {
      expect(mine.length).toBeGreaterThan(0);
      const faults = [];
      for (const round of share(target, rounds(seed), 1, `rounds of ${op}`))
        faults.push(
          ...(await judge(
            mine.map((s) => caseOf(s, round)),
            target,
          )),
        );
      expect(faults.length, show(faults)).toBe(0);
    });
  }
});
