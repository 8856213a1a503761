// Prefix folds: one chain along the axis, in order (or from the end), with the stores of each step beside it. Where
// rows are adjacent in memory the row recipe runs eight of them side by side.
import { type Expr, int, variable } from "../../lower/expr.js";
import type { Stage } from "../../lower/nest.js";
import { bound, combined, emptyOf } from "../fold.js";
import { letS, loop, type Stmt, setS, storeS, varS } from "../ir.js";
import { freshName, spanOf } from "../spans.js";
import { rename, sub } from "../terms.js";

export function scanLoops(stage: Stage & { stage: "scan" }): readonly Stmt[] {
  const { monoid } = stage;
  const span = spanOf(stage.over);
  const names = stage.bind.map((b) => freshName(`${b}_acc`));
  const acc = bound(monoid, names);
  const next = stage.bind.map((b) => freshName(`${b}_next`));
  const step = freshName("step");
  const to = stage.reverse ? new Map([[span.v, sub(sub(span.extent, int(1)), variable(step))]]) : new Map([[span.v, variable(step)]]);
  const advance: readonly Stmt[] = [
    ...combined(monoid, acc, rename(stage.elements, to)).map((e, i) => letS(next[i] as string, e)),
    ...bound(monoid, next).map((e, i) => setS(names[i] as string, e)),
  ];
  const stores = stage.stores.map((s) => storeS(s.buffer, rename(s.index, to), rename([s.value], to)[0] as Expr));
  // `bind` is a name in scope of the stores: before the step for an exclusive scan, after it otherwise.
  const lets = acc.map((e, i) => letS(stage.bind[i] as string, e));
  return [
    ...emptyOf(monoid).map((e, i) => varS(names[i] as string, e)),
    loop(step, int(0), span.extent, stage.exclusive ? [...lets, ...stores, ...advance] : [...advance, ...lets, ...stores]),
  ];
}
