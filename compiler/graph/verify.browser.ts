// verify.ts for bundles. What a verifier finds is a bug of ours, and the same passes are verified wherever the tests run: a page
// does not load what looks for it.
import type * as checked from "./verify.js";

export type { Stage } from "./verify.js";

export const verify: typeof checked.verify = () => undefined;
