// What can be said of an expression before anything runs, beside its errors: expressions that are hardly what is meant, and
// fusions that something in them prevents. Each names the author's expression and its place, and says what to do.
import { isLeft } from "fp-ts/lib/Either.js";
import type { Node } from "../../dsl/node.js";
import type { CaptureOptions } from "../capture/capture.js";
import { order } from "../graph/walk.js";
import { runGraphPasses } from "../pipeline.js";
import { Expander } from "./expand.js";
import { zeroGradients } from "./gradients.js";
import { rowsWithoutKeys } from "./rows.js";
import { stoppedFusions } from "./stopped.js";
import { doubtfulMonoids, maskedAfterExp } from "./warnings.js";
import type { Diagnosis } from "./words.js";

export type { Diagnosis } from "./words.js";

/** Of the expressions as the author wrote them, gradients included. An expression with errors has none: compiling it
 *  says what they are. */
export function diagnose(roots: readonly Node[], capture: CaptureOptions = {}): readonly Diagnosis[] {
  const read = runGraphPasses(roots, { last: "read", capture });
  if (isLeft(read)) return [];
  const nodes = order(read.right.roots);
  const expander = new Expander();
  const warnings = [
    ...rowsWithoutKeys(nodes, expander),
    ...maskedAfterExp(nodes, expander),
    ...zeroGradients(nodes),
    ...doubtfulMonoids(nodes, expander),
  ];
  const whole = runGraphPasses(roots, { capture });
  return once([...warnings, ...(isLeft(whole) ? [] : stoppedFusions(whole.right.roots))]);
}

/** Several expressions that one place of the author's makes (a formula applied twice) say it once. */
function once(all: readonly Diagnosis[]): readonly Diagnosis[] {
  const seen = new Set<string>();
  return all.filter(({ place, message }) => {
    const key = place ? `${place.file}:${place.line}:${place.column} ${message}` : message;
    const first = !seen.has(key);
    seen.add(key);
    return first;
  });
}
