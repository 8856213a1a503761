// The language without its types: the derivative tests run every operation on shapes that are data, which the public
// signatures (literal sizes, exact names) do not take.
import * as language from "../../dsl/index.js";

// biome-ignore lint/suspicious/noExplicitAny: see above
export const loose = language as unknown as Record<keyof typeof language, (...args: any[]) => any>;
/** A record, a tensor or a number whose type nobody needs. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type R = any;
