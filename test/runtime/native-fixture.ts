// Plans with hand-written C, for tests of the native runtime alone.
import * as E from "fp-ts/lib/Either.js";
import type { Buffer } from "../../compiler/lower/expr.js";
import type { Plan } from "../../compiler/plan.js";
import type { CArtifact, EmitC, NativeDevice, NativeOptions } from "../../runtime/devices/native/device.js";
import { createNativeWith } from "../../runtime/devices/native/device.js";

export const PROLOGUE = `#include <stdint.h>
#define ENTRY void mallard_main(void *const *buffers, const int32_t *extents, int tid, int nthreads, void *scratch, void (*barrier)(void *), void *arg)
`;
const sources = new WeakMap<Plan, CArtifact>();
export const emit: EmitC = (plan) => {
  const artifact = sources.get(plan);
  return artifact ? E.right(artifact) : E.left(new Error(`no C for ${plan.name}`));
};
/** The parts that matter; the rest is empty. `body` is the entry's. */
export function plan(parts: Partial<Plan> & { readonly buffers: readonly Buffer[] }, body: string, scratchBytesPerThread = 0): Plan {
  const p: Plan = { name: "hand", steps: [], extents: [], inputs: {}, outputs: {}, state: {}, offsets: new Map(), arenaBytes: 0, ...parts };
  const source = `${PROLOGUE}ENTRY {\n${body}\n}\n`;
  sources.set(p, {
    units: [{ name: "hand", source }],
    kernels: [{ name: "hand", source }],
    entry: "mallard_main",
    scratchBytesPerThread,
    bufferOrder: p.buffers,
  });
  return p;
}
export async function device(options: NativeOptions): Promise<NativeDevice> {
  const d = await createNativeWith(emit, options);
  if (E.isLeft(d)) throw d.left;
  return d.right;
}
