// What the compiler hands to a target: buffers with places in memory, and the steps. Data only.
import type { Node, UpTo } from "../dsl/node.js";
import type { Buffer } from "./lower/expr.js";
import type { Step } from "./lower/nest.js";

export interface Plan {
  readonly name: string;
  readonly buffers: readonly Buffer[];
  readonly steps: readonly Step[];
  /** Run-time extents, in the order in which a run passes them. */
  readonly extents: readonly UpTo[];
  /** By the program's own names. State buffers are read and written in place; inputs are read only. */
  readonly inputs: Readonly<Record<string, Buffer>>;
  readonly outputs: Readonly<Record<string, Buffer>>;
  readonly state: Readonly<Record<string, Buffer>>;
  /** Byte offset of each temp buffer (by id) in one arena of `arenaBytes`, 64-byte aligned. */
  readonly offsets: ReadonlyMap<number, number>;
  readonly arenaBytes: number;
  /** The value that lies in a buffer (by id), for names and places in messages; plans written by hand have none. */
  readonly holds?: ReadonlyMap<number, Node>;
  /** Buffers (by id) of values that have memory for one block of rows at a time (lower/blocks.ts). */
  readonly inBlocks?: ReadonlySet<number>;
  /** Values that the lowering keeps in memory although a fusion was looked for, and what stopped it. */
  readonly why?: readonly { readonly node: Node; readonly reason: string }[];
  /** Where a target that can measures itself: microseconds, f32, [thread, nest in the order of the steps, 2], the time
   *  in the kernel and then at the barrier behind it, summed over a run's calls. One of `outputs`. */
  readonly profile?: Buffer;
}
