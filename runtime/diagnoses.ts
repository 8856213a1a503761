// What can be said of an expression before anything runs, beside its errors: expressions that are hardly what is meant, and
// fusions that something in them prevents.
import { type Diagnosis, diagnose } from "../compiler/explain/diagnose.js";
import { flatten } from "../dsl/tree.js";
import type { Expression } from "./halves.js";

export type { Diagnosis } from "../compiler/explain/diagnose.js";

/** Of all results; none for an expression with errors, which compiling it names. */
export const diagnosesOf = (x: Pick<Expression, "out">): readonly Diagnosis[] => diagnose(flatten(x.out).map(({ node }) => node));
