// What is known of a program when its files are written.
import type { About, Argument } from "../export.js";

/** An array that the caller gives: its field in the struct of arrays, and its elements' type in C. */
export interface CArgument extends Argument {
  readonly field: string;
  readonly type: string;
}
export interface Exported {
  readonly about: About;
  readonly arguments: readonly CArgument[];
  /** Names of the run-time extents, with their greatest values. */
  readonly extents: readonly { readonly field: string; readonly max: number }[];
  readonly arenaBytes: number;
  readonly scratchBytes: number;
  readonly flags: readonly string[];
}
