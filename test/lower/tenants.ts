// A referee for plans: walks a run turn by turn, notes which value each byte of the arena holds, and says where a nest reads what
// another value has taken, or where two nests that nothing keeps in order touch the same bytes. It knows nothing of lives.
import { walkOf } from "../../compiler/lower/barriers.js";
import { type Buffer, type Expr, maxOf } from "../../compiler/lower/expr.js";
import { bytesOf, expressionsOf, loadsOf, storesOf, touched } from "../../compiler/lower/memory.js";
import type { Nest } from "../../compiler/lower/nest.js";
import { valueAt } from "../../compiler/lower/slices.js";
import type { Plan } from "../../compiler/plan.js";

interface Part {
  readonly buffer: Buffer;
  /** Of the first axis; the whole buffer is all of them. */
  readonly slice: number;
  readonly from: number;
  readonly to: number;
}
const keyOf = (p: Part): string => `${p.buffer.id}.${p.slice}`;

/** Faults of a run, the first few. `turns`: of each loop, at most; all by default. */
export function conflictsIn(plan: Plan): readonly string[] {
  const faults: string[] = [];
  const held = new Map<string, Part>();
  const taken = new Map<string, string>();
  const parts = (b: Buffer, index: readonly Expr[], counters: ReadonlyMap<string, number>): readonly Part[] => {
    const at = plan.offsets.get(b.id);
    if (b.role !== "temp" || at === undefined) return [];
    const count = b.axes.length > 0 ? maxOf((b.axes[0] as (typeof b.axes)[number]).extent) : 1;
    const each = bytesOf(b) / Math.max(1, count);
    const known = index[0] && valueAt(index[0], counters);
    const slices = known !== undefined ? [known] : Array.from({ length: count }, (_, i) => i);
    return slices.map((slice) => ({ buffer: b, slice, from: at + slice * each, to: at + (slice + 1) * each }));
  };
  const meet = (x: Part, y: Part) => x.from < y.to && y.from < x.to;
  let between: { readonly nest: Nest; readonly reads: readonly Part[]; readonly writes: readonly Part[] }[] = [];
  const visit = (n: Nest, counters: ReadonlyMap<string, number>) => {
    const reads = loadsOf(expressionsOf(n)).flatMap((l) => parts(l.buffer, l.index, counters));
    const writes = storesOf(n).flatMap((s) => parts(s.buffer, s.index, counters));
    for (const p of reads) {
      const by = taken.get(keyOf(p));
      if (by !== undefined) faults.push(`${n.name} reads ${p.buffer.name}[${p.slice}], which ${by} has overwritten`);
    }
    for (const w of writes) {
      for (const [key, p] of held)
        if (key !== keyOf(w) && meet(p, w)) {
          held.delete(key);
          taken.set(key, `${n.name} with ${w.buffer.name}[${w.slice}]`);
        }
      held.set(keyOf(w), w);
      taken.delete(keyOf(w));
    }
    for (const other of between)
      for (const [mine, his] of [
        [writes, other.reads],
        [writes, other.writes],
        [reads, other.writes],
      ] as const)
        for (const x of mine)
          for (const y of his) if (meet(x, y)) faults.push(`${other.nest.name} and ${n.name} share ${x.buffer.name} without a barrier`);
    between.push({ nest: n, reads, writes });
  };
  const events = walkOf(plan, touched);
  const run = (from: number, counters: ReadonlyMap<string, number>): number => {
    for (let i = from; i < events.length; i++) {
      const e = events[i] as (typeof events)[number];
      if (e.at === "barrier") between = [];
      else if (e.at === "nest") visit(e.nest, counters);
      else if (e.at === "leave") return i;
      else {
        let end = i;
        const { count, reverse, v } = e.loop;
        for (let t = 0; t < count; t++) end = run(i + 1, new Map([...counters, [v, reverse ? count - 1 - t : t]]));
        i = end;
      }
      if (faults.length > 5) return events.length;
    }
    return events.length;
  };
  run(0, new Map());
  return faults;
}
