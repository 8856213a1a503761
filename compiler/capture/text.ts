// A function's own text.
import type { Arrow } from "../../dsl/node.js";

/** The function's text as it runs; a `toString` of its own is not asked. */
export const textOf = (fn: Arrow): string => Function.prototype.toString.call(fn);
