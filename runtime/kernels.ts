// The text of a program's kernels on a target that nothing here runs: needs no compiler of the machine's and no device.
// Printers stand apart (printers.ts), so that a bundle which names one has no other.
import { type Either, isLeft, left, map } from "fp-ts/lib/Either.js";
import { kernelsIn } from "../compiler/explain/kernels.js";
import { placesOfNest } from "../compiler/explain/stages.js";
import { type LowerOptions, lower } from "../compiler/lower/lower.js";
import { showNest, showPlan } from "../compiler/lower/show.js";
import type { Plan } from "../compiler/plan.js";
import type { TargetError } from "../compiler/targets/target.js";
import type { Place } from "../dsl/places.js";
import { CompileError, passed } from "./backend.js";
import type { ProgramSpec } from "./session.js";

export interface Kernel {
  readonly name: string;
  readonly source: string;
}
export interface Printer {
  readonly name: string;
  /** What the target wants of a plan. */
  readonly lowering: LowerOptions;
  print(plan: Plan): Either<TargetError, readonly Kernel[]>;
}
export interface Printed {
  /** In the plan's order; with where the author wrote what each computes, and that in index notation. A target may compute one nest of
   *  loops in several kernels: they have the same. */
  readonly kernels: readonly (Kernel & { readonly places: readonly Place[]; readonly notation: readonly string[] })[];
  readonly plan: string;
}

/** The text of every kernel of a program, a training step for example. Left says which kernel the target cannot print.
 *  Throws CompileError for what is wrong with the program. */
export function kernelsOfProgram(spec: Omit<ProgramSpec, "profile">, printer: Printer): Either<TargetError, Printed> {
  const plan = planOfProgram(spec, printer.lowering);
  if (isLeft(plan)) throw plan.left;
  const nests = kernelsIn(plan.right).flatMap((k) => k.nests);
  /** Of the nest that a kernel is, or is a part of. */
  const about = (kernel: string) => {
    const own = nests.filter((n) => n.name === kernel || kernel.startsWith(`${n.name}_`)).sort((a, b) => b.name.length - a.name.length)[0];
    return { places: own ? placesOfNest(plan.right, own) : [], notation: own ? showNest(own) : [] };
  };
  return map((kernels: readonly Kernel[]) => ({ kernels: kernels.map((k) => ({ ...k, ...about(k.name) })), plan: showPlan(plan.right) }))(
    printer.print(plan.right),
  );
}

function planOfProgram(spec: Omit<ProgramSpec, "profile">, lowering: LowerOptions): Either<CompileError, Plan> {
  const p = passed({ ...spec, updates: spec.updates ?? [] });
  if (isLeft(p)) return p;
  const plan = lower(p.right.program, lowering);
  return isLeft(plan) ? left(new CompileError([plan.left])) : plan;
}
