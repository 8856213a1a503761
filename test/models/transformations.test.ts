// Transformations of optimizers and rules: what they do, and the laws by which they compose, on a small attention in f64.
import { describe, expect, test } from "vitest";
import {
  apart,
  each,
  input,
  leavesOf,
  map,
  mean,
  model,
  type Optimizer,
  pace,
  type Rule,
  RuleError,
  type Scalar,
  type Tree,
  weight,
} from "../../dsl/index.js";
import type { Leaf } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import {
  adamw,
  clipNorm,
  clipStep,
  clipValue,
  fixed,
  grouped,
  lion,
  mha,
  muon,
  muonWithAdamW,
  qkClip,
  quack,
  scheduled,
  schedules,
  sgd,
} from "../../models/index.js";
import { restart, trainingPrograms } from "../../runtime/training.js";
import { type Arrays, generator, open, stepper } from "./harness.js";

const m = mha({ model: 6, layer: 1, head: 2, dim: 4, ff: 1, vocab: 1 });
const x = input({ batch: 2, time: 3, model: 6 });
const loss = mean(
  map(m.bound({ x }), (y) => y * y),
  "batch",
  "time",
  "model",
);
const params = handle<Tree>(m.params);
const drawn = (seed: number, scale: number, of: Tree): Arrays => {
  const next = generator(seed);
  return Object.fromEntries(
    leavesOf(of).map(({ path, tensor }) => [
      path,
      Array.from({ length: Object.values(tensor.axes).reduce((p, e) => p * e, 1) }, () => next() * scale),
    ]),
  );
};
const start = drawn(3, 0.7, params);
const data = drawn(5, 1, { x }).x as readonly number[];
/** The weights after some steps of descent on the loss. */
async function run(optimizer: Optimizer<never> | Optimizer, steps: number): Promise<readonly number[]> {
  const [lr, t] = [input({}), input({})];
  const programs = trainingPrograms({
    name: "laws",
    params,
    inputs: handle<Readonly<Record<string, Leaf>>>({ x, lr, t }),
    loss: nodeOf(loss, "loss"),
    optimizer: handle<Optimizer>(optimizer),
    lr: nodeOf(lr, "lr"),
    t: nodeOf(t, "t"),
  });
  using session = await open("js");
  await session.hold(programs.params);
  for (const p of programs.params) await session.write(p.name, start[p.name] as readonly number[]);
  const program = await restart(session, programs);
  for (let i = 1; i <= steps; i++) await program.run({ x: data, lr: [0.3 / i], t: [i] });
  return (await Promise.all(programs.params.map(async (p) => Array.from(await session.read(p.name))))).flat();
}
const largest = (a: readonly number[], b: readonly number[]) => a.reduce((far, v, i) => Math.max(far, Math.abs(v - (b[i] as number))), 0);

