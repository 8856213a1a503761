// Where the threads of a program wait for each other. A barrier stands before a nest that touches what one since the last
// barrier wrote, or writes what one read; others need none. Temporaries that share bytes of the arena are one memory here.
// A loop begins and ends its turns with one, where anything is pending. What lies between two barriers is a kernel: the C
// target prints its calls along this walk, and `explain` counts along it.
import type { Plan } from "../plan.js";
import type { Buffer } from "./expr.js";
import { bytesOf, type Touched } from "./memory.js";
import type { Nest, Step } from "./nest.js";

/** What the nest behind a barrier would have done too early. */
export interface Conflict {
  /** Written: its value is needed, or would be replaced. Read: it would be replaced while others read it. */
  readonly earlier: { readonly buffer: Buffer; readonly access: "read" | "written" };
  readonly now: { readonly buffer: Buffer; readonly access: "read" | "written" };
}
type LoopStep = Extract<Step, { step: "loop" }>;
export type Event =
  /** `because` is empty at a loop's ends. */
  | { readonly at: "barrier"; readonly because: readonly Conflict[] }
  | { readonly at: "nest"; readonly nest: Nest }
  | { readonly at: "enter" | "leave"; readonly loop: LoopStep };

/** Nests, barriers and loops in the order in which every thread meets them. */
export function walkOf(plan: Plan, touched: (n: Nest) => Touched): readonly Event[] {
  const overlap = (a: Buffer, b: Buffer): boolean => {
    if (a === b) return true;
    const [x, y] = [plan.offsets.get(a.id), plan.offsets.get(b.id)];
    if (x === undefined || y === undefined) return false;
    return x < y + bytesOf(b) && y < x + bytesOf(a);
  };
  const events: Event[] = [];
  let reads = new Set<Buffer>();
  let writes = new Set<Buffer>();
  const wait = (because: readonly Conflict[]) => {
    if (reads.size + writes.size === 0) return;
    events.push({ at: "barrier", because });
    reads = new Set();
    writes = new Set();
  };
  type Access = Conflict["now"]["access"];
  const hits = (now: ReadonlySet<Buffer>, access: Access, earlier: ReadonlySet<Buffer>, was: Access): readonly Conflict[] =>
    [...now].flatMap((x) =>
      [...earlier].filter((y) => overlap(x, y)).map((y) => ({ earlier: { buffer: y, access: was }, now: { buffer: x, access } })),
    );
  // As deep as the plan's loops are nested: a few levels.
  const run = (steps: readonly Step[]) => {
    for (const s of steps) {
      if (s.step === "loop") {
        wait([]);
        events.push({ at: "enter", loop: s });
        run(s.body);
        wait([]);
        events.push({ at: "leave", loop: s });
        continue;
      }
      const t = touched(s.nest);
      const conflicts = [
        ...hits(t.reads, "read", writes, "written"),
        ...hits(t.writes, "written", writes, "written"),
        ...hits(t.writes, "written", reads, "read"),
      ];
      if (conflicts.length > 0) wait(conflicts);
      for (const b of t.reads) reads.add(b);
      for (const b of t.writes) writes.add(b);
      events.push({ at: "nest", nest: s.nest });
    }
  };
  run(plan.steps);
  return events;
}
