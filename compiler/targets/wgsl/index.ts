// The WGSL target: a plan becomes distinct compute shaders, the places of its memory, and the dispatches of each step
// (program.ts). A nest's loops are a recipe's (recipes/), of which the printer makes text.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import type { Kernel } from "../../loop/ir.js";
import { place } from "../../loop/place.js";
import { type Interval, interval } from "../../loop/terms.js";
import { verifyKernel } from "../../loop/verify.js";
import type { Expr } from "../../lower/expr.js";
import type { Nest, Step } from "../../lower/nest.js";
import { nestsOf } from "../../lower/turns.js";
import { outerOf } from "../around.js";
import { numbered } from "../naming.js";
import type { Target, TargetError } from "../target.js";
import { usedBy } from "./analysis.js";
import { type Binding, bindingsOf, TooMany } from "./bindings.js";
import { divided } from "./divide.js";
import { grouped } from "./groups.js";
import { beyond32 } from "./integers.js";
import { guaranteed, Unfit, type WgslLimits } from "./limits.js";
import { type Places, placesOf } from "./places.js";
import { type Printed, printKernel, readable } from "./print.js";
import type { WgslPipeline, WgslProgram, WgslStep } from "./program.js";
import { scheduled } from "./recipes/index.js";
import { unrolled } from "./unroll.js";

export { guaranteed, numerics, type WgslLimits } from "./limits.js";
export { lowering } from "./lowering.js";
export * from "./program.js";
export { storedBytes } from "./storage.js";

/** A nest's loops, ready to print. */
interface Made {
  readonly kernel: Kernel;
  readonly bindings: readonly Binding[];
  readonly workgroups: Expr;
  readonly printed: Printed;
}
/** undefined: there is nothing to compute. Throws Unfit. */
function made(nest: Nest, outer: ReadonlyMap<string, Interval>, where: Places, limits: WgslLimits): Made | undefined {
  const own = scheduled(nest, limits);
  verifyKernel(own, outer);
  const { kernel: flat, workgroups } = grouped(own);
  if (workgroups.kind === "num" && workgroups.value === 0) return undefined;
  const groups = interval(workgroups, outer);
  if (groups.hi > Math.min(limits.dispatch ** 2, 2 ** 31 - 1))
    throw new Unfit(`${groups.hi} workgroups: a dispatch may have ${limits.dispatch} × ${limits.dispatch}, numbered in 31 bits`);
  const kernel = place(unrolled(flat), { shared: true });
  verifyKernel(kernel, outer);
  const wide = beyond32(kernel, outer);
  if (wide) throw new Unfit(`index arithmetic reaches ${wide.lo} … ${wide.hi}: WGSL has 32 bits`);
  const { used, written } = usedBy(kernel);
  const bindings = bindingsOf(used, written, where, limits);
  return { kernel, bindings, workgroups, printed: printKernel(kernel, outer, bindings, limits, numbered()) };
}
/** A nest's dispatches: one, or several where it has more buffers than may be bound. */
function dispatches(nest: Nest, outer: ReadonlyMap<string, Interval>, where: Places, limits: WgslLimits): readonly Made[] {
  try {
    const one = made(nest, outer, where, limits);
    return one ? [one] : [];
  } catch (e) {
    const parts = e instanceof TooMany ? divided(nest) : undefined;
    if (!parts) throw e;
    return parts.flatMap((p) => dispatches(p, outer, where, limits));
  }
}
function refused(nest: Nest, message: string): Either<TargetError, never> {
  return left({ kind: "target", target: "wgsl", kernel: nest.name, nodes: nest.nodes, message: `kernel ${nest.name}: ${message}` });
}

export const wgsl = (limits: WgslLimits = guaranteed): Target<WgslProgram> => ({
  name: "wgsl",
  compile(plan) {
    const outer = outerOf(plan);
    const where = placesOf(plan);
    const pipelines = new Map<string, { readonly at: number; readonly pipeline: WgslPipeline }>();
    const all = new Map<Nest, readonly (Made & { readonly pipeline: number })[]>();
    for (const { nest } of nestsOf(plan.steps)) {
      try {
        const own = dispatches(nest, outer, where, limits).map((m) => {
          const key = JSON.stringify([m.printed.source, m.printed.access]);
          const known = pipelines.get(key) ?? { at: pipelines.size, pipeline: { name: nest.name, ...pipelineOf(m.printed) } };
          pipelines.set(key, known);
          return { ...m, pipeline: known.at };
        });
        all.set(nest, own);
      } catch (e) {
        if (e instanceof Unfit) return refused(nest, e.message);
        throw e;
      }
    }
    const steps = (list: readonly Step[]): readonly WgslStep[] =>
      list.flatMap((s): readonly WgslStep[] => {
        if (s.step === "loop")
          return [{ do: "loop", v: s.v, count: s.count, reverse: s.reverse, body: steps(s.body), ...(s.blocks ? { blocks: s.blocks } : {}) }];
        return (all.get(s.nest) ?? []).map(({ kernel, bindings, printed, pipeline, workgroups }) => {
          const ranges = bindings.map((b) => b.range);
          return { do: "dispatch", pipeline, name: kernel.name, nodes: kernel.nodes, bindings: ranges, ints: printed.members, workgroups };
        });
      });
    return right({
      pipelines: [...pipelines.values()].map((p) => p.pipeline),
      steps: steps(plan.steps),
      places: where.places,
      sizes: where.sizes,
      get kernels() {
        return [...all.values()].flat().map(({ kernel, bindings }) => ({
          name: kernel.name,
          source: `// ${kernel.name}\n${printKernel(kernel, outer, bindings, limits, readable()).source}`,
        }));
      },
    });
  },
});
const pipelineOf = ({ source, access, ints, workgroupSize, features }: Printed): Omit<WgslPipeline, "name"> => ({
  source,
  access,
  ints,
  workgroupSize,
  features,
});
