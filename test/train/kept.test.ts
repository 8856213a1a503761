// What a step computes from weights alone is kept from step to step (compiler/graph/kept.ts): QuacK adds no pass over
// memory, what is kept has the weights' own values and the same bits however it was computed, and cannot be stale.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { kernelsIn } from "../../compiler/explain/kernels.js";
import { type Buffer, elements } from "../../compiler/lower/expr.js";
import { lower } from "../../compiler/lower/lower.js";
import { storesOf, touched } from "../../compiler/lower/memory.js";
import { workOf } from "../../compiler/lower/work.js";
import type { Plan } from "../../compiler/plan.js";
import type { Leaf, Node } from "../../dsl/node.js";
import {
  type AnyTensor,
  crossEntropy,
  each,
  formula,
  input,
  inputLeaves,
  map,
  max,
  mean,
  model,
  norm,
  type Optimizer,
  rule,
  type Session,
  sum,
  type Tensor,
  weight,
} from "../../index.js";
import { adamw, grouped, latentTransformer, muon, quack, sgd, transformer } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import type { DeviceName } from "../../runtime/devices/index.js";
import { openSession } from "../../runtime/program.js";
import { restart, startTraining, trainingPrograms } from "../../runtime/training.js";
import { needs } from "../require.js";

const nodeOf = (t: AnyTensor) => t as unknown as Node; // handles are nodes
const missing = !(await needs("compiler"));

const sizes = { model: 32, layer: 2, head: 4, dim: 8, ff: 48, vocab: 40 };
const more = { group: 2, cq: 16, latent: 16, nope: 8, rope: 8, value: 8 };
const [batch, time] = [2, 12];
const decoders = {
  mha: () => transformer(sizes),
  grouped: () => grouped({ ...sizes, ...more }),
  latent: () => latentTransformer({ ...sizes, ...more }),
};
const rules = {
  sgd: () => each({ "*": sgd() }),
  adamw: () => each({ "*": adamw({ eps: 1e-8 }) }),
  muon: () => each({ "{embed,*.g}": adamw({ eps: 1e-8 }), "*": muon() }),
};
type Kind = keyof typeof decoders;
const wrapped = (o: Optimizer, tau: number | null): Optimizer => (tau === null ? o : (quack(o, { tau }) as unknown as Optimizer)); // only handed on

function programsOf(kind: Kind, optimizer: Optimizer, name = "step") {
  const decoder = decoders[kind]();
  const inputs = { tokens: input({ batch, time }, "i32"), next: input({ batch, time }, "i32"), lr: input({}), t: input({}) };
  const loss = mean(crossEntropy(decoder.bound({ tokens: inputs.tokens }), inputs.next, "vocab"), "batch", "time");
  const { lr, t } = inputs;
  return trainingPrograms({
    name,
    params: decoder.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(loss),
    optimizer,
    lr: nodeOf(lr),
    t: nodeOf(t),
  });
}
const ids = (n: number, seed: number) => Int32Array.from({ length: n }, (_, i) => (i * 7 + seed * 13 + ((i * i) % 5)) % sizes.vocab);
const batchOf = (t: number) => ({ tokens: ids(batch * time, t), next: ids(batch * time, t + 1), lr: [1e-2], t: [t] });

// ── counted ──────────────────────────────────────────────────────────────────────────────────────────
function planOf(programs: ReturnType<typeof programsOf>): Plan {
  const p = passed({ updates: [], ...programs.step });
  if (isLeft(p)) throw p.left;
  const plan = lower(p.right.program, { tiles: true });
  if (isLeft(plan)) throw new Error(plan.left.message);
  return plan.right;
}
const kernels = (p: Plan) => kernelsIn(p);
const bytes = (p: Plan) => kernels(p).reduce((n, k) => n + k.times * k.nests.reduce((m, x) => m + workOf(x).bytes, 0), 0);
/** By a weight's path, the nests that read it. */
const readers = (p: Plan, b: Buffer) => kernels(p).flatMap((k) => k.nests.filter((n) => touched(n).reads.has(b)));

