// Which kernels run block by block, and in which loops. Around one quadratic buffer, a region: every nest that touches such a
// buffer, and what stands between such nests, as far as each has its rows at a loop of its own (block-reads.ts). What
// folds over rows, or reads rows elsewhere, has to wait until all blocks are done: it, and what is computed from it, belongs
// to a later loop (stage). What an earlier loop would have kept for a later one as large as the scores is made
// again there.
import type { Extent } from "../../dsl/node.js";
import { type Aligned, aligned, rowsWritten, touches } from "./block-reads.js";
import { type Buffer, type Expr, elements, maxOf } from "./expr.js";
import { variables } from "./form.js";
import { axesOf, meets, type Touched } from "./memory.js";
import type { Axis, Nest } from "./nest.js";
import type { Range } from "./ranges.js";

/** Axes of two sides shorter than this make nothing quadratic. */
export const SHORTEST_SIDE = 17;

export interface Seed {
  readonly nest: Nest;
  readonly buffer: Buffer;
  /** The loop whose iterations are to be rows. */
  readonly axis: Axis;
  /** The buffer's axes of the other side. */
  readonly columns: ReadonlySet<number>;
}
export interface Surroundings {
  readonly nests: readonly Nest[];
  readonly io: readonly Touched[];
  /** By nest: those that must stay before it, and after it, directly. */
  readonly before: readonly (readonly number[])[];
  readonly after: readonly (readonly number[])[];
  /** Temporaries that nothing else touches, each written by one nest. */
  readonly own: ReadonlySet<Buffer>;
  readonly bounds: ReadonlyMap<string, Range>;
}
/** A nest as one of a stage. */
export interface Member {
  readonly nest: Nest;
  readonly aligned: Aligned;
  /** It runs here only for what later ones of this stage read. */
  readonly again: boolean;
}
export interface Stage {
  /** What comes before this stage's loop and after the last one's. */
  readonly before: readonly Nest[];
  readonly members: readonly Member[];
  /** What has memory for the rows of one block alone, and which axis the rows are. */
  readonly local: ReadonlyMap<Buffer, number>;
}
export interface Region {
  readonly seed: Buffer;
  readonly extent: Extent;
  readonly stages: readonly Stage[];
  readonly after: readonly Nest[];
  /** Quadratic values that no longer have memory of their own. */
  readonly gone: ReadonlySet<Buffer>;
  /** What candidates write and others read of all rows. */
  readonly whole: ReadonlySet<Buffer>;
  /** Elements of quadratic values that keep their memory. */
  readonly left: number;
}

