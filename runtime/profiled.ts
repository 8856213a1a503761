// A plan that measures itself: it has one more output, which the compiled program fills as it runs (see Plan.profile): per thread
// and kernel the time inside and the time waiting at the barrier behind it. What the times say is read in profile.ts.
import { type Buffer, buffer } from "../compiler/lower/expr.js";
import { nestsOf } from "../compiler/lower/turns.js";
import type { Plan } from "../compiler/plan.js";
import type { Device } from "./device.js";
import { DeviceError } from "./errors.js";

/** Where the times stand among a profiled run's results: no output of a user's has a space in its name. */
export const RESULT = "kernel times";

export const unmeasured = (device: string) =>
  new DeviceError({
    kind: "BadOption",
    option: "profile",
    value: device,
    expected: "native, or webgpu on an adapter that has timestamps: the devices that measure",
  });

/** The plan with the output that its times go to. Throws on a device that does not measure. */
export function profiled(plan: Plan, device: Pick<Device, "name" | "measures">, threads: number): Plan {
  if (!device.measures) throw unmeasured(device.name);
  const taken = new Set(plan.buffers.map((b) => b.name));
  let name = "profile";
  while (taken.has(name)) name += "_";
  const axes = [
    { name: "thread", extent: threads },
    { name: "nest", extent: nestsOf(plan.steps).length },
    { name: "part", extent: 2 },
  ];
  const profile: Buffer = buffer(name, "f32", axes, "output");
  return { ...plan, buffers: [...plan.buffers, profile], outputs: { ...plan.outputs, [RESULT]: profile }, profile };
}