describe.each(["mha", "grouped", "latent"] as const)("the plan of a step of %s", (kind) => {
  describe.each(["sgd", "adamw", "muon"] as const)("with %s", (by) => {
    const own = programsOf(kind, rules[by]());
    const [none, with_] = [planOf(own), planOf(programsOf(kind, wrapped(rules[by](), 0.1)))];
    // Of one norm a head and layer for each weight: numbers moved to and from memory, with room for what is made of them.
    const heads = sizes.layer * sizes.head;
    test("QuacK adds O(heads) bytes to it, and no kernel", () => {
      const weights = kind === "latent" ? 6 : 2;
      expect(bytes(with_) - bytes(none)).toBeLessThanOrEqual(4 * heads * weights * 16);
      expect(kernels(with_).length).toBeLessThanOrEqual(kernels(none).length);
    });
    test("no kernel reads a weight that none reads without it, and each weight is written once", () => {
      for (const l of own.params) {
        const [a, b] = [none.state[l.name], with_.state[l.name]] as [Buffer, Buffer];
        expect(readers(with_, b).length, l.name).toBe(readers(none, a).length);
        const writers = kernels(with_).flatMap((k) => k.nests.filter((n) => storesOf(n).some((s) => s.buffer === b)));
        expect(writers.length, l.name).toBe(1);
      }
    });
    test("new state is computed where it is written, from state at its own indices: nothing is copied", () => {
      const states = new Set(Object.values(with_.state));
      const writes = kernels(with_).flatMap((k) => k.nests.flatMap((n) => storesOf(n).filter((s) => states.has(s.buffer))));
      expect(writes.length).toBeGreaterThanOrEqual(own.params.length);
      for (const s of writes) expect(s.value.kind, s.buffer.name).not.toBe("load");
    });
    test("what is kept is no part of the optimizer's state", () => {
      const kept = Object.keys(with_.state).filter((path) => path.startsWith("kept."));
      expect(kept.length).toBe(kind === "latent" ? 6 : 2);
      for (const path of kept) expect(elements(with_.state[path] as Buffer)).toBeLessThanOrEqual(heads);
      expect(programsOf(kind, wrapped(rules[by](), 0.1)).state.filter((l) => kept.includes(l.name))).toEqual([]);
    });
  });
});

