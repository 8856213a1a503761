// A whole training step in C beside its nests' meaning, and with equal kernels compiled once.
import { expect, it } from "vitest";
import { source } from "./generate.js";
import { interpret, memoryOf } from "./interpret.js";
import { compile } from "./native.js";
import { type StepSizes, trainingStep } from "./step.js";

const decoder = { model: 8, layer: 2, head: 2, dim: 4, ff: 12 };
it.each([
  { ...decoder, vocab: 11, batch: 2, time: 5 },
  // Rows enough for kernels of several stages: the logits' gradient lies where the logits were.
  { ...decoder, vocab: 67, batch: 4, time: 17, logits: 1 },
])(
  "a small decoder's loss and updated weights, the same bits on 1, 2 and 3 threads: %o",
  async ({ logits, ...sizes }: StepSizes & { logits?: number }) => {
    const plan = trainingStep(sizes);
    const large = plan.buffers.filter((b) => b.role === "temp" && ["time", "vocab"].every((a) => b.axes.some((x) => x.name === a)));
    if (logits !== undefined) expect(large.length).toBe(logits);
    const rng = source(3);
    const memory = memoryOf(plan);
    for (const [b, data] of memory) {
      if (b.role === "input") for (let i = 0; i < data.length; i++) data[i] = rng.below(sizes.vocab);
      if (b.role === "state") for (let i = 0; i < data.length; i++) data[i] = Math.fround((rng.next() - 0.5) * 0.6);
    }
    const want = new Map([...memory].map(([b, d]) => [b, d.slice()]));
    interpret(plan, want);
    const program = await compile(plan);
    const [one, ...others] = [1, 2, 3].map((threads) => program.run(memory, { threads }));
    for (const b of plan.buffers) {
      if (b.role !== "output" && b.role !== "state") continue;
      const ref = want.get(b) as Float64Array;
      const scale = ref.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      expect(scale).toBeGreaterThan(0);
      one?.memory.get(b)?.forEach((x, i) => {
        expect(Math.abs(x - (ref[i] as number))).toBeLessThan(1e-6 * scale);
      });
      for (const other of others) expect(other.memory.get(b)).toEqual(one?.memory.get(b));
    }
    const texts = new Set(program.program.units.flatMap((u) => u.source.match(/^void k_\w+\(void \*const \*b[^;]*\{$/gm) ?? []));
    expect(texts.size).toBeLessThan(program.program.kernels.length);
  },
  60_000,
);