const all = (r: Rule) => each({ "*": r });
const half = schedules.warmup(0.5, 2);
const third = schedules.cosine(0.3, 0, 4);
/** Both sides are one optimizer, and another than the third. Steps, and how near, where not 3 and 1e-11. */
const laws: Readonly<Record<string, readonly [left: unknown, right: unknown, other: unknown, steps?: number, near?: number]>> = {
  "a schedule of the optimizer is that of every rule": [scheduled(all(lion()), half), all(pace(lion(), half)), all(lion())],
  "schedules multiply": [
    scheduled(scheduled(all(adamw()), half), third),
    scheduled(all(adamw()), schedules.times(third, half)),
    scheduled(all(adamw()), half),
  ],
  "paces multiply": [all(pace(pace(adamw(), 0.5), 3)), all(pace(adamw(), 1.5)), all(adamw())],
  "the smaller limit of the norm counts": [
    clipNorm(clipNorm(all(sgd()), { limit: 0.02 }), { limit: 0.01 }),
    clipNorm(all(sgd()), { limit: 0.01 }),
    clipNorm(all(sgd()), { limit: 0.02 }),
  ],
  "and of the values": [
    clipValue(clipValue(all(sgd()), { limit: 1e-3 }), { limit: 2e-3 }),
    clipValue(all(sgd()), { limit: 1e-3 }),
    clipValue(all(sgd()), { limit: 2e-3 }),
  ],
  "and of the step": [
    all(clipStep(clipStep(sgd(), { limit: 2e-3 }), { limit: 1e-3 })),
    all(clipStep(sgd(), { limit: 1e-3 })),
    all(clipStep(sgd(), { limit: 2e-3 })),
  ],
  "a pace scales the limit of the step": [
    all(pace(clipStep(sgd(), { limit: 2e-3 }), 0.5)),
    all(clipStep(pace(sgd(), 0.5), { limit: 1e-3 })),
    all(pace(clipStep(sgd(), { limit: 1e-3 }), 0.5)),
  ],
  "Lion's first step does not see the gradient's size": [clipNorm(all(lion()), { limit: 1e-5 }), all(lion()), all(sgd()), 1],
  "nor Muon's": [clipNorm(all(muon()), { limit: 3 }), all(muon()), all(sgd()), 1, 1e-3],
  "rates given by two transformations multiply": [
    quack(fixed(all(adamw()), { tau: 0.3 }), { tau: 0.5 }),
    quack(all(adamw()), { tau: 0.15 }),
    quack(all(adamw()), { tau: 0.5 }),
  ],
  "in either order": [fixed(quack(all(adamw()), { tau: 0.5 }), { tau: 0.3 }), quack(all(adamw()), { tau: 0.15 }), quack(all(adamw()), { tau: 0.5 })],
  "fixed ratios multiply": [
    fixed(fixed(all(adamw()), { tau: 0.5 }), { tau: 0.5 }),
    fixed(all(adamw()), { tau: 0.25 }),
    fixed(all(adamw()), { tau: 0.5 }),
  ],
  "QuacK commutes with clipping": [quack(clipNorm(all(sgd()), { limit: 0.01 })), clipNorm(quack(all(sgd())), { limit: 0.01 }), quack(all(sgd()))],
  "and with schedules": [quack(scheduled(all(adamw()), third)), scheduled(quack(all(adamw())), third), quack(all(adamw()))],
  "a clipped step is clipped for each rate apart": [
    quack(all(clipStep(sgd({ momentum: 0 }), { limit: 1e9 }))),
    quack(all(sgd({ momentum: 0 }))),
    all(sgd({ momentum: 0 })),
  ],
  "QK clip leaves what is below its limit": [qkClip(all(adamw()), { limit: 1e4 }), all(adamw()), qkClip(all(adamw()), { limit: 1e-3 })],
};
describe("laws", () => {
  test.each(Object.keys(laws))("%s", async (name) => {
    const [left, right, other, steps = 3, near = 1e-11] = laws[name] as (typeof laws)[string];
    const [a, b, c] = await Promise.all([left, right, other].map((o) => run(handle<Optimizer>(o), steps)));
    expect(largest(a as number[], b as number[])).toBeLessThanOrEqual(near);
    expect(largest(a as number[], c as number[])).toBeGreaterThan(Math.max(1e-6, 10 * near));
  });
});

