// Point-wise nests: one vector loop along the axis that most accesses walk contiguously, everything else around it,
// divided among threads.
import { int, local } from "../../lower/expr.js";
import { loadsOf } from "../../lower/memory.js";
import type { Nest } from "../../lower/nest.js";
import { type Choosable, choosable } from "../choices.js";
import { applied, type Directive } from "../directives.js";
import { letS, loop, type Stmt, storeS } from "../ir.js";
import { bestVector, freshName, fuse, inOrder, maxCount, type Span, spanOf, type Work } from "../spans.js";

/** Elements a thread takes at a time: long enough to amortise a loop, short enough to divide evenly. What may be chosen. */
const BLOCKS = [256, 1024, 4096] as const;
/** Units of work that are enough for an even static division. */
const UNITS = 64;

export const pointwise = (nest: Nest & { form: "map" }): Choosable =>
  choosable<{ block: number }>({ block: BLOCKS }, ({ block }) => loops(nest, block));
function loops(nest: Nest & { form: "map" }, block: number): readonly Stmt[] {
  const fused = fuse([nest.axes.map(spanOf)], [false], { terms: [], stores: nest.stores });
  const spans = fused.groups[0] as readonly Span[];
  const body = storesOf(fused.work);
  // A single element is a loop of one.
  if (spans.length === 0) return [loop(freshName("once"), int(0), int(1), body, "thread")];
  return applied(inOrder(spans, body), pointwiseSchedule(spans, fused.work, block));
}

/** Vector axis innermost, in blocks; as many leading loops as an even division takes become one, for the threads. */
function pointwiseSchedule(spans: readonly Span[], work: Work, block: number): readonly Directive[] {
  const vector = (bestVector(spans, work) as { span: Span }).span; // there is a span
  const out: Directive[] = [];
  let outer = spans.filter((s) => s !== vector);
  if (spans.length > 1) out.push({ do: "reorder", order: [...outer.map((s) => s.v), vector.v] });
  if (vector.max > block || outer.length === 0) {
    const blocks = freshName(`${vector.v}_block`);
    out.push({ do: "split", loop: vector.v, size: block, blocks });
    outer = [...outer, { v: blocks, extent: vector.extent, max: Math.ceil(vector.max / block) }];
  }
  let lead = 1;
  while (lead < outer.length && maxCount(outer.slice(0, lead)) < UNITS) lead++;
  let divided = (outer[0] as Span).v;
  if (lead > 1) {
    divided = freshName("unit");
    out.push({ do: "fuse", loops: outer.slice(0, lead).map((s) => s.v), flat: divided });
  }
  return [...out, { do: "bind", loop: divided, to: "thread" }, { do: "bind", loop: vector.v, to: "vector" }];
}

/** Every value before any store, where one reads what another replaces: memory updated in place reads its old value. */
function storesOf({ stores }: Work): readonly Stmt[] {
  const replaced = (k: number) =>
    loadsOf([(stores[k] as (typeof stores)[number]).value]).some((l) => stores.slice(0, k).some((s) => s.buffer === l.buffer));
  const names = stores.map((_, k) => (replaced(k) ? freshName("value") : undefined));
  return [
    ...stores.flatMap((s, k) => (names[k] === undefined ? [] : [letS(names[k], s.value)])),
    ...stores.map((s, k) => storeS(s.buffer, s.index, names[k] === undefined ? s.value : local(names[k], s.value.type))),
  ];
}
/** The same inside a row, by one thread: loops in order, the vector one innermost. */
export function mapLoops(spans: readonly Span[], work: Work, vectors: boolean): readonly Stmt[] {
  const vector = bestVector(spans, work)?.span;
  if (!vector || !vectors) return inOrder(spans, storesOf(work));
  return applied(inOrder(spans, storesOf(work)), [
    { do: "reorder", order: [...spans.filter((s) => s !== vector).map((s) => s.v), vector.v] },
    { do: "bind", loop: vector.v, to: "vector" },
  ]);
}
