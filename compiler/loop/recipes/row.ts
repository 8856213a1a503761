// Row nests: folds, maps and scans of one row in sequence, so that what one stage leaves the next finds in L1. Rows are
// divided among threads. Vectors run along the row where its data are contiguous ("lanes" of a fold); where
// neighbouring rows are the contiguous direction (column sums), eight rows run side by side.
import type { Expr } from "../../lower/expr.js";
import type { Nest, Stage, Store } from "../../lower/nest.js";
import { foldLoops } from "../fold.js";
import type { Stmt } from "../ir.js";
import { affinity, bestVector, blocked, fuse, overThreads, type Span, spanOf, type Work } from "../spans.js";
import { mapLoops } from "./pointwise.js";
import { scanLoops } from "./scan.js";

type Row = Nest & { form: "row" };

export function row(nest: Row): readonly Stmt[] {
  const { rows, stages } = fuseRows(nest);
  const beside = bestVector(rows, workOf(stages.map((s) => s.stage)));
  const sideBySide = beside !== undefined && prefersRows(beside.span, stages);
  const body = stages.flatMap((s) => stageLoops(s, !sideBySide));
  if (!sideBySide || !beside) return overThreads(rows, body);
  const { blocks, inner } = blocked(beside.span, beside.span.max <= 512 ? 16 : 64, body, "vector");
  return overThreads([...rows.filter((r) => r !== beside.span), blocks], [inner]);
}

/** A stage with its own loops fused. */
export interface Placed {
  readonly stage: Stage;
  readonly inner: readonly Span[];
}
const storesOf = (s: Stage): readonly Store[] => (s.stage === "fold" ? [] : s.stores);
const elementsOf = (s: Stage): readonly Expr[] => (s.stage === "map" ? [] : s.elements);
export const workOf = (stages: readonly Stage[]): Work => ({ terms: stages.flatMap(elementsOf), stores: stages.flatMap(storesOf) });

/** Fuses the rows' axes over everything, then each stage's own. */
export function fuseRows(nest: Row): { rows: readonly Span[]; stages: readonly Placed[] } {
  const fused = fuse([nest.rows.map(spanOf)], [false], workOf(nest.stages));
  const [terms, stores] = [[...fused.work.terms], [...fused.work.stores]];
  const stages = nest.stages.map((stage): Placed => {
    const work: Work = { terms: terms.splice(0, elementsOf(stage).length), stores: stores.splice(0, storesOf(stage).length) };
    if (stage.stage === "scan") return { stage: { ...stage, elements: work.terms, stores: work.stores }, inner: [] };
    const spans = (stage.stage === "fold" ? stage.over : stage.axes).map(spanOf);
    const own = fuse([spans], [stage.stage === "fold"], work);
    const inner = own.groups[0] as readonly Span[];
    return stage.stage === "fold"
      ? { stage: { ...stage, elements: own.work.terms }, inner }
      : { stage: { ...stage, stores: own.work.stores }, inner };
  });
  return { rows: fused.groups[0] as readonly Span[], stages };
}

/** Whether vectors along the rows beat vectors within them. */
export function prefersRows(beside: Span, stages: readonly Placed[]): boolean {
  if (beside.max < 8) return false;
  let score = 0;
  for (const { stage, inner } of stages) {
    const work = workOf([stage]);
    const along = affinity(beside.v, work);
    const chained = stage.stage === "scan" || (stage.stage === "fold" && stage.monoid.kind === "general");
    const within = chained
      ? -1
      : stage.stage === "fold"
        ? inner.length
          ? affinity((inner.at(-1) as Span).v, work)
          : 0
        : (bestVector(inner, work)?.score ?? 0);
    score += along - within;
  }
  return score > 0;
}

function stageLoops({ stage, inner }: Placed, vectors: boolean): readonly Stmt[] {
  switch (stage.stage) {
    case "fold":
      return foldLoops({ over: inner, monoid: stage.monoid, elements: stage.elements, bind: stage.bind }, vectors ? "lanes" : "values");
    case "map":
      return inner.length === 0 ? mapLoops([], workOf([stage]), false) : mapLoops(inner, workOf([stage]), vectors);
    case "scan":
      return scanLoops(stage);
  }
}
