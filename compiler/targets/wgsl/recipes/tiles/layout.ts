// How large tiles are and where things wait, within the adapter's limits. A workgroup of ty × tx invocations holds a tile of
// R = ty·ey rows and C = tx·ex over indices; each invocation has ey neighbouring rows, and lanes x, x + tx ….
//
// Operands are staged together where memory holds all that a tile reads (two or three barriers a tile), else in turn,
// piece by piece, through one buffer. Candidates are compared by what they cost an invocation, in rough instructions,
// for the nest's greatest extents. Sums wider than registers hold are divided among workgroups, which make the scores again.
import type { WgslLimits } from "../../limits.js";
import { type Demand, four, readsData, type SumDemand } from "./demand.js";

export interface Layout {
  readonly ty: number;
  readonly tx: number;
  readonly ey: number;
  readonly ex: number;
  readonly rows: number;
  readonly lanes: number;
  readonly staging: "together" | "in turn";
  /** Rows' operands of dots are read where they lie, if that can be. */
  readonly inPlace: boolean;
  /** In turn: inner indices of a dot that are staged at once. */
  readonly depth: number;
  /** Workgroups that share the columns of the sums of a row tile. */
  readonly parts: number;
  /** An invocation reads vectors of four words from panels. Else neighbours read neighbouring words: those are one vector of a
   *  processor, whose subgroups are as narrow as that. */
  readonly vectors: boolean;
  /** The invocations of a row lie in one subgroup, and exchange what they fold. */
  readonly exchange: boolean;
}
/** How an invocation holds a sum's columns: `groups` times `each` neighbours. */
export interface Columns {
  readonly each: number;
  readonly groups: number;
  /** tx · each · groups: those of a part. */
  readonly width: number;
}
export const columnsOf = (s: SumDemand, tx: number, parts: number): Columns => {
  const mine = Math.max(1, Math.ceil(s.columns / parts));
  const each = mine > 2 * tx ? 4 : mine > tx ? 2 : 1;
  const groups = Math.ceil(mine / (tx * each));
  return { each, groups, width: tx * each * groups };
};

/** Floats of a row of a panel: a vector more than it holds, so that neighbouring rows begin in other banks. */
export const padded = (n: number): number => four(Math.max(1, n)) + 4;

/** Sums that an invocation holds, and values in all, before registers are scarce. */
const SUMS = 64;
const REGISTERS = 176;

interface Cost {
  readonly bytes: number;
  readonly cost: number;
  readonly registers: number;
}
export function layoutOf(d: Demand, limits: WgslLimits): Layout | undefined {
  const [rowMax, overMax] = [Math.max(1, d.nest.rows.at(-1) ? maxOf(d, "rows") : 1), Math.max(1, d.nest.over.at(-1) ? maxOf(d, "over") : 1)];
  let best: { readonly layout: Layout; readonly score: number } | undefined;
  const most = Math.min(limits.invocations, 256);
  const vectors = !limits.processor;
  // What is guarded by what a tile's data say is not the same for all, as far as a compiler can tell.
  const subgroup = limits.subgroups === null || readsData(d.nest.mask) ? 0 : limits.subgroups.min;
  for (const rows of powers(1, 64)) {
    if (rows > 1 && rows >= 2 * rowMax) continue;
    const ey = Math.min(4, rows);
    const ty = rows / ey;
    for (const tx of powers(4, 64)) {
      const size = ty * tx;
      if (size > most || size < 16 || tx > limits.workgroupSize[0] || ty > limits.workgroupSize[1]) continue;
      for (const ex of [1, 2, 4]) {
        const lanes = tx * ex;
        if (lanes < 4 || (lanes > 16 && lanes >= 2 * overMax)) continue;
        for (const [staging, inPlace, depth] of [
          ["together", false, 0],
          ["together", true, 0],
          ["in turn", false, 16],
          ["in turn", false, 32],
        ] as const) {
          if (inPlace && !d.dots.some((x) => x.inPlace)) continue;
          const parts = partsOf(d, tx, ey);
          const layout: Layout = { ty, tx, ey, ex, rows, lanes, staging, inPlace, depth, parts, vectors, exchange: tx <= subgroup };
          const { bytes, cost, registers } = costOf(d, layout, rowMax, overMax);
          if (bytes > limits.workgroupMemory) continue;
          // Processors have few registers, and memory near by.
          const score = cost * (vectors && registers > REGISTERS ? registers / REGISTERS : 1);
          if (!best || score < best.score) best = { layout, score };
        }
      }
    }
  }
  return best?.layout;
}
function maxOf(d: Demand, side: "rows" | "over"): number {
  const e = d.nest[side].at(-1)?.extent ?? 1;
  return typeof e === "number" ? e : e.max;
}
function powers(from: number, to: number): readonly number[] {
  const out: number[] = [];
  for (let n = from; n <= to; n *= 2) out.push(n);
  return out;
}
function partsOf(d: Demand, tx: number, ey: number): number {
  if (d.exchanged.size > 0) return 1;
  for (let parts = 1; ; parts *= 2) {
    const held = d.sums.reduce((n, s) => n + ey * columnsOf(s, tx, parts).each * columnsOf(s, tx, parts).groups, 0);
    const least = d.sums.every((s) => columnsOf(s, tx, parts).groups === 1);
    if (held <= SUMS || least) return parts;
  }
}

