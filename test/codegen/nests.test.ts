// Generated C beside the f64 interpreter: every nest form over random shapes (extents 0, 1, primes, tile ± 1, run-time
// extents below their maximum), all storage formats; the same bits for 1, 2 and 3 threads.
import { describe, expect, it } from "vitest";
import { showKernel } from "../../compiler/loop/print.js";
import { scheduled } from "../../compiler/loop/recipes/index.js";
import { extentVar } from "../../compiler/lower/expr.js";
import type { Nest } from "../../compiler/lower/nest.js";
import type { UpTo } from "../../dsl/node.js";
import { Generator, source } from "./generate.js";
import { interpret, interpretKernel, memoryOf } from "./interpret.js";
import { compile, planOf } from "./native.js";

const seed = Number(process.env.MALLARD_SEED ?? 1);
const rounds = Number(process.env.MALLARD_ROUNDS ?? 2);
const PER_PROGRAM = 24;

async function check(form: Nest["form"], seedHere: number) {
  const rng = source(seedHere);
  const g = new Generator(rng);
  const nests = Array.from({ length: PER_PROGRAM }, () => g.nest(form));
  const plan = planOf(
    form,
    g.buffers,
    nests.map((nest) => ({ step: "nest", nest })),
    g.extents,
  );
  const extents = new Map<UpTo, number>(g.extents.map((e) => [e, Math.max(0, e.max - rng.below(4))]));
  const memory = memoryOf(plan);
  for (const b of plan.buffers) {
    if (b.role !== "input") continue;
    const data = memory.get(b) as Float64Array;
    for (let i = 0; i < data.length; i++) {
      // Values that every format holds, so that only arithmetic differs.
      data[i] = b.dtype === "bool" ? rng.below(2) : b.dtype === "i32" ? rng.below(20) - 1 : (rng.below(65) - 32) / 16;
    }
  }
  const want = new Map([...memory].map(([b, d]) => [b, d.slice()]));
  interpret(plan, want, extents);
  const program = await compile(plan);
  const runs = [1, 2, 3].map((threads) => program.run(memory, { threads, extents }));
  for (const nest of nests) {
    const text = () => program.program.kernels.find((k) => k.name === nest.name)?.source ?? "";
    for (const b of plan.buffers) {
      if (b.role !== "output" || !writes(nest).includes(b)) continue;
      const [got, two, three] = runs.map((r) => r.memory.get(b) as Float64Array) as [Float64Array, Float64Array, Float64Array];
      const ref = want.get(b) as Float64Array;
      const scale = ref.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0);
      const tolerance = (b.dtype === "bf16" ? 2 ** -7 : b.dtype === "f16" ? 2 ** -10 : 4e-6) * (scale + 1);
      ref.forEach((x, i) => {
        const y = got[i] as number;
        const ok = Object.is(x, y) || x === y || (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) <= tolerance;
        if (!ok) throw new Error(`seed ${seedHere} ${nest.name} ${b.name}[${i}]: ${y}, expected ${x}\n${text()}`);
      });
      if (!got.every((x, i) => Object.is(x, two[i]) && Object.is(x, three[i])))
        throw new Error(`seed ${seedHere} ${nest.name}: bits differ between threads\n${text()}`);
    }
  }
  expect(runs[0]?.bytes).toEqual(runs[1]?.bytes);
  expect(runs[0]?.bytes).toEqual(runs[2]?.bytes);
}
/** The loop IR that recipes make, run as it stands: what every target prints must mean what the nest means. */
function checkLoops(form: Nest["form"], seedHere: number) {
  const rng = source(seedHere);
  const g = new Generator(rng);
  for (let i = 0; i < 10; i++) {
    const nest = g.nest(form);
    const extents = new Map(g.extents.map((e) => [(extentVar(e) as { name: string }).name, e.max]));
    const memory = memoryOf(planOf(form, g.buffers, []));
    for (const [b, data] of memory)
      if (b.role === "input") data.forEach((_, k) => data.fill(b.dtype === "i32" ? rng.below(20) - 1 : rng.below(9) / 4, k, k + 1));
    const want = new Map([...memory].map(([b, d]) => [b, d.slice()]));
    interpret(planOf(form, g.buffers, [{ step: "nest", nest }], g.extents), want);
    interpretKernel(scheduled(nest), memory, extents);
    for (const b of writes(nest)) {
      const ref = want.get(b) as Float64Array;
      (memory.get(b) as Float64Array).forEach((x, k) => {
        const y = ref[k] as number;
        const tolerance = b.dtype === "bf16" ? 2 ** -7 : b.dtype === "f16" ? 2 ** -10 : 1e-9;
        if (!(Object.is(x, y) || x === y || Math.abs(x - y) <= tolerance * (1 + Math.abs(y))))
          throw new Error(`seed ${seedHere} ${nest.name} ${b.name}[${k}]: ${x}, expected ${y}\n${showKernel(scheduled(nest))}`);
      });
    }
  }
}
function writes(n: Nest) {
  switch (n.form) {
    case "map":
    case "contract":
      return n.stores.map((s) => s.buffer);
    case "row":
      return n.stages.flatMap((s) => (s.stage === "fold" ? [] : s.stores.map((t) => t.buffer)));
    case "scatter":
      return [n.into.buffer];
    case "top":
      return [...n.stores.map((s) => s.buffer), ...(n.chosen ? [n.chosen.buffer] : [])];
  }
}

describe.each(["map", "row", "contract", "scatter", "top"] as const)("%s", (form) => {
  it.each(Array.from({ length: rounds }, (_, i) => seed + i))("agrees with the interpreter, seed %i", (s) => check(form, s), 60_000);
  it("means as loops what it means as a nest", () => checkLoops(form, seed), 60_000);
});