test("Muon with its AdamW: matrices of the layers by Muon, heads apart where asked; the rest by AdamW", async () => {
  const lm = grouped({ model: 8, layer: 2, head: 4, group: 2, dim: 4, ff: 12, vocab: 9, qkNorm: true });
  const tree = handle<Tree>(lm.params);
  const options = { muon: { moonlight: true }, adamw: { eps: 1e-8 }, ratio: 0.1 };
  const [m, rest] = [muon(options.muon), pace(adamw(options.adamw), 0.1)];
  const aside = { embed: rest, "*.{g,gq,gk}": rest };
  const pairs: readonly (readonly [Optimizer, Optimizer])[] = [
    [muonWithAdamW(options), each({ ...aside, "*": m })],
    [
      muonWithAdamW({ ...options, apart: ["group", "member"] }),
      each({ ...aside, "*.{wq,wo}": apart(m, "group", "member"), "*.{wk,wv}": apart(m, "group"), "*": m }),
    ],
  ];
  const weights = drawn(1, 0.3, tree);
  for (const pair of pairs) {
    const results: Arrays[] = [];
    for (const o of pair) {
      using s = await stepper("js", tree, o, weights);
      await s.step(drawn(2, 1, tree), 0.1, 1);
      results.push(await s.step(drawn(4, 1, tree), 0.1, 2));
    }
    const [a, b] = results.map((r) => Object.values(r).flat()) as [number[], number[]];
    expect(largest(a, b)).toBe(0);
    expect(largest(a, Object.values(weights).flat())).toBeGreaterThan(0.01);
  }
  const unembedded = model({ head: weight({ model: 4 }, { vocab: 5 }), out: weight({ model: 4 }, { vocab: 5 }) }, {}, ({ out }) => out);
  const seen = (o: Optimizer) => leavesOf(handle<Tree>(o.init({ w: unembedded.params, loss: handle<Scalar>(loss) }))).map((l) => l.path);
  expect(seen(muonWithAdamW())).toEqual(["head.m", "head.v", "out.m"]);
  expect(seen(muonWithAdamW({ outer: ["head", "out"] }))).toEqual(["head.m", "head.v", "out.m", "out.v"]);
});

describe("what is refused, before anything runs", () => {
  const zero = mha({ model: 6, layer: 1, head: 2, dim: 4, ff: 1, vocab: 1, std: 0 });
  const inner = all(adamw());
  const stillborn = { w: zero.params, loss: handle<Scalar>(mean(zero.bound({ x }), "batch", "time", "model")) };
  test.each<[string, () => unknown, RegExp]>([
    ["momentum", () => sgd({ momentum: 1 }), /momentum is 1; a number from 0/],
    ["Nesterov without momentum", () => sgd({ momentum: 0, nesterov: true }), /nesterov without momentum/],
    ["decay", () => lion({ decay: -1 }), /decay is -1/],
    ["an average's share", () => adamw({ b2: 1 }), /b2 is 1/],
    ["eps", () => adamw({ eps: 0 }), /eps is 0/],
    ["steps", () => muon({ steps: 0 }), /steps is 0/],
    ["ratio", () => muonWithAdamW({ ratio: Number.NaN }), /ratio is NaN/],
    ["norm's limit", () => clipNorm(inner, { limit: 0 }), /limit is 0/],
    ["value's limit", () => clipValue(inner, { limit: Number.NaN }), /limit is NaN/],
    ["step's limit", () => clipStep(sgd(), { limit: Number.POSITIVE_INFINITY }), /limit is Infinity/],
    ["step's norm", () => clipStep(sgd(), { limit: 1, norm: handle<"spectral">("nuclear") }), /no norm "nuclear"/],
    ["τ of the fixed ratio", () => fixed(inner, { tau: 0 }), /τ is 0/],
    ["τ of QuacK", () => quack(inner, { tau: -1 }), /τ is -1/],
    ["QuacK's floor", () => quack(inner, { floor: -1 }), /floor is -1/],
    ["QK clip's limit", () => qkClip(inner, { limit: 0 }), /limit is 0/],
    ["a weight that begins at zero", () => quack(inner).init(stillborn), /"wq" begins at zero, which makes the rates of its partners zero/],
    ["a rule that gives no rule", () => each(() => handle<Rule>(3)).init(stillborn), /rule for "wq": a number is no rule/],
  ])("%s", (_, f, text) => {
    expect(f).toThrow(text);
  });
  test("a floor lets weights begin at zero; the errors are RuleErrors", () => {
    expect(() => quack(inner, { floor: 1e-3 }).init(stillborn)).not.toThrow();
    expect(() => quack(inner).init(stillborn)).toThrow(RuleError);
  });
});
