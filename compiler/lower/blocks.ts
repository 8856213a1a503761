// Row blocks: what kernels of tiles cannot have (a scan along the keys, scores mixed between heads or shifted, a selection)
// needs a row of scores whole, but never all rows. Where such a value would be stored, as large as queries times
// keys, the kernels around it run in a loop over blocks of rows instead:
//
//   for each block of 128 rows: scores of the block; what is made of them; the block's rows of the output;
//                               of what folds over rows (gradients of keys), the block's share
//
// Values of the block alone have memory for one block. A kernel that reads a few rows beside its own has them made again with
// the block. Sums over rows are gathered block after block: their tree depends on the number of rows alone. What has to wait
// for all rows, and reads such values again, has a loop of its own in which they are computed once more (block-stages.ts).
//
// Which buffers: one that is written at every pair of two loops, of which what it is computed from has one each (queries and
// keys), and that is larger than all of that. Weights do not count as one side: a product with them is a projection.
import type { Node } from "../../dsl/node.js";
import { blockLoop, type Making, SIZE, stagesApart } from "./block-nests.js";
import { kindOf } from "./block-reads.js";
import { type Region, regionOf, type Seed, SHORTEST_SIDE, type Surroundings } from "./block-stages.js";
import { type Buffer, type Expr, elements, maxOf, variable } from "./expr.js";
import { variables } from "./form.js";
import { axesOf, conflicts, expressionsOf, loadsOf, storesOf, type Touched, touched } from "./memory.js";
import type { Nest, Step } from "./nest.js";
import type { Reason } from "./quadratics.js";
import type { Range } from "./ranges.js";
import { fuseRows } from "./rows.js";
import { loopsOf } from "./turns.js";

export interface Blocking extends Making {
  readonly bounds: ReadonlyMap<string, Range>;
  /** The value that a buffer holds, for reasons. */
  readonly holds: (b: Buffer) => Node | undefined;
}
export interface Blocked {
  readonly steps: readonly Step[];
  readonly gone: ReadonlySet<Buffer>;
  /** Why a quadratic value has memory all the same. */
  readonly reasons: readonly Reason[];
}

export function inBlocks(steps: readonly Step[], c: Blocking): Blocked {
  const gone = new Set<Buffer>();
  const reasons: Reason[] = [];
  const lists = [steps, ...loopsOf(steps).map((l) => l.body)];
  const where = new Map<Buffer, Set<readonly Step[]>>();
  for (const list of lists)
    for (const s of list) {
      if (s.step !== "nest") continue;
      const t = touched(s.nest);
      for (const b of [...t.reads, ...t.writes]) where.set(b, (where.get(b) ?? new Set()).add(list));
    }
  const weights = weightsOf(lists);
  const walk = (list: readonly Step[]): readonly Step[] => {
    const out: Step[] = [];
    let run: Nest[] = [];
    const flush = () => {
      const here = new Set(run.flatMap((n) => [...touched(n).reads, ...touched(n).writes]));
      const others = new Set<Buffer>();
      for (const s of list) {
        if (s.step !== "nest" || run.includes(s.nest)) continue;
        const t = touched(s.nest);
        for (const b of [...t.reads, ...t.writes]) if (here.has(b)) others.add(b);
      }
      const only = (b: Buffer) => b.role === "temp" && where.get(b)?.size === 1 && !others.has(b);
      out.push(...blocked(run, { only, weights, gone, reasons }, c));
      run = [];
    };
    for (const s of list) {
      if (s.step === "nest") run.push(s.nest);
      else {
        flush();
        out.push({ ...s, body: walk(s.body) });
      }
    }
    flush();
    return out;
  };
  return { steps: walk(steps), gone, reasons };
}

interface Run {
  /** Temporaries that nothing but this run of nests touches. */
  readonly only: (b: Buffer) => boolean;
  readonly weights: ReadonlySet<Buffer>;
  readonly gone: Set<Buffer>;
  readonly reasons: Reason[];
}
/** A run of nests, some of them in loops over blocks. */
function blocked(nests: readonly Nest[], r: Run, c: Blocking): readonly Step[] {
  const plain = (list: readonly Nest[]) => list.map((nest): Step => ({ step: "nest", nest }));
  const faults = new Map<Buffer, Set<string>>();
  const fault = (b: Buffer, reason: string) => faults.set(b, (faults.get(b) ?? new Set()).add(reason));
  const fused = regionsOf(nests, r, c, fault);
  const [best] = fused;
  // A row's stages, fused, may fold over what is to be rows and walk it again: apart, the fold waits for all blocks.
  const apart = best?.left === 0 ? [] : nests.flatMap((n) => stagesApart(n, c.unique));
  const others = apart.length > nests.length ? regionsOf(apart, r, c, fault) : [];
  for (const region of [...fused, ...others].sort((x, y) => x.left - y.left || x.stages.length - y.stages.length)) {
    const parts = partsOf(region, c);
    if (typeof parts === "string") {
      fault(region.seed, parts);
      continue;
    }
    for (const b of region.gone) r.gone.add(b);
    // What another part touches is no part's own.
    const by = parts.map((x) => new Set(("step" in x ? bodyOf(x) : x).flatMap((n) => [...touched(n).reads, ...touched(n).writes])));
    const again = (list: readonly Nest[]) => (fused.includes(region) ? list : fuseRows(list));
    return parts.flatMap((x, i): readonly Step[] => {
      if (!("step" in x)) return blocked(again(x), { ...r, only: (b) => r.only(b) && by.every((own, k) => k === i || !own.has(b)) }, c);
      return [x.step === "nest" ? x : { ...x, body: plain(again(bodyOf(x))) }];
    });
  }
  for (const [b, reasons] of faults) {
    const node = c.holds(b);
    if (node) for (const reason of reasons) r.reasons.push({ node, reason });
  }
  return plain(nests);
}
const bodyOf = (s: Step): readonly Nest[] => (s.step === "nest" ? [s.nest] : s.body.flatMap(bodyOf));

