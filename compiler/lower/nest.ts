// A kernel before it is scheduled: which loops, which values, where they go; not in which order or by whom.
// A nest is the work between two global barriers. Targets turn nests into loops with a recipe (or, gpu.js, into one
// function per output cell). What is normative is the fold's tree (design.md, Bits): it depends on the fold's own length.
import type { Extent } from "../../dsl/node.js";
import type { Buffer, Expr } from "./expr.js";

/** Terms of a chunk in the tree of a fold (loop/fold.ts): bits depend on it. */
export const CHUNK = 256;

/** A loop: its variable's name is unique in the plan. */
export interface Axis {
  readonly v: string;
  readonly extent: Extent;
}
export interface Store {
  readonly buffer: Buffer;
  readonly index: readonly Expr[];
  readonly value: Expr;
}
export interface Monoid {
  readonly names: readonly string[];
  readonly empty: readonly number[];
  /** Over locals `x.NAME` and `y.NAME`, one result per component, in the order of names. */
  readonly combine: readonly Expr[];
  /** Recognised shapes; `general` otherwise. `sum` may use fma when its element is a product. */
  readonly kind: "sum" | "max" | "min" | "prod" | "general";
}

/** Inside a row, in order. Values of earlier stages are locals of later ones. At one index (of a map, a stage, a
 *  contraction's result) every value is computed before any store: state updated in place reads its old value. */
export type Stage =
  /** Binds local `bind[c]` to component c of the fold over `over` of `elements`. */
  | {
      readonly stage: "fold";
      readonly over: readonly Axis[];
      readonly monoid: Monoid;
      readonly elements: readonly Expr[];
      readonly bind: readonly string[];
    }
  /** For each index of `axes` (none: once a row) all stores. */
  | { readonly stage: "map"; readonly axes: readonly Axis[]; readonly stores: readonly Store[] }
  /** At each index of `over`, in order: local `bind[c]` is the prefix; then the stores. */
  | {
      readonly stage: "scan";
      readonly over: Axis;
      readonly monoid: Monoid;
      readonly elements: readonly Expr[];
      readonly bind: readonly string[];
      readonly exclusive: boolean;
      readonly reverse: boolean;
      readonly stores: readonly Store[];
    };

/** A contraction that exists tile by tile: local `name` = Σ_k a·b at each (row, over). */
export interface Dot {
  readonly name: string;
  readonly k: readonly Axis[];
  /** Over batch, rows and k; may read sides of the rows. */
  readonly a: Expr;
  /** Over batch, over and k; may read sides of the over axes. */
  readonly b: Expr;
}
/** A fold over small axes of its own, with a value at each index of one side (a norm of each query, or of each key). */
export interface Side {
  readonly name: string;
  readonly of: "rows" | "over";
  readonly fold: readonly Axis[];
  /** One component. */
  readonly monoid: Monoid;
  readonly element: Expr;
}
/** A fold over all `over` axes, for each row; `bind` are its components: in later folds of the kernel their values so far,
 *  in `stores` the final ones. */
export interface TileFold {
  readonly bind: readonly string[];
  readonly monoid: Monoid;
  /** Tile expressions: over batch, rows, over; they read dots, sides, and the binds of earlier folds. */
  readonly elements: readonly Expr[];
  /** Where the elements read binds of earlier folds: what is folded so far is brought up to date by this when those binds
   *  change, a factor for a sum, an addend for a maximum. Over binds and their former values `was.BIND`; an expression of
   *  differences only, which is not evaluated where nothing changed. null: the elements read no binds. One component. */
  readonly rescale: Expr | null;
  /** Axes that the result has beside batch and rows. */
  readonly n: readonly Axis[];
  /** n not empty: Σ element·b, with b over batch, over and n. */
  readonly b: Expr | null;
  /** n is one axis: the element is added at this index of it (int, over batch, rows, over), and b is null. */
  readonly at: Expr | null;
}
/** Σ over the rows of element·a, a over batch, rows and n, with a result at each index of batch, over and n: gathered in
 *  memory, tile after tile. The local `sum` in the store's value is the total. A kernel with columns divides its batches
 *  alone among threads. */
export interface TileColumn {
  readonly n: readonly Axis[];
  readonly element: Expr;
  readonly a: Expr;
  readonly store: Store;
}

