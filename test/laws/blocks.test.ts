// Row blocks: random programs over scores that no kernel of tiles can have whole (scans, mixed heads, taps, softmaxes of what
// these make, folds over all rows in between) give the oracle's values and gradients at odd run-time extents around
// the size of a block, the same bits for any threads and whatever else is in the batch, and keep nothing as large as the scores.
import { describe, expect, it } from "vitest";
import { exponentOf, temporaryBytes } from "../../compiler/explain/growth.js";
import { lower } from "../../compiler/lower/lower.js";
import type { Nest, Step } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import type { Leaf, Node, UpTo } from "../../dsl/node.js";
import {
  type AnyTensor,
  type Axes,
  cumsum,
  div,
  dot,
  grad,
  input,
  map,
  max,
  mul,
  rename,
  type Scalar,
  scale,
  softmax,
  sum,
  type Tensor,
  taps,
  upTo,
} from "../../index.js";
import { passed } from "../../runtime/backend.js";
import { count, numbers, right } from "../graph/harness.js";
import { type Case, judge, run, show } from "./judge.js";
import { seed } from "./seed.js";
import { share, targets } from "./targets.js";

type Scores = Tensor<{ batch: number; head: number; query: number; key: number }>;
interface Inputs {
  readonly q: Tensor<{ batch: number; head: number; query: number; dim: number }>;
  readonly k: Tensor<{ batch: number; head: number; key: number; dim: number }>;
  readonly v: Tensor<{ batch: number; head: number; key: number; value: number }>;
  readonly mix: Tensor<{ head: number; mixed: number }>;
  readonly theta: Tensor<{ head: number; tap: number }>;
}
interface StepOf {
  readonly name: string;
  readonly of: (s: Scores, x: Inputs) => Scores;
}
const causal = (s: Scores): Scores => map(s, (s, { query: i, key: j }) => (j <= i ? s : -Infinity)) as Scores;
/** Steps that need a row of scores whole; along rows they would need a column, and columns would be the blocks. */
const steps: readonly StepOf[] = [
  { name: "tanh", of: (s) => map(s, (s, { query: i, key: j }) => Math.tanh(s) * (1 + 0.1 * ((i + j) % 3))) as Scores },
  { name: "masked", of: (s) => map(s, (s, { query: i, key: j }) => (j <= i + 3 ? s : 0)) as Scores },
  { name: "softmax", of: (s) => scale(softmax(causal(s), "key"), 4) as Scores },
  { name: "mixed heads", of: (s, { mix }) => rename(dot(s, mix, "head"), { mixed: "head" }) as unknown as Scores },
  { name: "taps of queries", of: (s, { theta }) => dot(taps(s, "query", { tap: 3 }), theta, "tap") as Scores },
  { name: "taps of keys", of: (s, { theta }) => dot(taps(s, "key", { tap: 3 }, { centre: true }), theta, "tap") as Scores },
  {
    name: "prefix sums",
    of: (s) =>
      map(
        cumsum(map(s, (s) => 0.1 * s) as Scores, "key", { reverse: true, exclusive: true }) as Scores,
        (s, { key: j }) => s / (1 + 0.1 * j),
      ) as Scores,
  },
  { name: "over the row's maximum", of: (s) => map({ s, m: max(map(s, (s) => Math.abs(s)) as Scores, "key") }, ({ s, m }) => s / (1 + m)) as Scores },
  { name: "over all rows", of: (s) => map({ s, m: sum(map(s, (s) => s * s) as Scores, "query") }, ({ s, m }) => s / (1 + 0.1 * m)) as Scores },
];
/** The same along the other side: rows are the keys then. */
const prefixOfQueries: StepOf = {
  name: "prefix sums over queries",
  of: (s) => map(cumsum(map(s, (s) => 0.1 * s) as Scores, "query") as Scores, (s, { query: i }) => s / (1 + 0.1 * i)) as Scores,
};
const alongKeys = new Set(["prefix sums", "softmax", "over the row's maximum"]);

interface Sizes {
  readonly batch: number;
  readonly query: number;
  readonly key: number;
}
interface Made {
  readonly name: string;
  readonly inputs: Inputs;
  readonly outputs: Readonly<Record<string, Node>>;
  readonly gradients: Readonly<Record<string, Node>>;
}
const nodeOf = (t: AnyTensor): Node => t as unknown as Node; // a handle is the graph's node seen by its axes
function drawn(next: () => number, { batch, query, key }: Sizes): Made {
  const head = 2;
  const inputs: Inputs = {
    q: input({ batch, head, query, dim: 4 }),
    k: input({ batch, head, key, dim: 4 }),
    v: input({ batch, head, key, value: 3 }),
    mix: input({ head, mixed: head }),
    theta: input({ head, tap: 3 }),
  };
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
  const whole = ["prefix sums", "mixed heads", "taps of queries", "taps of keys"].map((n) => steps.find((s) => s.name === n) as StepOf);
  const turned = next() < 0.2;
  // One at least that no kernel of tiles has.
  const chosen = [...Array.from({ length: 1 + Math.floor(next() * 3) }, () => pick(steps)), turned ? prefixOfQueries : pick(whole)]
    .filter((s) => !turned || !alongKeys.has(s.name))
    .sort(() => next() - 0.5);
  let s = scale(dot(inputs.q, inputs.k, "dim"), 0.5) as Scores;
  for (const c of chosen) s = c.of(s, inputs);
  const last = next() < 0.5 && !turned ? (softmax(causal(s), "key") as Scores) : s;
  const mixed = dot(last, inputs.v, "key") as Tensor<{ batch: number; head: number; query: number; value: number }>;
  // What follows may need every row before gradients begin: the scores are wanted again then.
  const normed = next() < 0.4;
  const size = map(sum(mul(mixed, mixed), "query", "value"), (x) => 1 + Math.sqrt(1 + x)) as Tensor<{ batch: number; head: number }>;
  const out = (normed ? div(mixed, size) : mixed) as typeof mixed;
  const weighed = map(out, (x, { query: i, value: c }) => x * x * (1 + 0.3 * Math.sin(i + 2 * c))) as typeof mixed;
  const loss = sum(weighed, "batch", "head", "query", "value") as Scalar;
  const wanted = Object.fromEntries(Object.entries(inputs).filter(([n]) => ["q", "k", "v"].includes(n) || uses(chosen, n)));
  const gradients = grad(loss, wanted as Readonly<Record<string, Tensor<Axes>>>);
  return {
    name: [...chosen.map((c) => c.name), ...(last === s ? [] : ["softmax"]), ...(normed ? ["normed"] : [])].join(", "),
    inputs,
    outputs: { out: nodeOf(out) },
    gradients: Object.fromEntries(Object.entries(gradients).map(([n, g]) => [n, nodeOf(g as AnyTensor)])),
  };
}
const uses = (chosen: readonly StepOf[], n: string): boolean =>
  chosen.some((c) => (n === "mix" ? c.name === "mixed heads" : n === "theta" && c.name.startsWith("taps")));

