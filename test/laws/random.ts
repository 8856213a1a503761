// Runs random programs: many in one compilation; where one fails, it is shrunk alone.
import fc from "fast-check";
import { judge, show } from "./judge.js";
import { caseOfProgram, type Program, programs } from "./program.js";
import type { TargetName } from "./targets.js";

export const BATCH = 25;

/** The first `count` programs of a seed. */
export function drawn(seed: number, count: number): readonly Program[] {
  const out: Program[] = [];
  fc.assert(
    fc.property(programs, (p) => void out.push(p)),
    { seed, numRuns: count },
  );
  return out;
}
/** What is wrong with one program on a target, or null. */
async function faultOf(p: Program, target: TargetName): Promise<string | null> {
  const faults = await judge([caseOfProgram(p).case], target);
  return faults.length > 0 ? show(faults, 3) : null;
}
/** Those of a seed's programs that a target computes wrongly, each shrunk and printed as source. */
export async function mismatches(
  seed: number,
  which: readonly number[],
  target: TargetName,
  o: { readonly most?: number } = {},
): Promise<readonly string[]> {
  const out: string[] = [];
  const all = drawn(seed, 1 + Math.max(-1, ...which));
  const most = o.most ?? 1;
  for (let at = 0; at < which.length && out.length < most; at += BATCH) {
    const batch = which.slice(at, at + BATCH);
    const cases = batch.map((i) => caseOfProgram(all[i] as Program).case);
    const faults = await judge(cases, target);
    for (const index of new Set(faults.map((f) => batch[cases.indexOf(f.case)] as number))) {
      if (out.length >= most) break;
      const own = faults.filter((f) => f.case === cases[batch.indexOf(index)]);
      out.push(await shrunk(seed, index, target, show(own, 3)));
    }
  }
  return out;
}
/** The same draws again, of which all before the failing one pass unseen, so that fast-check shrinks that one. */
async function shrunk(seed: number, index: number, target: TargetName, message: string): Promise<string> {
  let count = 0;
  let last = message;
  const property = fc.asyncProperty(programs, async (p) => {
    if (count++ < index) return true;
    const fault = await faultOf(p, target);
    if (fault) last = fault;
    return fault === null;
  });
  const result = await fc.check(property, { seed, numRuns: index + 1, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false });
  const p = result.counterexample?.[0] ?? (drawn(seed, index + 1)[index] as Program);
  const how = result.counterexample ? `shrunk ${result.numShrinks} times` : "it passes when it is compiled alone";
  return `program ${index} of seed ${seed} on ${target} (${how}):\n${last}\n${caseOfProgram(p).text}\n`;
}
