// The gpu.js target: a plan to kernels and host steps, or the reason why gpu.js cannot hold it.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { type Buffer, extentVar } from "../../lower/expr.js";
import type { Step } from "../../lower/nest.js";
import type { Range } from "../../lower/ranges.js";
import type { Plan } from "../../plan.js";
import type { Target, TargetError } from "../target.js";
import type { GpujsMode } from "./limits.js";
import { NestLowering, Refusal } from "./lower.js";
import { Parts, sizeOf } from "./parts.js";
import type { GpujsProgram, HostStep } from "./program.js";

export { type GpujsMode, gpujsModes, limits, numerics } from "./limits.js";
export {
  type Address,
  type GpujsAxis,
  type GpujsBuffer,
  type GpujsKernel,
  type GpujsProgram,
  type HostStep,
  lengthOf,
  most,
  type Size,
  stridesOf,
} from "./program.js";

export const gpujs = (mode: GpujsMode): Target<GpujsProgram> => ({ name: "gpujs", compile: (plan) => toGpujs(plan, mode) });

function toGpujs(plan: Plan, mode: GpujsMode): Either<TargetError, GpujsProgram> {
  const bounds = new Map<string, Range>();
  for (const e of plan.extents) {
    const v = extentVar(e);
    if (v.kind === "var") bounds.set(v.name, [0, e.max]);
  }
  const parts = new Parts();
  // The plan's arguments have numbers even where no kernel reads them.
  const numbers = (of: Readonly<Record<string, Buffer>>) => Object.fromEntries(Object.entries(of).map(([name, b]) => [name, parts.buffer(b)]));
  const [inputs, outputs, state] = [numbers(plan.inputs), numbers(plan.outputs), numbers(plan.state)];
  const extents = plan.extents.map(sizeOf).flatMap((s) => (typeof s === "number" ? [] : [s.upTo]));
  try {
    const steps = lowered(plan.steps, mode, parts, bounds);
    return right({ name: plan.name, kernels: parts.kernels, buffers: parts.buffers, steps, inputs, outputs, state, extents });
  } catch (e) {
    if (e instanceof Refusal) return left(e.error);
    throw e;
  }
}
/** As deep as the plan's loops are nested: a few levels. */
function lowered(steps: readonly Step[], mode: GpujsMode, parts: Parts, bounds: ReadonlyMap<string, Range>): readonly HostStep[] {
  return steps.map((s) => {
    if (s.step === "nest") return new NestLowering(s.nest, mode, parts, bounds).run();
    const inside = new Map(bounds).set(s.v, [0, Math.max(0, s.count - 1)]);
    return { do: "loop", v: s.v, count: s.count, reverse: s.reverse, body: lowered(s.body, mode, parts, inside) };
  });
}