interface Base {
  /** Unique in the plan; made from the source's names where there are any. */
  readonly name: string;
  /** Ids of the graph nodes it computes, for places and messages. */
  readonly nodes: readonly number[];
}
export type Nest =
  /** For each index of `axes`: all stores. No folds. */
  | (Base & { readonly form: "map"; readonly axes: readonly Axis[]; readonly stores: readonly Store[] })
  /** For each index of `rows` the stages in order. */
  | (Base & { readonly form: "row"; readonly rows: readonly Axis[]; readonly stages: readonly Stage[] })
  /** local "sum" = Σ_k a·b for each batch, m, n; then the stores. a reads no n axis, b no m axis. */
  | (Base & {
      readonly form: "contract";
      readonly batch: readonly Axis[];
      readonly m: readonly Axis[];
      readonly n: readonly Axis[];
      readonly k: readonly Axis[];
      readonly a: Expr;
      readonly b: Expr;
      readonly stores: readonly Store[];
    })
  /** Folds over a value with one index on each of two sides that is never stored: queries × keys. For each batch and row
   *  the folds over `over`, in order, in one pass; then the stores. The last axis of rows and of over is tiled, those
   *  before are loops. Outside `mask` no fold and no quad changes: tiles without an index inside are skipped.
   *  Tree of a fold: tiles of 64 along the last over axis, in order. */
  | (Base & {
      readonly form: "tiles";
      readonly batch: readonly Axis[];
      readonly rows: readonly Axis[];
      readonly over: readonly Axis[];
      readonly sides: readonly Side[];
      readonly dots: readonly Dot[];
      /** bool, over batch, rows and over. */
      readonly mask: Expr;
      readonly folds: readonly TileFold[];
      readonly columns: readonly TileColumn[];
      /** Stores at each index of batch, rows and over (mask is then true). */
      readonly quads: readonly Store[];
      /** For each batch, row and index of n, values over binds (those of folds with that n, or with none). */
      readonly stores: readonly { readonly n: readonly Axis[]; readonly stores: readonly Store[] }[];
    })
  /** into[…, target = index, …] += value in the order of `over`, from 0, or from what is there (`onto`): a sum over a one-hot
   *  condition. `into.index` is over the variables of rows and of target. index is over `over` (and rows); out of range is dropped. */
  | (Base & {
      readonly form: "scatter";
      readonly rows: readonly Axis[];
      readonly over: readonly Axis[];
      readonly target: Axis;
      readonly index: Expr;
      readonly value: Expr;
      readonly into: { readonly buffer: Buffer; readonly index: readonly Expr[] };
      readonly onto: boolean;
    })
  /** The k greatest of `element` along `over` for each row, descending, ties to the lower index. Stores see the
   *  locals `value` (real) and `index` (int) for each `slot`; `chosen` (if any) is a bool buffer over rows and over. */
  | (Base & {
      readonly form: "top";
      readonly rows: readonly Axis[];
      readonly over: Axis;
      readonly slot: Axis;
      readonly element: Expr;
      readonly stores: readonly Store[];
      readonly chosen: { readonly buffer: Buffer; readonly index: readonly Expr[] } | null;
    });

/** The program: nests in order with a barrier after each, and counted loops around them. */
export type Step =
  | { readonly step: "nest"; readonly nest: Nest }
  /** `v` is the counter's variable: 0 … count−1, or downwards. With `blocks` its turns are blocks of rows, and count is
   *  that of the greatest extent. */
  | {
      readonly step: "loop";
      readonly v: string;
      readonly count: number;
      readonly reverse: boolean;
      readonly body: readonly Step[];
      readonly blocks?: Blocks;
    };

/** Turn v of a loop has rows [v·size, v·size + size) of the whole extent (blocks.ts). */
export interface Blocks {
  /** Of all rows. There is one turn at least: a sum of nothing is written in it. */
  readonly extent: Extent;
  readonly size: number;
  readonly spans: readonly RowSpan[];
}
/** Rows [lo, size + hi) of each block, where they are rows at all: what a nest runs over that is needed further than the
 *  block, since a later one reads neighbouring rows. */
export interface RowSpan {
  /** Variable: the first of these rows. */
  readonly start: string;
  /** Variable: how many rows before the first of all were cut off; null where lo is 0. */
  readonly skip: string | null;
  /** How many there are in this turn: a number where all turns are alike, else an extent that the loop sets. */
  readonly rows: Extent;
  readonly lo: number;
  readonly hi: number;
}
