// What the language refuses, as typed errors: each names the operation, the input and the axis, carries the place in the
// author's file that made the call, and says what would be right.
import { callSite, type Place } from "./places.js";

/** The base of every error that a mistake in user code causes. */
export class MallardError extends Error {
  override readonly name: string = "MallardError";
  readonly place: Place | undefined;
  /** The message without place and hint. */
  readonly what: string;
  constructor(
    what: string,
    readonly hint?: string,
    /** `place`: null where the message names its places itself. */
    options?: ErrorOptions & { readonly place?: Place | null },
  ) {
    const place = options?.place === null ? undefined : (options?.place ?? callSite());
    super([what, ...(hint ? [`  hint: ${hint}`] : []), ...(place ? [`  at ${place.file}:${place.line}:${place.column}`] : [])].join("\n"), options);
    this.what = what;
    this.place = place;
  }
}
/** An axis that is absent, exists already, or would be captured. */
export class AxisError extends MallardError {
  override readonly name = "AxisError";
}
/** Extents that do not agree, or that an operation cannot have. */
export class SizeError extends MallardError {
  override readonly name = "SizeError";
}
/** A tensor of the wrong element type. */
export class DTypeError extends MallardError {
  override readonly name = "DTypeError";
}
/** A value that is no tensor, number or arrow where one is wanted; a missing or unknown input. */
export class ArgumentError extends MallardError {
  override readonly name = "ArgumentError";
}
/** An arrow that cannot be lifted: it asks for what is not there, or gives no scalar. */
export class ArrowError extends MallardError {
  override readonly name = "ArrowError";
}
/** A rule, pattern or optimizer that does not fit the weights it is given. */
export class RuleError extends MallardError {
  override readonly name = "RuleError";
}

export const quote = (names: Iterable<string>): string => [...names].map((n) => `"${n}"`).join(", ") || "none";
