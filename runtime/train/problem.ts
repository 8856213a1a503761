// What goes wrong for a user of the trainer and the command line, as a value: which part of the request is at fault,
// what happened, and what to do about it. Functions return it on the left of an Either; the command line prints it.
import { type Either, left } from "fp-ts/lib/Either.js";

/** `usage` is a request that cannot be carried out as written (exit code 2); the others happen on the way (exit code 1). */
export type ProblemKind = "usage" | "data" | "run" | "device" | "expression" | "diverged";
export interface Problem {
  readonly kind: ProblemKind;
  readonly message: string;
  /** What would be right. */
  readonly hint: string;
}
export const problem = (kind: ProblemKind, message: string, hint: string): Either<Problem, never> => left({ kind, message, hint });

/** Text of whatever was thrown. */
export const textOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
/** The `code` that Node puts on system errors ("ENOENT"), or "". */
export const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