// ── run ──────────────────────────────────────────────────────────────────────────────────────────────
async function open(device: DeviceName, threads = 2): Promise<Session> {
  const s = await openSession(device, { threads });
  if (isLeft(s)) throw s.left;
  return s.right;
}
async function all(s: Session, leaves: readonly Leaf[]) {
  const out: Record<string, number[]> = {};
  for (const l of leaves) out[l.name] = [...(await s.read(l.name))];
  return out;
}
describe.skipIf(missing)("natively", () => {
  const optimizer = () => wrapped(rules.adamw(), 0.5);

  test("the kept norms are those of the weights, with the same bits at 1, 2 and 3 threads", async () => {
    const runs: Record<string, number[]>[] = [];
    for (const threads of [1, 2, 3]) {
      const programs = programsOf("latent", optimizer());
      using s = await open("native", threads);
      const step = await startTraining(s, programs, 5);
      for (let t = 1; t <= 3; t++) await step.run(batchOf(t));
      const kept = step.compiled.kept?.values ?? [];
      expect(kept.length).toBe(6);
      for (const k of kept) {
        const w = await s.read(k.weight.name);
        const shape = Object.entries(k.weight.axes).map(([a, e]) => [a, Number(e)] as const);
        const squares = new Map<string, number>();
        w.forEach((x, i) => {
          let rest = i;
          const at = new Map(
            [...shape].reverse().map(([a, e]) => {
              const index = rest % e;
              rest = Math.floor(rest / e);
              return [a, index] as const;
            }),
          );
          const key = Object.keys(k.leaf.axes)
            .map((a) => at.get(a))
            .join();
          squares.set(key, (squares.get(key) ?? 0) + x * x);
        });
        const got = await s.read(k.leaf.name);
        [...squares]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .forEach(([, want], i) => {
            expect(Math.abs((got[i] as number) - want), k.leaf.name).toBeLessThan(1e-5 * want);
          });
        expect(got.length).toBe(squares.size);
      }
      runs.push(await all(s, [...programs.params, ...programs.state, ...kept.map((k) => k.leaf)]));
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });

  test("weights written between steps, by hand or by another program, are never taken for the old ones", async () => {
    const programs = programsOf("mha", optimizer());
    using a = await open("native");
    using b = await open("native");
    const step = await startTraining(a, programs, 5);
    await step.run(batchOf(1));
    const wk = programs.params.find((l) => l.name.endsWith("wk")) as Leaf;
    const scale: (by: number) => Parameters<Session["program"]>[0] = (by) => ({
      name: "scale",
      inputs: {},
      outputs: {},
      updates: [{ leaf: wk, value: nodeOf(map({ w: wk as unknown as Tensor, by }, ({ w, by }) => w * by)) }],
    });
    const scaled = await a.program(scale(3));
    const moves: (() => Promise<unknown>)[] = [
      async () =>
        a.write(
          wk.name,
          (await a.read(wk.name)).map((x: number) => 2 * x),
        ),
      () => scaled.run({}),
      () => a.initialise(programs.params, 6),
      async () => undefined,
    ];
    let t = 2;
    for (const move of moves) {
      await move();
      // A session that never saw anything but these numbers.
      await b.hold([...programs.params, ...programs.state]);
      for (const l of [...programs.params, ...programs.state]) await b.write(l.name, await a.read(l.name));
      const other = await b.program(programs.step);
      expect(await other.run(batchOf(t))).toEqual(await step.run(batchOf(t)));
      expect(await all(b, [...programs.params, ...programs.state])).toEqual(await all(a, [...programs.params, ...programs.state]));
      other[Symbol.dispose]();
      t++;
    }
  });

  test("two steps of one session share weights, and each other's norms", async () => {
    const [p, q] = [programsOf("mha", optimizer(), "first"), programsOf("mha", optimizer(), "second")];
    using s = await open("native");
    using alone = await open("native");
    const first = await startTraining(s, p, 5);
    const only = await startTraining(alone, p, 5);
    const second = await s.program(q.step);
    for (let t = 1; t <= 4; t++) expect(await (t % 2 ? first : second).run(batchOf(t))).toEqual(await only.run(batchOf(t)));
    expect(await all(s, p.params)).toEqual(await all(alone, p.params));
  });

  test("calls that nobody waits for run in their order", async () => {
    const programs = programsOf("mha", optimizer());
    using a = await open("native");
    using b = await open("native");
    const [one, two] = [await startTraining(a, programs, 5), await startTraining(b, programs, 5)];
    const together = await Promise.all([1, 2, 3].map((t) => one.run(batchOf(t))));
    for (const [i, got] of together.entries()) expect(got).toEqual(await two.run(batchOf(i + 1)));
  });
});

// Rules and losses of other kinds that fold weights: a trust ratio that scales a matrix by its own norm, a loss with the
// weights' sums of squares and greatest values, a weight that stays as it is.
const lamb = () =>
  rule("out in", {}, ({ w, g, lr }) => {
    const ratio = map({ w: norm(w, "out", "in"), g: norm(g, "out", "in") }, ({ w, g }) => w / (g + 1e-3));
    return { w: map({ w, g, lr, ratio }, ({ w, g, lr, ratio }) => w - lr * ratio * g) };
  });
const two = () => {
  const parts = {
    a: weight({ x: 24 }, { y: 16 }, { std: 0.3 }),
    b: weight({ y: 16 }, { z: 20 }, { std: 0.3 }),
    still: weight({ z: 20 }, { y: 16 }, { std: 0.3 }),
  };
  return model(parts, { x: "x" }, ({ a, b, still, x }) =>
    formula({ x: "x", a: "x y", b: "y z", still: "z y" }, (v) => {
      const h = sum(
        map({ x: v.x, a: v.a }, ({ x, a }) => x * a),
        "x",
      );
      const squares = sum(
        map({ a: v.a }, ({ a }) => a * a),
        "x",
        "y",
      );
      const top = max(
        map({ s: v.still }, ({ s }) => Math.abs(s)),
        "z",
        "y",
      );
      const out = sum(
        map({ h, b: v.b }, ({ h, b }) => h * b),
        "y",
      );
      return map({ out, squares, top }, ({ out, squares, top }) => out * out + 0.01 * squares + top);
    })({ x, a, b, still }),
  );
};
describe.each(["native", "gpujs"] as const)("what else folds weights, on %s beside the oracle", (device) => {
  test.skipIf(device === "native" && missing)("a trust ratio and a loss with the weights' squares", async () => {
    const m = two();
    const inputs = { x: input({ batch: 3, x: 24 }), lr: input({}), t: input({}) };
    const loss = mean(sum(m.bound({ x: inputs.x }), "z"), "batch");
    const still: Optimizer = each({ "{a,b}": lamb(), still: rule("", {}, ({ w }) => ({ w })) });
    const programs = trainingPrograms({
      name: "other",
      params: m.params,
      inputs: inputLeaves(inputs),
      loss: nodeOf(loss),
      optimizer: still,
      lr: nodeOf(inputs.lr),
      t: nodeOf(inputs.t),
    });
    using s = await open(device);
    using oracle = await open("js");
    await s.initialise(programs.params, 3);
    await oracle.hold(programs.params);
    for (const l of programs.params) await oracle.write(l.name, await s.read(l.name));
    const [step, want] = [await restart(s, programs), await restart(oracle, programs)];
    expect((step.compiled.kept?.values ?? []).map((k) => [k.weight.name, k.leaf.name.split(".").at(-2)?.split("_").length]).sort()).toEqual([
      ["a", 2], // the rule's order of its axes,
      ["a", 2], // and the loss's
      ["b", 2],
      ["still", 2],
    ]);
    expect(want.compiled.kept).toBeUndefined();
    for (let t = 1; t <= 4; t++) {
      const given = { x: Float32Array.from({ length: 72 }, (_, i) => Math.sin(i * t)), lr: [1e-2], t: [t] };
      const [got, ref] = [await step.run(given), await want.run(given)];
      expect(Math.abs((got.loss?.[0] as number) - (ref.loss?.[0] as number))).toBeLessThan(1e-4 * Math.abs(ref.loss?.[0] as number));
    }
    for (const l of programs.params) {
      const [got, ref] = [await s.read(l.name), await oracle.read(l.name)];
      got.forEach((x, i) => void expect(Math.abs(x - (ref[i] as number)), l.name).toBeLessThan(1e-5));
    }
  });
});
