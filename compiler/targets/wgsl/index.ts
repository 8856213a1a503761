// The WGSL target, so far for contractions: it shows that a target with two levels of parallelism, barriers and shared
// memory is a recipe, a printer and a spelling over the same loop IR. Other forms are refused by name.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { place } from "../../loop/place.js";
import type { Nest } from "../../lower/nest.js";
import { nestsOf } from "../../lower/turns.js";
import type { Target, TargetError } from "../target.js";
import { printKernel, Unprintable, type WgslKernel } from "./print.js";
import { contract as tiled } from "./recipes/contract.js";

export { guaranteed, numerics, type WgslLimits } from "./limits.js";
export { printKernel, type WgslKernel } from "./print.js";
export { contract as tiled } from "./recipes/contract.js";

export interface WgslProgram {
  /** In the plan's order; loops of the plan are the host's. */
  readonly kernels: readonly WgslKernel[];
}

function compile(nest: Nest): Either<TargetError, WgslKernel> {
  const refused = (message: string) =>
    left<TargetError>({ kind: "target", target: "wgsl", kernel: nest.name, nodes: nest.nodes, message: `kernel ${nest.name}: ${message}` });
  if (nest.form !== "contract") return refused(`a ${nest.form} nest: the WGSL target prints contractions`);
  try {
    return right(printKernel(place({ name: nest.name, nodes: nest.nodes, body: tiled(nest) })));
  } catch (e) {
    if (e instanceof Unprintable) return refused(e.message);
    throw e;
  }
}

export const wgsl: Target<WgslProgram> = {
  name: "wgsl",
  compile(plan) {
    const kernels: WgslKernel[] = [];
    for (const { nest } of nestsOf(plan.steps)) {
      const made = compile(nest);
      if (made._tag === "Left") return made;
      kernels.push(made.right);
    }
    return right({ kernels });
  },
};
