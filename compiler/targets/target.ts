// What every target is: a plan goes in, text for its device comes out. Nothing here runs anything.
import type { Either } from "fp-ts/lib/Either.js";
import type { Plan } from "../plan.js";

export interface TargetError {
  readonly kind: "target";
  readonly target: string;
  /** The kernel it was met in, and the graph nodes that kernel computes (for places). */
  readonly kernel: string;
  readonly nodes: readonly number[];
  readonly message: string;
}
/** `Choices`: what a target lets be chosen beside its own rules of thumb; most have nothing. */
export interface Target<Artifact, Choices = never> {
  readonly name: string;
  compile(plan: Plan, choices?: Choices): Either<TargetError, Artifact>;
}