/** What a seed's region makes of the nests; a reason where it cannot. */
export function regionOf(seed: Seed, s: Surroundings): Region | string {
  const { nests, io } = s;
  const { extent } = seed.axis;
  const found = candidates(seed, s);
  if (typeof found === "string") return found;
  const { members, large, rows } = found;
  const writer = new Map<Buffer, number>();
  for (const [i, t] of io.entries()) for (const b of t.writes) writer.set(b, i);

  // Stages: a candidate has what it reads at its own row in its own stage, all else in an earlier one.
  const stageOf: number[] = [];
  const inTurn = (from: number, to: number): boolean => {
    const [w, r] = [members.get(from), members.get(to)];
    if (w?.loop.kind !== "makes" || !r || meets((io[from] as Touched).reads, (io[to] as Touched).writes)) return false;
    const shared = [...(io[from] as Touched).writes].filter((b) => (io[to] as Touched).reads.has(b) || (io[to] as Touched).writes.has(b));
    return shared.every((b) => s.own.has(b) && rows.has(b) && r.beside.has(b) && !(io[to] as Touched).writes.has(b));
  };
  for (let i = 0; i < nests.length; i++) {
    let at = 0;
    for (const j of s.before[i] as readonly number[]) {
      at = Math.max(at, (stageOf[j] as number) + (members.has(j) && !inTurn(j, i) ? 1 : 0));
    }
    stageOf.push(at);
  }
  const count = Math.max(...[...members.keys()].map((i) => stageOf[i] as number)) + 1;

  /** Read as a whole: by what is no candidate, at other places than a row's own, or (what is small) in a later stage. */
  const whole = new Set<Buffer>();
  for (const [i, m] of members) {
    for (const b of (io[i] as Touched).writes) {
      if (m.loop.kind === "folds" || !s.own.has(b) || !rows.has(b)) whole.add(b);
      for (let j = i + 1; j < nests.length; j++) {
        if (!(io[j] as Touched).reads.has(b)) continue;
        const here = members.get(j)?.beside.has(b) ?? false;
        if (!here || (!large.has(b) && stageOf[j] !== stageOf[i])) whole.add(b);
      }
    }
  }
  if (whole.has(seed.buffer)) return "is read as a whole by what does not run over its rows";

  const stages: Stage[] = [];
  const gone = new Set<Buffer>();
  for (let t = 0; t < count; t++) {
    const here = new Map<number, boolean>();
    const todo: number[] = [];
    const add = (i: number, again: boolean) => {
      if (here.has(i)) return;
      here.set(i, again);
      todo.push(i);
    };
    for (const i of members.keys()) if (stageOf[i] === t && [...(io[i] as Touched).writes].some((b) => whole.has(b))) add(i, false);
    const local = new Map<Buffer, number>();
    for (let i = todo.pop(); i !== undefined; i = todo.pop()) {
      const t1 = io[i] as Touched;
      const again = here.get(i) as boolean;
      for (const b of t1.writes) if (again || !whole.has(b)) local.set(b, rows.get(b) as number);
      for (const b of t1.reads) {
        const w = writer.get(b);
        if (w === undefined || w === i || !members.has(w) || whole.has(b)) continue;
        add(w, stageOf[w] !== t);
      }
    }
    if (here.size === 0) {
      stages.push({ before: [], members: [], local });
      continue;
    }
    // What is made again reads what it read then: nothing may have been written there since.
    for (const [i, again] of here) {
      if (!again) continue;
      for (const [j, t2] of io.entries())
        if (j > i && (stageOf[j] as number) <= t && meets(t2.writes, (io[i] as Touched).reads))
          return "would be made again from values that are no longer there";
      if ([...(io[i] as Touched).writes].some((b) => !rows.has(b))) return "would be made again together with values over other rows";
    }
    for (const b of local.keys()) if (!whole.has(b)) gone.add(b);
    const chosen = [...here].sort(([i], [j]) => i - j);
    stages.push({
      before: [],
      members: chosen.map(([i, again]) => ({ nest: nests[i] as Nest, aligned: members.get(i) as Aligned, again })),
      local,
    });
  }
  const others = (from: number, to: number) =>
    nests.filter((_, i) => !members.has(i) && (stageOf[i] as number) >= from && (stageOf[i] as number) < to);
  return {
    seed: seed.buffer,
    extent,
    stages: stages.map((x, t) => ({ ...x, before: others(t, t + 1) })),
    after: others(count, Number.POSITIVE_INFINITY),
    gone,
    whole,
    left: [...new Set([...found.small, ...[...large].filter((b) => !gone.has(b))])].reduce((n, b) => n + elements(b), 0),
  };
}