function planOf(m: Made): Plan {
  const used = Object.fromEntries(Object.entries(m.inputs).map(([n, x]) => [n, nodeOf(x) as Leaf]));
  const p = right(passed({ name: "p", inputs: used, outputs: { ...m.outputs, ...m.gradients }, updates: [] }));
  return right(lower(p.program, { tiles: true }));
}
const loopsIn = (steps: readonly Step[]): readonly (Step & { step: "loop" })[] =>
  steps.flatMap((s) => (s.step === "loop" ? [s, ...loopsIn(s.body)] : []));
const nestsIn = (steps: readonly Step[]): readonly Nest[] => steps.flatMap((s) => (s.step === "loop" ? nestsIn(s.body) : [s.nest]));

const PROGRAMS = 6;
const programs = Array.from({ length: PROGRAMS }, (_, i) => i);
const at = (i: number, s: Sizes): Made => {
  const next = numbers(seed * 31 + 7919 * i);
  for (let k = 0; k < 8; k++) next();
  return drawn(next, s);
};

describe("random programs over scores", () => {
  it.each(programs)("program %i keeps nothing as large as the scores", (i) => {
    const plans = [512, 1024, 2048].map((t) => planOf(at(i, { batch: 1, query: t, key: t })));
    const bytes = plans.map((p, k) => ({ size: 2 ** k, bytes: temporaryBytes(p) }));
    const { name } = at(i, { batch: 1, query: 512, key: 512 });
    expect(exponentOf(bytes), `${name}: ${plans[0]?.why?.map((w) => w.reason).join("; ")}`).toBeLessThan(1.05);
    expect(loopsIn((plans[0] as Plan).steps).length, name).toBeGreaterThan(0);
    const names = nestsIn((plans[0] as Plan).steps).map((n) => n.name);
    expect(new Set(names).size).toBe(names.length);
  });
});

const extents = { batch: upTo(7, "batch"), query: upTo(300, "query"), key: upTo(140, "key") };
const turnedExtents = { batch: upTo(7, "batch"), query: upTo(140, "query"), key: upTo(300, "key") };
const few = [0, 1, 63, 65, 127, 129, 257, 300];

describe.each(targets)("on %s", (target) => {
  const made = share(target, programs, 1, "blocks").map((i) => {
    const ends = i % 3 === 2 ? turnedExtents : extents;
    return { ends, program: at(i, ends as unknown as Sizes) };
  });
  const caseAt = ({ ends, program }: (typeof made)[0], sizes: Sizes, salt: number): Case => {
    const next = numbers(seed + salt);
    const known = new Map<UpTo, number>([
      [ends.batch as unknown as UpTo, sizes.batch],
      [ends.query as unknown as UpTo, sizes.query],
      [ends.key as unknown as UpTo, sizes.key],
    ]);
    const used = Object.values(program.inputs).map((x) => nodeOf(x) as Leaf);
    const values = new Map(
      used.map((leaf) => [leaf, Float64Array.from({ length: count(leaf.axes, known) }, () => Math.fround(2 * next() - 1))] as const),
    );
    return {
      name: `${program.name} at ${sizes.query} × ${sizes.key}`,
      inputs: values,
      outputs: program.outputs,
      gradients: program.gradients,
      extents: known,
    };
  };
  const sizesAt = (m: (typeof made)[0], i: number): Sizes => {
    const cut = (n: number, e: unknown) => Math.min(n, (e as UpTo).max);
    return { batch: 1, query: cut(few[i % few.length] as number, m.ends.query), key: cut(few[(i * 3 + 1) % few.length] as number, m.ends.key) };
  };

  it("gives the oracle's values and gradients", { timeout: 300_000 }, async () => {
    const cases = made.map((m, i) => caseAt(m, sizesAt(m, i + (seed % 8)), i));
    const faults = [];
    for (const c of cases) faults.push(...(await judge([c], target, { threads: 2 })));
    expect(show(faults)).toBe("");
  });

  if (target !== "native") return; // the others have no threads
  it("has the same bits with 1, 2 and 3 threads", { timeout: 300_000 }, async () => {
    for (const m of made.slice(0, 3)) {
      const c = caseAt(m, { batch: 3, query: 131, key: 131 }, 5);
      const [one, ...others] = await Promise.all([1, 2, 3].map((threads) => run([c], target, { threads })));
      for (const o of others) expect(o).toEqual(one);
    }
  });
});
