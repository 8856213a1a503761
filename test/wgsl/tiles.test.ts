// Tiles nests by the WGSL recipe, on the simulator, against what they mean: random nests of every kind, within the default limits,
// those of most adapters and of a small one. No invocation races with another, and no address is out of bounds.
import { describe, expect, it } from "vitest";
import { place } from "../../compiler/loop/place.js";
import { showKernel } from "../../compiler/loop/print.js";
import { verifyKernel } from "../../compiler/loop/verify.js";
import { extentVar } from "../../compiler/lower/expr.js";
import type { Nest } from "../../compiler/lower/nest.js";
import { guaranteed, type WgslLimits } from "../../compiler/targets/wgsl/limits.js";
import { scheduled } from "../../compiler/targets/wgsl/recipes/index.js";
import type { UpTo } from "../../dsl/node.js";
import { Generator, source } from "../codegen/generate.js";
import { buffersOf } from "../codegen/generate-tiles.js";
import { interpret, memoryOf } from "../codegen/interpret.js";
import { planOf } from "../codegen/native.js";
import { seed } from "../laws/seed.js";
import { simulate } from "./simulate.js";

const adapters: { readonly [name: string]: WgslLimits } = {
  "default limits": guaranteed,
  "a large adapter": { ...guaranteed, workgroupMemory: 32 * 1024, subgroups: { min: 4, max: 32 } },
  "a processor": { ...guaranteed, workgroupMemory: 32 * 1024, subgroups: { min: 4, max: 4 }, processor: true },
  "a small adapter": { ...guaranteed, workgroupMemory: 6 * 1024, invocations: 64, workgroupSize: [64, 64, 64] },
};
const each = Number(process.env.MALLARD_ROUNDS ?? (process.env.MALLARD_NIGHTLY ? 60 : 5));

function check(seedHere: number, limits: WgslLimits): void {
  const rng = source(seedHere);
  const g = new Generator(rng);
  const nest: Nest & { form: "tiles" } = { ...(g.nest("tiles") as Nest & { form: "tiles" }), columns: [] };
  const extents = new Map<UpTo, number>(g.extents.map((e) => [e, Math.max(0, e.max - rng.below(4))]));
  const plan = planOf("tiles", g.buffers, [{ step: "nest", nest }], g.extents);
  const memory = memoryOf(plan);
  for (const [b, data] of memory)
    if (b.role === "input")
      for (let i = 0; i < data.length; i++)
        data[i] = b.dtype === "bool" ? rng.below(2) : b.dtype === "i32" ? rng.below(20) - 1 : (rng.below(65) - 32) / 16;
  const want = new Map([...memory].map(([b, d]) => [b, d.slice()]));
  interpret(plan, want, extents);
  const kernel = scheduled(nest, limits);
  verifyKernel(kernel);
  const placed = place(kernel);
  verifyKernel(placed);
  const ints = new Map([...extents].map(([e, n]) => [(extentVar(e) as { name: string }).name, n]));
  const text = () => `seed ${seedHere} ${nest.name}\n${showKernel(placed)}`;
  try {
    simulate(placed, memory, ints);
  } catch (e) {
    throw new Error(`${(e as Error).message}\n${text()}`);
  }
  for (const b of buffersOf(nest)) {
    const ref = want.get(b) as Float64Array;
    (memory.get(b) as Float64Array).forEach((x, k) => {
      const y = ref[k] as number;
      const tolerance = b.dtype === "bf16" ? 2 ** -7 : b.dtype === "f16" ? 2 ** -10 : 1e-9;
      if (!(Object.is(x, y) || x === y || Math.abs(x - y) <= tolerance * (1 + Math.abs(y))))
        throw new Error(`${b.name}[${k}]: ${x}, expected ${y}\n${text()}`);
    });
  }
}

describe.each(Object.entries(adapters))("%s", (_, limits) => {
  it.each(Array.from({ length: each }, (_, i) => seed * 1000 + i))("seed %i", (s) => {
    check(s, limits);
    expect(s).toBeGreaterThan(0);
  });
});
