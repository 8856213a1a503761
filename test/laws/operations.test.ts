// Every operation × element type × target against the oracle: the samples of each, at extents 0, 1, primes and tiles ± 1,
// forward and gradient.
import { describe, expect, it } from "vitest";
import { allSamples, caseOf } from "./cases.js";
import { rounds } from "./draw.js";
import { judge, show } from "./judge.js";
import { samples } from "./samples.js";
import { seed } from "./seed.js";
import { targets } from "./targets.js";

describe.each(targets)("operations on %s", (target) => {
  for (const op of Object.keys(samples)) {
    const mine = allSamples.filter((s) => s.op === op);
    it(`${op}: ${mine.length} samples`, async () => {
      expect(mine.length).toBeGreaterThan(0);
      const faults = [];
      for (const round of rounds(seed))
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
