// What becomes of the folds of quadratic values: drafts of kernels before memory is decided, kernels after.
import type { FoldNode, Loop, Node } from "../../dsl/node.js";
import type { Condition, Mask } from "./masks.js";
import type { Quadratics, Reason } from "./quadratics.js";
import type { TileShape } from "./tiles.js";

export interface TileKernel {
  readonly home: Loop | null;
  readonly shape: TileShape;
  /** Results of one fold, in the order of computation. */
  readonly folds: readonly (readonly FoldNode[])[];
  readonly mask: readonly Condition[];
  /** Point-wise values that are finished here, and stored. */
  readonly hosts: readonly Node[];
  /** Quadratic values that are stored, element by element. */
  readonly quads: readonly Node[];
  /** What depends on its results. */
  readonly after: ReadonlySet<Node>;
  /** What must be known before it runs. */
  readonly before: readonly Node[];
}
export interface Tiling {
  readonly quadratics: Quadratics;
  readonly drafts: readonly Draft[];
  readonly small: ReadonlySet<Node>;
  readonly reasons: readonly Reason[];
}

export interface Draft {
  home: Loop | null;
  shape: TileShape;
  key: string;
  folds: FoldNode[][];
  mask: Mask;
  quads: Node[];
}
