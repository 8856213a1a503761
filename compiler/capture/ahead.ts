// Functions whose syntax was read when a bundle was built, by the function itself: a bundler's plug-in (vite/) wraps them
// where they are written. What it read is the author's text, so neither a minifier nor a browser without a parser changes
// what the function means; and a message can show the author's line, which a bundle no longer has.
import type { Arrow } from "../../dsl/node.js";
import type { FunctionSyntax } from "./syntax.js";

export interface Ahead {
  /** The author's file, as messages name it. */
  readonly file: string;
  /** Where `text` begins in it, from 1. */
  readonly line: number;
  /** The whole lines that the function stands in. The syntax's offsets count in it. */
  readonly text: string;
  readonly syntax: FunctionSyntax;
}

const known = new WeakMap<Arrow, Ahead>();

/** The function itself, known from now on by what was read of it. */
export function ahead<F extends Arrow>(fn: F, read: Ahead): F {
  known.set(fn, read);
  return fn;
}
export const aheadOf = (fn: Arrow): Ahead | undefined => known.get(fn);