/** Panels of operands that are staged together: by operand, with the floats of a row. */
export function panelsOf(d: Demand, l: Layout): ReadonlyMap<string, { readonly side: "rows" | "over"; readonly stride: number }> {
  const out = new Map<string, { side: "rows" | "over"; stride: number }>();
  const need = (key: string, side: "rows" | "over", stride: number) => {
    const known = out.get(key);
    out.set(key, { side, stride: Math.max(stride, known?.stride ?? 0) });
  };
  for (const x of d.dots) {
    if (!(l.inPlace && x.inPlace)) need(x.a.key, "rows", padded(x.a.length));
    need(x.b.key, "over", l.vectors ? padded(x.b.length) : four(x.b.length));
  }
  for (const s of d.sums) if (s.b) need(sumKey(s, l), "over", columnsOf(s, l.tx, l.parts).width);
  return out;
}
/** A part of the columns is another panel than the whole operand, and so is one that lies the other way. */
export const sumKey = (s: SumDemand, l: Layout): string => (l.parts === 1 && l.vectors ? (s.b?.key ?? "") : `sum ${s.b?.key}`);
/** Floats of a tile of elements: lanes by rows for vectors along the rows, else rows by lanes. */
export const pairsOf = (l: Layout): readonly [number, number] => (l.vectors ? [l.lanes, l.ey === 4 ? l.rows + 4 : l.rows] : [l.rows, l.lanes]);
/** Elements of sums that wait side by side, or one after the other. */
const pairTiles = (d: Demand, l: Layout): number => {
  const distinct = new Set(d.sums.map((s) => s.fold.elements[0])).size;
  return l.staging === "together" ? distinct : Math.min(1, distinct);
};
/** Floats of the buffer that operands take turns in. */
export const stageSize = (d: Demand, l: Layout): number =>
  Math.max(
    4,
    ...(d.dots.length > 0 ? [(l.rows + l.lanes) * padded(l.depth)] : []),
    ...d.sums.map((s) => (s.b ? l.lanes * l.tx * columnsOf(s, l.tx, l.parts).each : 0)),
  );

function costOf(d: Demand, l: Layout, rowMax: number, overMax: number): Cost {
  const { rows: R, lanes: C, tx, ty, ey, ex } = l;
  const size = tx * ty;
  const columns = d.sums.map((s) => columnsOf(s, tx, l.parts));
  const indexed = d.sums.filter((s) => !s.b).length;
  const width = columns.reduce((n, c) => n + c.each * c.groups, 0);
  const pairs = pairTiles(d, l);
  const sides = d.nest.sides.reduce((n, s) => n + (s.of === "rows" ? R : C), 0);
  const boards = l.exchange ? 0 : d.early.length + (d.late.size > 0 ? 1 : 0);
  const [pairRows, pairColumns] = pairsOf(l);
  const pair = pairRows * pairColumns;
  const chains = d.chained.reduce((n, f) => n + f.bind.length * (R * (C + 4) + R), 0);
  const exchanged = d.sums.reduce((n, s) => n + (d.exchanged.has(s.fold) ? R * s.columns : 0), 0);
  const places = l.staging === "together" ? indexed : Math.min(1, indexed);
  let floats = (pairs + places) * pair + exchanged + sides + boards * R * tx + chains + size;
  let staged = 0;
  let barriers = 1 + (l.exchange ? 0 : d.early.length) + 2 * d.chained.length;
  const wide = d.dots.map((x) => four(x.b.length));
  if (l.staging === "together") {
    for (const p of panelsOf(d, l).values()) {
      const n = (p.side === "rows" ? R : C) * p.stride;
      floats += n;
      if (p.side === "over") staged += n;
    }
    barriers += 1 + (d.sums.length > 0 ? 1 : 0);
  } else {
    floats += stageSize(d, l);
    for (const k of wide) {
      staged += (R + C) * k;
      barriers += 2 * Math.ceil(k / l.depth);
    }
    for (const [i, s] of d.sums.entries()) {
      const c = columns[i] as Columns;
      staged += s.b ? C * tx * c.each * c.groups : 0;
      barriers += 2 * c.groups;
    }
  }
  // A vector of four, or four words.
  const read = l.vectors ? 2 : 12;
  const products = wide.reduce((n, k) => n + ey * ex * k + read * (k / 4) * ((l.inPlace ? 1.5 : 1) * ey + ex), 0);
  const eachRead = (c: Columns) => (l.vectors ? read * (4 + 4) : read * (ey + c.each));
  const sums = (C / 4) * columns.reduce((n, c) => n + c.groups * (4 * ey * c.each + eachRead(c)), 0);
  const element = 24 * ey * ex * (1 + d.dots.length / 2) + 2 * ey * width;
  const reduce = d.early.length * ey * (l.exchange ? 4 * Math.log2(tx) : tx + 8) + 8 * d.chained.length * C;
  const perTile = products + sums + element + reduce + (6 * staged) / size + 60 * barriers;
  const tiles = Math.ceil(rowMax / R) * Math.ceil(overMax / C);
  // Of a subgroup all invocations are busy or wait.
  const busy = l.vectors ? 32 * Math.ceil(size / 32) : size;
  const registers = ey * ex * (d.dots.length + 1) + ey * width + Math.max(0, ...columns.map((c) => ey * c.each)) + 4 * (ey + 2) + 24;
  // Few workgroups of little memory hide each other's waiting.
  const crowd = l.vectors && floats * 4 > 16_384 ? 1.1 : 1;
  return { bytes: 4 * floats, cost: tiles * busy * perTile * l.parts * crowd, registers };
}
