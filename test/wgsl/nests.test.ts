// Printed WGSL, run by SwiftShader, beside the f64 interpreter: every nest form over random shapes (extents 0, 1, primes, tile ± 1,
// run-time extents below their maximum) and all storage formats, packed ones in whole words and by halves; twice, with the
// same bits. The kernels are those for a GPU.
import { isLeft } from "fp-ts/lib/Either.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Nest } from "../../compiler/lower/nest.js";
import type { DType, UpTo } from "../../dsl/node.js";
import { forEachIn } from "../../runtime/devices/gpujs/memory.js";
import { createWebgpu, type WebgpuDevice } from "../../runtime/devices/webgpu/index.js";
import { type Layout, layoutOf } from "../../runtime/host.js";
import { Generator, source } from "../codegen/generate.js";
import { interpret, memoryOf } from "../codegen/interpret.js";
import { planOf } from "../codegen/native.js";
import { needs } from "../require.js";

const seed = Number(process.env.MALLARD_SEED ?? 1 + Math.floor(Math.random() * 1e6));
const nightly = process.env.MALLARD_NIGHTLY !== undefined;
const forms: readonly Nest["form"][] = ["map", "row", "contract", "scatter", "top", "tiles"];
const FEW = 6;

/** What lies in memory at maximal extents, as an array at those of a run. */
function dense(from: ArrayLike<number>, layout: Layout): Float64Array {
  const out = new Float64Array(layout.elements);
  forEachIn(layout, (at, strided) => {
    out[at] = from[strided] as number;
  });
  return out;
}
class Formats extends Generator {
  override dtype(): DType {
    return this.rng.pick(["f32", "f32", "f32", "bf16", "f16"]); // f64 is the js device's alone
  }
}

describe.skipIf(!(await needs("dawn", "browser")))(`random nests of seed ${seed} on the software adapter`, () => {
  let device: WebgpuDevice;
  beforeAll(async () => {
    const made = await createWebgpu({ adapter: "software", processor: false });
    if (isLeft(made)) throw made.left;
    device = made.right;
  });
  afterAll(() => device[Symbol.dispose]());

  it.each(forms)("%s", { timeout: 600_000 }, async (form) => {
    const rng = source(seed);
    for (let i = 0; i < (nightly ? 20 : form === "tiles" ? 2 : FEW); i++) {
      const g = new Formats(rng);
      const made = g.nest(form);
      const nest = made.form === "tiles" ? { ...made, columns: [] } : made; // WebGPU lowers without columns
      const named = (role: "input" | "output") => Object.fromEntries(g.buffers.filter((b) => b.role === role).map((b) => [b.name, b]));
      const plan = { ...planOf(form, g.buffers, [{ step: "nest", nest }], g.extents), inputs: named("input"), outputs: named("output") };
      const extents = new Map<UpTo, number>(g.extents.map((e) => [e, Math.max(0, e.max - rng.below(4))]));
      const now = new Map([...extents].map(([e, n]) => [e.id, n]));
      const memory = memoryOf(plan);
      const inputs: Record<string, Float64Array> = {};
      for (const [name, b] of Object.entries(plan.inputs)) {
        const data = memory.get(b) as Float64Array;
        // Values that every format holds, so that only arithmetic differs.
        for (let k = 0; k < data.length; k++)
          data[k] = b.dtype === "bool" ? rng.below(2) : b.dtype === "i32" ? rng.below(20) - 1 : (rng.below(65) - 32) / 16;
        inputs[name] = dense(data, layoutOf(b, now));
      }
      interpret(plan, memory, extents);
      using program = await device.compile(plan);
      using state = await device.alloc([]);
      const [first, second] = [await program.run(state, inputs, now), await program.run(state, inputs, now)];
      // What is added to an output finds there what the run before has left.
      if (!(nest.form === "scatter" && nest.onto)) expect(second).toEqual(first);
      for (const [name, b] of Object.entries(plan.outputs)) {
        if (form === "tiles" && made.form === "tiles" && made.columns.some((c) => c.store.buffer === b)) continue;
        const want = dense(memory.get(b) as Float64Array, layoutOf(b, now));
        const got = first[name] as ArrayLike<number>;
        const scale = want.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0);
        const tolerance = (b.dtype === "bf16" ? 2 ** -7 : b.dtype === "f16" ? 2 ** -10 : 1e-5) * (scale + 1);
        // Of infinities, and what is made of them, nothing is promised (numerics).
        const wrong = want.findIndex((x, k) => Number.isFinite(x) && !(Math.abs(x - (got[k] as number)) <= tolerance));
        if (wrong >= 0)
          throw new Error(
            `seed ${seed}, ${i}: ${nest.name} ${b.name}[${wrong}] is ${got[wrong]}, expected ${want[wrong]}\n${program.kernels.map((k) => k.source).join("\n")}`,
          );
      }
    }
  });
});