/** The regions that these nests could have, the one that leaves least in memory first. */
function regionsOf(nests: readonly Nest[], r: Run, c: Blocking, fault: (b: Buffer, reason: string) => void): readonly Region[] {
  const seeds = nests.flatMap((n) => seedsOf(n, r));
  if (seeds.length === 0) return [];
  const s = surroundings(nests, r, c);
  const out: Region[] = [];
  const covered = new Set<Buffer>();
  for (const seed of seeds) {
    if (covered.has(seed.buffer)) continue;
    const region = s.own.has(seed.buffer) ? regionOf(seed, s) : "is read again in another turn";
    if (typeof region === "string") {
      fault(seed.buffer, region);
      continue;
    }
    out.push(region);
    // Nothing is better than all; and what another region has is no seed of its own.
    if (region.left === 0) for (const b of region.gone) covered.add(b);
  }
  return out.sort((x, y) => x.left - y.left || x.stages.length - y.stages.length);
}
/** What is plain, and the loops. */
function partsOf(region: Region, c: Blocking): readonly (readonly Nest[] | Step)[] | string {
  const parts: (readonly Nest[] | Step)[] = [];
  for (const [t, stage] of region.stages.entries()) {
    parts.push(stage.before);
    if (stage.members.length === 0) continue;
    const made = blockLoop(region, t, c);
    if (typeof made === "string") return made;
    parts.push(made.loop, made.after);
  }
  return [...parts, region.after];
}

function surroundings(nests: readonly Nest[], r: Run, c: Blocking): Surroundings {
  const io = nests.map(touched);
  const before: number[][] = nests.map(() => []);
  const after: number[][] = nests.map(() => []);
  for (let i = 0; i < nests.length; i++)
    for (let j = 0; j < i; j++) {
      if (!conflicts(io[j] as Touched, io[i] as Touched)) continue;
      (before[i] as number[]).push(j);
      (after[j] as number[]).push(i);
    }
  const writers = new Map<Buffer, number[]>();
  const readers = new Map<Buffer, number>();
  for (const [i, t] of io.entries()) {
    for (const b of t.writes) writers.set(b, [...(writers.get(b) ?? []), i]);
    for (const b of t.reads) if (!readers.has(b)) readers.set(b, i);
  }
  const own = new Set(
    [...writers]
      .filter(([b, [first, ...others]]) => r.only(b) && others.length === 0 && (readers.get(b) ?? nests.length) >= (first as number))
      .map(([b]) => b),
  );
  return { nests, io, before, after, own, bounds: c.bounds };
}

/** Quadratic values that a nest stores, once for each of its loops that could be blocked. */
function seedsOf(nest: Nest, r: Run): readonly Seed[] {
  const loads = loadsOf(expressionsOf(nest)).filter((l) => !r.weights.has(l.buffer) && !storesOf(nest).some((s) => s.buffer === l.buffer));
  if (loads.length < 2) return [];
  const read = loads.map((l) => new Set(l.index.flatMap((e) => [...variables(e)])));
  const most = Math.max(...loads.map((l) => elements(l.buffer)));
  return storesOf(nest).flatMap(({ buffer, index }) => {
    if (!r.only(buffer) || elements(buffer) <= most) return [];
    const axes = axesOf(nest).filter((a) => index.includes(variable(a.v)));
    const sides = axes.filter((a) => maxOf(a.extent) >= SHORTEST_SIDE && read.some((v) => v.has(a.v)));
    /** Are these two sides: no value read has both? */
    const apart = (a: string, b: string) => a !== b && !read.some((v) => v.has(a) && v.has(b));
    return sides.flatMap((axis): readonly Seed[] => {
      const others = new Set(sides.filter((x) => apart(axis.v, x.v)).map((x) => x.v));
      const batch = axes.filter((x) => x !== axis && !others.has(x.v));
      if (maxOf(axis.extent) <= SIZE || others.size === 0 || batch.some((x) => maxOf(x.extent) > maxOf(axis.extent))) return [];
      if (kindOf(nest, axis) !== "makes") return [];
      const columns = new Set(index.flatMap((e: Expr, c) => ([...variables(e)].some((v) => others.has(v)) ? [c] : [])));
      return [{ nest, buffer, axis, columns }];
    });
  });
}

/** State, tables, and what is made of them alone. */
function weightsOf(lists: readonly (readonly Step[])[]): ReadonlySet<Buffer> {
  const writers = new Map<Buffer, Touched[]>();
  const all = new Set<Buffer>();
  for (const list of lists)
    for (const s of list) {
      if (s.step !== "nest") continue;
      const t = touched(s.nest);
      for (const b of [...t.reads, ...t.writes]) all.add(b);
      for (const b of t.writes) writers.set(b, [...(writers.get(b) ?? []), t]);
    }
  const out = new Set([...all].filter((b) => b.role === "state" || b.role === "table"));
  for (let before = -1; before !== out.size; ) {
    before = out.size;
    for (const [b, by] of writers) if (by.every((t) => t.reads.size > 0 && [...t.reads].every((x) => x === b || out.has(x)))) out.add(b);
  }
  return out;
}
