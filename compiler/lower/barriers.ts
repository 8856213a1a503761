// Where the threads of a program wait for each other. A barrier stands before a nest that touches what one since the last
// barrier wrote, or writes what one read; others need none. Temporaries that share bytes of the arena are one memory here,
// where the slices that a turn of an outer loop touches share them. A loop begins and ends its turns with one, where anything is pending. What lies between two barriers is a kernel: the C
// target prints its calls along this walk, and `explain` counts along it.
import type { Plan } from "../plan.js";
import { type Buffer, maxOf } from "./expr.js";
import { bytesOf, type Touched } from "./memory.js";
import type { Nest, Step } from "./nest.js";
import { Slices } from "./slices.js";

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
export function walkOf(plan: Pick<Plan, "steps" | "offsets">, touched: (n: Nest) => Touched): readonly Event[] {
  const slices = new Slices();
  /** The loops around what is looked at, the outermost first. */
  const around: LoopStep[] = [];
  const overlap = (a: Buffer, now: Nest, b: Buffer, by: ReadonlySet<Nest>): boolean => {
    if (a === b) return true;
    const [x, y] = [plan.offsets.get(a.id), plan.offsets.get(b.id)];
    if (x === undefined || y === undefined || x >= y + bytesOf(b) || y >= x + bytesOf(a)) return false;
    const [outer] = around;
    if (!outer || outer.count > MOST_COMPARED) return true;
    for (let turn = 0; turn < outer.count; turn++) {
      const counters = new Map([[outer.v, turn]]);
      const mine = rangesOf(a, x, slices.of(now, a, counters));
      for (const m of by)
        for (const [from, to] of rangesOf(b, y, slices.of(m, b, counters))) if (mine.some(([f, t]) => f < to && from < t)) return true;
    }
    return false;
  };
  const events: Event[] = [];
  const reads = new Map<Buffer, Set<Nest>>();
  const writes = new Map<Buffer, Set<Nest>>();
  const wait = (because: readonly Conflict[]) => {
    if (reads.size + writes.size === 0) return;
    events.push({ at: "barrier", because });
    reads.clear();
    writes.clear();
  };
  const note = (to: Map<Buffer, Set<Nest>>, buffers: ReadonlySet<Buffer>, n: Nest) => {
    for (const b of buffers) to.set(b, (to.get(b) ?? new Set()).add(n));
  };
  type Access = Conflict["now"]["access"];
  const hits = (
    n: Nest,
    now: ReadonlySet<Buffer>,
    access: Access,
    earlier: ReadonlyMap<Buffer, ReadonlySet<Nest>>,
    was: Access,
  ): readonly Conflict[] =>
    [...now].flatMap((x) =>
      [...earlier].flatMap(([y, by]) => (overlap(x, n, y, by) ? [{ earlier: { buffer: y, access: was }, now: { buffer: x, access } }] : [])),
    );
  // As deep as the plan's loops are nested: a few levels.
  const run = (steps: readonly Step[]) => {
    for (const s of steps) {
      if (s.step === "loop") {
        wait([]);
        events.push({ at: "enter", loop: s });
        around.push(s);
        run(s.body);
        wait([]);
        around.pop();
        events.push({ at: "leave", loop: s });
        continue;
      }
      const t = touched(s.nest);
      const conflicts = [
        ...hits(s.nest, t.reads, "read", writes, "written"),
        ...hits(s.nest, t.writes, "written", writes, "written"),
        ...hits(s.nest, t.writes, "written", reads, "read"),
      ];
      if (conflicts.length > 0) wait(conflicts);
      note(reads, t.reads, s.nest);
      note(writes, t.writes, s.nest);
      events.push({ at: "nest", nest: s.nest });
    }
  };
  run(plan.steps);
  return events;
}

/** Turns of an outer loop that are compared one by one; of more, slices count as the whole. */
const MOST_COMPARED = 128;
/** Bytes of the arena. */
function rangesOf(b: Buffer, at: number, slices: readonly number[] | undefined): readonly (readonly [number, number])[] {
  const bytes = bytesOf(b);
  if (!slices) return [[at, at + bytes]];
  const each = bytes / maxOf((b.axes[0] as (typeof b.axes)[number]).extent);
  return slices.map((s) => [at + s * each, at + (s + 1) * each]);
}