interface Candidates {
  readonly members: ReadonlyMap<number, Aligned>;
  /** As large as the seed: over rows, and over what the other side of it became. */
  readonly large: ReadonlySet<Buffer>;
  /** Buffers that candidates write row by row, and the rows' axis. */
  readonly rows: ReadonlyMap<Buffer, number>;
  /** Those that some nest does not touch row by row. */
  readonly small: ReadonlySet<Buffer>;
}
function candidates(seed: Seed, s: Surroundings): Candidates | string {
  const small = new Set<Buffer>();
  for (;;) {
    const found = attempt(seed, s, small);
    if (typeof found === "string" || "members" in found) return found;
    small.add(found.not);
  }
}
/** `small`: what some nest does not touch row by row: it is kept whole, however large. `not`: one more. */
function attempt(seed: Seed, s: Surroundings, small: ReadonlySet<Buffer>): Candidates | { readonly not: Buffer } | string {
  const { nests, io, own, bounds } = s;
  const { extent } = seed.axis;
  const members = new Map<number, Aligned>();
  const rows = new Map<Buffer, number>();
  /** By large buffer: the axes of the other side. */
  const large = new Map<Buffer, ReadonlySet<number>>();
  const first = rowsWritten(seed.nest, seed.axis).get(seed.buffer);
  if (first === undefined) return "is not written row by row";
  rows.set(seed.buffer, first);
  large.set(seed.buffer, seed.columns);
  const join = (i: number, a: Aligned) => {
    members.set(i, a);
    if (a.loop.kind === "makes") for (const [b, at] of rowsWritten(nests[i] as Nest, a.loop.axis)) if (own.has(b)) rows.set(b, at);
  };
  for (let again = true; again; ) {
    again = false;
    for (const [i, t] of io.entries()) {
      const touching = [...large.keys()].filter((b) => t.reads.has(b) || t.writes.has(b));
      if (members.has(i) || touching.length === 0) continue;
      const a = aligned(nests[i] as Nest, new Map(touching.map((b) => [b, rows.get(b) as number])), extent, bounds);
      if (typeof a === "object") {
        join(i, a);
        again = true;
        continue;
      }
      const other = touching.find((b) => b !== seed.buffer);
      return other ? { not: other } : (a ?? "is touched by what has no rows");
    }
    // As large as those is what has rows and an axis that is walked with their other side.
    for (const [i, a] of members) {
      const all = touches(nests[i] as Nest);
      const sides = new Set(all.flatMap((t) => [...(large.get(t.buffer) ?? [])].flatMap((c) => [...variables(t.index[c] as Expr)])));
      sides.delete(a.loop.axis.v);
      const along = new Set(axesOf(nests[i] as Nest).flatMap((x) => (sides.has(x.v) && maxOf(x.extent) >= SHORTEST_SIDE ? [x.v] : [])));
      for (const t of all) {
        if (!own.has(t.buffer) || large.has(t.buffer) || small.has(t.buffer)) continue;
        const columns = t.index.flatMap((e, c) => ([...variables(e)].some((v) => along.has(v)) ? [c] : []));
        const row = t.index.findIndex((e, c) => !columns.includes(c) && variables(e).has(a.loop.axis.v));
        if (columns.length === 0 || row < 0) continue;
        large.set(t.buffer, new Set(columns));
        rows.set(t.buffer, rows.get(t.buffer) ?? row);
        again = true;
      }
    }
    if (again) continue;
    // What stands between reads rows that candidates make, and candidates read what is computed from it.
    const before = new Set(members.keys());
    const [behind, ahead] = [reached(before, s.after), reached(before, s.before)];
    for (let i = 0; i < nests.length; i++) {
      if (members.has(i) || !behind.has(i) || !ahead.has(i)) continue;
      const a = aligned(nests[i] as Nest, rows, extent, bounds);
      if (typeof a !== "object" || a.loop.kind === "folds") continue;
      join(i, a);
      again = true;
    }
  }
  // How each touches all rows that are made block by block, now that they are known.
  for (const [i, m] of members) {
    const beside = new Map<Buffer, Range>();
    for (const [b, at] of rows) {
      const one = aligned(nests[i] as Nest, new Map([[b, at]]), extent, bounds, m.loop.axis);
      const range = typeof one === "object" ? one.beside.get(b) : undefined;
      if (range) beside.set(b, range);
    }
    members.set(i, { ...m, beside });
  }
  return { members, large: new Set(large.keys()), rows, small };
}
function reached(from: ReadonlySet<number>, next: readonly (readonly number[])[]): ReadonlySet<number> {
  const out = new Set<number>();
  const todo = [...from].flatMap((i) => next[i] as readonly number[]);
  for (let i = todo.pop(); i !== undefined; i = todo.pop()) {
    if (out.has(i)) continue;
    out.add(i);
    todo.push(...(next[i] as readonly number[]));
  }
  return out;
}
