// source.ts for browsers: no parser, no files. Every function must have been read when the bundle was built (ahead.ts); the
// text of one that was not is what a minifier made of it, and is refused, not guessed at.
import type { Arrow } from "../../dsl/node.js";
import { Refusal } from "./read.js";
import type * as node from "./source.js";

export const defaultCacheFolder: () => string | null = () => null;

export const syntaxOf: typeof node.syntaxOf = (fn: Arrow) => {
  throw new Refusal(
    fn,
    0,
    "this function was not read when the bundle was built, and a browser has no parser",
    "build with the plug-in of @mallard-lang/mallard/vite, and write the function in the call that takes it, or in a const that the call names",
  );
};
export const locate: typeof node.locate = () => undefined;
