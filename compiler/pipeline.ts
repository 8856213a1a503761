// The compiler's passes in order: its table of contents. Each is named, and the verifier runs after it.
//
//   read       arrows become scalar expressions (capture)
//   rates      learning-rate factors, certificates and budgets are derived from the labelled logits
//   round      what the forward pass keeps is rounded to the program's storage of activations
//   split      folds over an author's tuple monoid become folds by components
//   shifts     what is subtracted in an exponent has no gradient where nothing depends on it
//   reassociate
//              what does not vary along a sum of quadratic values leaves it
//   grad       gradients become expressions
//   simplify   local rewriting
//   sink       what is computed layer by layer from a loop's results moves into the loop
//   unnest     folds over both sides of quadratic values become folds of folds
//   lower      nests and loops (compiler/lower), then targets
//
// The oracle stops at `grad`, and leaves out what only prepares for fusion: it executes the graph as the author wrote it.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import type { Storage } from "../dsl/model.js";
import type { Node } from "../dsl/node.js";
import type { CaptureOptions } from "./capture/capture.js";
import { expandBounds } from "./graph/bound.js";
import type { PassError } from "./graph/error.js";
import { expandGrads } from "./graph/grad.js";
import { splitMonoids } from "./graph/monoids.js";
import { roundKept } from "./graph/precision.js";
import { expandRates } from "./graph/rates.js";
import { follow, read } from "./graph/read.js";
import { reassociate } from "./graph/reassociate.js";
import { shifts } from "./graph/shifts.js";
import { simplify } from "./graph/simplify.js";
import { sink } from "./graph/sink.js";
import { unnest } from "./graph/unnest.js";
import { type Stage, verify } from "./graph/verify.js";
import type { Rebuilt } from "./graph/walk.js";
import type { Original } from "./targets/js/kernel.js";

export interface Graph {
  readonly roots: readonly Node[];
  /** What the author wrote for a node, where that was a function: for the oracle. */
  readonly originals: ReadonlyMap<Node, Original>;
}
export interface Pass {
  readonly name: "read" | "rates" | "round" | "split" | "shifts" | "reassociate" | "grad" | "simplify" | "sink" | "unnest";
  readonly run: (g: Graph) => Either<readonly PassError[], Graph>;
  /** What holds of its result, and of all later ones. */
  readonly establishes: Stage;
  /** Rewrites only for the sake of fusion: a run up to `grad`, the oracle's, goes without. */
  readonly fusion?: true;
}

const rebuilt = (g: Graph, e: Either<PassError, Rebuilt>): Either<readonly PassError[], Graph> =>
  isLeft(e) ? left([e.left]) : right({ roots: e.right.roots, originals: follow(g.originals, e.right.to) });

/** Bounds first: they are made of rates. */
const derived = (g: Graph): Either<readonly PassError[], Graph> => {
  const bounds = rebuilt(g, expandBounds(g.roots));
  return isLeft(bounds) ? bounds : rebuilt(bounds.right, expandRates(bounds.right.roots));
};

/** Nothing is executed as it was written any more. */
const rewritten = ({ roots }: { readonly roots: readonly Node[] }): Either<readonly PassError[], Graph> => right({ roots, originals: new Map() });

export const passes = (options: CaptureOptions = {}, compute: Storage = "f32"): readonly Pass[] => [
  { name: "read", run: (g) => read(g.roots, options), establishes: { read: true } },
  { name: "rates", run: derived, establishes: {} },
  ...(compute === "f32" ? [] : [{ name: "round", run: (g: Graph) => rebuilt(g, right(roundKept(g.roots, compute))), establishes: {} } as const]),
  { name: "split", run: (g) => rewritten(splitMonoids(g.roots)), establishes: {}, fusion: true },
  { name: "shifts", run: (g) => rewritten(shifts(g.roots)), establishes: {}, fusion: true },
  { name: "reassociate", run: (g) => rewritten(reassociate(g.roots)), establishes: {}, fusion: true },
  { name: "grad", run: (g) => rebuilt(g, expandGrads(g.roots)), establishes: { expanded: true } },
  { name: "simplify", run: (g) => rewritten(simplify(g.roots)), establishes: {} },
  { name: "sink", run: (g) => rewritten({ roots: sink(g.roots) }), establishes: {} },
  { name: "unnest", run: (g) => rewritten(unnest(g.roots)), establishes: {}, fusion: true },
];

/** Runs the passes up to and including `last`; up to `grad`, those that every target needs, the oracle too. `watch` sees the graph after each: what `explain` prints. */
export function runGraphPasses(
  roots: readonly Node[],
  o: {
    readonly last?: Pass["name"];
    readonly capture?: CaptureOptions;
    readonly compute?: Storage;
    readonly watch?: (pass: string, g: Graph) => void;
  } = {},
): Either<readonly PassError[], Graph> {
  let g: Graph = { roots, originals: new Map() };
  let holds: Stage = {};
  verify(g.roots, holds);
  for (const pass of passes(o.capture, o.compute)) {
    if (pass.fusion && o.last === "grad") continue;
    const out = pass.run(g);
    if (isLeft(out)) return out;
    g = out.right;
    holds = { ...holds, ...pass.establishes };
    verify(g.roots, holds);
    o.watch?.(pass.name, g);
    if (pass.name === o.last) break;
  }
  return right(g);
}
