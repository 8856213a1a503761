// Point-wise nests: one vector loop along the axis that most accesses walk contiguously, everything else around it,
// divided among threads.

import { int } from "../../lower/expr.js";
import type { Nest } from "../../lower/nest.js";
import { loop, type Stmt, storeS } from "../ir.js";
import { bestVector, blocked, fuse, inOrder, overThreads, type Span, spanOf, type Work } from "../spans.js";

/** Elements a thread takes at a time: long enough to amortise a loop, short enough to divide evenly. */
const BLOCK = 256;

export function pointwise(nest: Nest & { form: "map" }): readonly Stmt[] {
  const fused = fuse([nest.axes.map(spanOf)], [false], { terms: [], stores: nest.stores });
  const spans = fused.groups[0] as readonly Span[];
  const { body, vector } = vectorised(spans, fused.work);
  if (!vector) return overThreads([], body);
  const outer = spans.filter((s) => s !== vector);
  if (vector.max <= BLOCK) return overThreads(outer, [loop(vector.v, int(0), vector.extent, body, "vector")]);
  const { blocks, inner } = blocked(vector, BLOCK, body, "vector");
  return overThreads([...outer, blocks], [inner]);
}

/** All stores, and the span to vectorise along (none: a single element). */
export function vectorised(spans: readonly Span[], work: Work): { body: readonly Stmt[]; vector: Span | undefined } {
  return { body: work.stores.map((s) => storeS(s.buffer, s.index, s.value)), vector: bestVector(spans, work)?.span };
}
/** The same inside a row: loops in order, the vector one innermost. */
export function mapLoops(spans: readonly Span[], work: Work, vectors: boolean): readonly Stmt[] {
  const { body, vector } = vectorised(spans, work);
  if (!vector || !vectors) return inOrder(spans, body);
  return inOrder(
    spans.filter((s) => s !== vector),
    [loop(vector.v, int(0), vector.extent, body, "vector")],
  );
}
