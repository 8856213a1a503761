// Before a large arena is first touched, the process returns what compiling has left: V8's young generation grows to tens of
// megabytes while graphs are rewritten and keeps them, and the C library keeps what was freed in it. A collection that looks for
// everything shrinks the one (some milliseconds), a trim the other. Without it a step's peak has both beside the arena.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Native } from "./pool.js";

/** Arenas from this size on are worth the milliseconds. */
export const LARGE_ARENA = 64 * 2 ** 20;

type Collect = (o: { readonly type: "major"; readonly execution: "sync"; readonly flavor: "last-resort" }) => void;
let collect: Collect | null | undefined;
/** Null where this engine has none. */
function collector(): Collect | null {
  if (collect !== undefined) return collect;
  try {
    // A context made while the flag is set has the function; nobody else's has.
    setFlagsFromString("--expose-gc");
    const found: unknown = runInNewContext("gc");
    setFlagsFromString("--no-expose-gc");
    collect = typeof found === "function" ? (found as Collect) : null; // V8's own, whose declaration Node lacks
  } catch {
    collect = null;
  }
  return collect;
}

export function relieve(native: Native): void {
  collector()?.({ type: "major", execution: "sync", flavor: "last-resort" });
  native.trim();
}
