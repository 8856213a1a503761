// A plan's kernels as people count them: the work between two global barriers, in order, with what each barrier waits for.
// The walk is the one that the C target prints its calls along (lower/barriers.ts).
import { type Conflict, walkOf } from "../lower/barriers.js";
import type { Buffer } from "../lower/expr.js";
import { touched } from "../lower/memory.js";
import type { Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";

export interface Kernel {
  readonly nests: readonly Nest[];
  /** How often a run passes it: the counts of the loops around it. */
  readonly times: number;
  /** What the barrier before it waits for; empty for the first kernel, and at a loop's ends. */
  readonly because: readonly Conflict[];
}

export function kernelsIn(plan: Plan): readonly Kernel[] {
  const out: Kernel[] = [];
  let nests: Nest[] = [];
  let because: readonly Conflict[] = [];
  let times = 1;
  const end = () => {
    if (nests.length > 0) out.push({ nests, times, because });
    nests = [];
    because = [];
  };
  for (const e of walkOf(plan, touched)) {
    if (e.at === "nest") {
      nests.push(e.nest);
      continue;
    }
    end();
    if (e.at === "barrier") because = e.because;
    else times = e.at === "enter" ? times * e.loop.count : times / e.loop.count;
  }
  end();
  return out;
}

/** The nests that these outputs need. State is read as it was before the run: what writes it is not needed for that. */
export function neededFor(plan: Plan, outputs: readonly Buffer[]): ReadonlySet<Nest> {
  const nests = kernelsIn(plan).flatMap((k) => k.nests);
  const needed = new Set<Nest>();
  const wanted = new Set(outputs);
  // Again while something new is found: a loop's later nests feed its earlier ones.
  for (let before = -1; before < needed.size; ) {
    before = needed.size;
    for (const n of [...nests].reverse()) {
      const t = touched(n);
      if (needed.has(n) || ![...t.writes].some((b) => wanted.has(b))) continue;
      needed.add(n);
      for (const b of t.reads) if (b.role !== "state") wanted.add(b);
    }
  }
  return needed;
}
