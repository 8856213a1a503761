// Storage of half width. Random networks under random policies: a compiled step agrees with the oracle's, which rounds the same
// values by the same casts, up to values that lie so near to a tie that f32 and f64 round them apart; the same bits on any
// number of threads. And what a policy means, said another way: its roundings written out by hand.
import { isRight } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { leaf } from "../../dsl/build.js";
import type { Optimizer } from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { evaluate } from "../../dsl/primitives.js";
import { adamw, lion, sgd } from "../../models/index.js";
import { type Precision, precisionOf, precisionText, readPrecision } from "../../runtime/precision.js";
import type { Session } from "../../runtime/session.js";
import { startTraining, type TrainingPrograms, trainingPrograms } from "../../runtime/training.js";
import { loose as l, type R } from "../graph/loose.js";
import { generator } from "../models/harness.js";
import { needs } from "../require.js";
import { seed } from "./seed.js";
import { emulated, nightly, open, type TargetName, targets } from "./targets.js";

const BATCH = 3;
const TIME = 5;
class Random {
  readonly #next: () => number;
  constructor(seed: number) {
    this.#next = generator(seed);
  }
  below(n: number): number {
    return Math.floor(Math.abs(this.#next()) * 1e6) % n;
  }
  one<T>(xs: readonly T[]): T {
    return xs[this.below(xs.length)] as T;
  }
  normal(n: number): Float32Array {
    return Float32Array.from({ length: n }, this.#next);
  }
}

/** x over batch, time and the features f0, through random layers, to a mean of squares. */
interface Network {
  readonly text: string;
  readonly width: number;
  readonly parts: R;
  readonly body: (given: R) => R;
}
function network(r: Random, rounded: (x: R) => R = (x) => x): Network {
  const parts: R = {};
  const words: string[] = [];
  const steps: ((given: R, x: R) => R)[] = [];
  const width = 3 + r.below(6);
  let [axis, size, made] = ["f0", width, 0];
  const weight = (to: string, n: number, from = { [axis]: size }): string => {
    const name = `w${Object.keys(parts).length}`;
    parts[name] = l.weight(from, { [to]: n }, { std: 0.3 });
    return name;
  };
  const count = 2 + r.below(3);
  for (let i = 0; i < count; i++) {
    const kind = r.one(["linear", "gate", "residual", "norm", "attention"]);
    words.push(kind);
    const [was, to, n] = [axis, `f${++made}`, 2 + r.below(7)];
    if (kind === "linear") {
      const w = weight(to, n);
      steps.push((g, x) => l.map(rounded(l.dot(x, g[w], was)), (x: number) => Math.tanh(x)));
      [axis, size] = [to, n];
    } else if (kind === "gate") {
      const [a, b] = [weight(to, n), weight(to, n)];
      steps.push((g, x) => l.mul(l.silu(rounded(l.dot(x, g[a], was))), rounded(l.dot(x, g[b], was))));
      [axis, size] = [to, n];
    } else if (kind === "residual") {
      const up = weight(to, n);
      const down = weight(axis, size, { [to]: n });
      steps.push((g, x) => l.add(x, rounded(l.dot(l.gelu(rounded(l.dot(x, g[up], was))), g[down], to))));
    } else if (kind === "norm") {
      const name = `g${Object.keys(parts).length}`;
      parts[name] = l.gain({ [axis]: size });
      steps.push((g, x) => l.mul(l.rms(x, was), g[name]));
    } else {
      const [q, k, v] = [weight("d", 4), weight("d", 4), weight(to, n)];
      steps.push((g, x) => {
        const key = (y: R): R => l.rename(y, { time: "key" });
        const scores = l.dot(rounded(l.dot(x, g[q], was)), key(rounded(l.dot(x, g[k], was))), "d");
        return l.dot(l.softmax(scores, "key"), key(rounded(l.dot(x, g[v], was))), "key");
      });
      [axis, size] = [to, n];
    }
  }
  // What only the loss reads is not rounded, whatever came before.
  const last = weight("out", 3);
  const end = axis;
  return {
    text: words.join(", "),
    width,
    parts,
    body: (given) =>
      l.dot(
        steps.reduce((x, f) => f(given, x), given.x),
        given[last],
        end,
      ),
  };
}

interface Run {
  readonly losses: readonly number[];
  readonly state: ReadonlyMap<string, ArrayLike<number>>;
}
interface Built {
  readonly programs: TrainingPrograms;
  readonly x: Float32Array;
}
function built(n: Network, r: Random, precision: Precision, optimizer: Optimizer): Built {
  const m: R = l.withStorage(l.model(n.parts, { x: "batch time f0" }, n.body), precision.params);
  const x: R = l.input({ batch: BATCH, time: TIME, f0: n.width });
  const y = l.map(m.bound({ x }), (y: number) => (y - 0.5) * (y - 0.5));
  const [lr, t] = [leaf("input", "lr", {}, "f32"), leaf("input", "t", {}, "f32")];
  const loss: Node = l.mean(y, "batch", "time", "out");
  return {
    programs: trainingPrograms({ name: "law", params: m.params, inputs: { x, lr, t }, loss, optimizer, lr, t, precision }),
    x: r.normal(BATCH * TIME * n.width),
  };
}
async function trained({ programs, x }: Built, device: TargetName | "js", threads = 1, steps = 2): Promise<Run> {
  using session: Session = await open(device, { threads });
  const step = await startTraining(session, programs, 5);
  const losses: number[] = [];
  for (let t = 1; t <= steps; t++) losses.push((await step.run({ x, lr: [0.02], t: [t] })).loss?.[0] ?? Number.NaN);
  const state = new Map<string, ArrayLike<number>>();
  for (const leaf of [...programs.params, ...programs.state]) state.set(leaf.name, await session.read(leaf.name));
  return { losses, state };
}
const UNIT: Readonly<Record<string, number>> = { f32: 0, bf16: 2 ** -7, f16: 2 ** -9 };
/** What is wrong with `got`, or null. */
function difference(got: Run, want: Run, leaves: readonly Leaf[]): string | null {
  for (const [i, x] of got.losses.entries())
    if (x !== want.losses[i] && !(Math.abs(x - (want.losses[i] as number)) <= 1e-4 * (1 + Math.abs(x))))
      return `loss ${i + 1}: ${x} for ${want.losses[i]}`;
  for (const { name, dtype } of leaves) {
    const [a, b] = [got.state.get(name), want.state.get(name)] as [ArrayLike<number>, ArrayLike<number>];
    const scale = Array.from(b).reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    let apart = 0;
    for (let i = 0; i < b.length; i++) {
      const [x, y] = [a[i] as number, b[i] as number];
      if (x === y) continue;
      if (!(Math.abs(x - y) <= (UNIT[dtype] as number) * Math.abs(y) + 1e-3 * scale)) return `${name}[${i}] (${dtype}): ${x} for ${y}`;
      if (Math.abs(x - y) > 2e-5 * scale) apart++;
    }
    if (apart > Math.max(2, b.length / 20)) return `${name} (${dtype}): ${apart} of ${b.length} elements differ`;
  }
  return null;
}
const policy = (r: Random): Precision => {
  const one = () => r.one(["f32", "bf16", "f16"] as const);
  return precisionOf({ compute: one(), params: one(), state: one(), update: r.one(["master", "stochastic", "nearest"] as const) });
};
/** Steps that follow from gradients smoothly: where a sign does, a gradient near zero tells f32 from f64. */
const rules: readonly (readonly [string, () => Optimizer])[] = [
  ["sgd", () => l.each({ "*": sgd() })],
  ["adamw", () => l.each({ "*": adamw({ eps: 0.1, decay: 0.1 }) })],
];
const bitsOf = (run: Run): string => JSON.stringify([run.losses, ...[...run.state].map(([k, v]) => [k, Array.from(v)])]);

describe.each(targets)("random networks under random policies, on %s", (target) => {
  const count = target === "native" ? 4 : emulated(target) && !nightly ? 1 : 2;
  it(`agree with the oracle (${count})`, { timeout: 300_000 }, async () => {
    const faults: string[] = [];
    for (let i = 0; i < count; i++) {
      const r = new Random(seed * 131 + i);
      const [n, p] = [network(r), policy(r)];
      const [rule, optimizer] = r.one(rules);
      const b = built(n, r, p, optimizer());
      const [got, want] = [await trained(b, target), await trained(b, "js")];
      const fault = difference(got, want, [...b.programs.params, ...b.programs.state]);
      if (fault) faults.push(`network ${i} of seed ${seed} (${n.text}), ${rule}, ${precisionText(p)}: ${fault}`);
      if (target === "native" && i === 0)
        for (const threads of [2, 3, 8]) expect(bitsOf(await trained(b, target, threads)), `network ${i}, ${threads} threads`).toBe(bitsOf(got));
    }
    expect(faults).toEqual([]);
  });
});

describe("what a policy means", () => {
  /** Every projection's result rounded by hand: the policy rounds the same values and no others. */
  const byHand = (dtype: string) => (x: R) => l.cast(l.cast(x, dtype), "f32");
  it("compute: the products with weights, but for the last, are rounded where they are made", async () => {
    const rounding: number[] = [];
    for (let i = 0; i < 12; i++) {
      const storage = (["bf16", "f16"] as const)[i % 2] as "bf16" | "f16";
      const make = (hand: boolean): Built => {
        const r = new Random(seed * 17 + i);
        const n = network(r, hand ? byHand(storage) : undefined);
        return built(n, r, precisionOf(hand ? {} : { compute: storage }), l.each({ "*": sgd() }));
      };
      const [policy, hand] = [await trained(make(false), "js"), await trained(make(true), "js")];
      expect(bitsOf(policy), `network ${i} of seed ${seed}`).toBe(bitsOf(hand));
      const exact = await trained(
        { ...make(false), programs: built(network(new Random(seed * 17 + i)), new Random(1), precisionOf(), l.each({ "*": sgd() })).programs },
        "js",
      );
      rounding.push(Math.abs((exact.losses[0] as number) - (policy.losses[0] as number)));
    }
    expect(rounding.filter((d) => d > 0).length).toBeGreaterThan(6); // a network of norms alone has nothing to round
  });

  it("a master moves as the weight of f32 would, and the weight is the master rounded", async () => {
    for (const params of ["bf16", "f16"] as const) {
      const r = new Random(seed * 7 + 3);
      const b = built(network(r), r, precisionOf({ params }), l.each({ "*": lion() }));
      const { state } = await trained(b, "js", 1, 3);
      const round = params === "bf16" ? bf16 : f16;
      for (const { leaf, weight } of b.programs.masters)
        expect(Array.from(state.get(weight.name) as Float64Array)).toEqual(Array.from(state.get(leaf.name) as Float64Array, round));
      expect(b.programs.masters.length).toBe(b.programs.params.length);
    }
  });

  it("running averages have the state's storage, and nothing smaller", () => {
    const r = new Random(11);
    const optimizer: Optimizer = {
      ...l.each({ "*": adamw() }),
      init: ({ w }) => ({ inner: (l.each({ "*": adamw() }) as Optimizer).init({ w, loss: l.constant(0) }), seen: l.constant(0) }) as never,
      update: (x) => {
        const s: R = x.s;
        const { w, s: inner } = (l.each({ "*": adamw() }) as Optimizer).update({ ...x, s: s.inner });
        return { w, s: { inner, seen: l.add(s.seen, l.constant(1)) } as never };
      },
    };
    const b = built(network(r), r, precisionOf({ state: "bf16", params: "f16" }), optimizer);
    const dtypes = new Map(b.programs.state.map((s) => [s.name, s.dtype]));
    expect(dtypes.get("optimizer.seen")).toBe("f32");
    for (const [name, dtype] of dtypes) if (name.startsWith("optimizer.inner.")) expect([name, dtype]).toEqual([name, "bf16"]);
    for (const { leaf } of b.programs.masters) expect(leaf.dtype).toBe("f32");
    for (const p of b.programs.params) expect(p.dtype).toBe("f16");
  });
});
const bf16 = (x: number): number => Number(evaluate("toBf16", [x]));
const f16 = (x: number): number => Number(evaluate("toF16", [x]));

const native = await needs("compiler");
describe("steps below half a unit of the last place", () => {
  const N = 4096;
  /** A weight of ones against a gradient of ones. */
  const after = async (
    device: TargetName | "js",
    precision: Partial<Precision>,
    { steps = 64, threads = 1, fill = 1, rate = 2 ** -12 } = {},
  ): Promise<ArrayLike<number>> => {
    const p = precisionOf({ params: "bf16", ...precision });
    const m: R = l.withStorage(
      l.model({ w: l.gain({ i: N }, { fill }) }, { x: "i" }, ({ w, x }: R) => l.mul(w, x)),
      p.params,
    );
    const x: R = l.input({ i: N });
    const [lr, t] = [leaf("input", "lr", {}, "f32"), leaf("input", "t", {}, "f32")];
    const loss: Node = l.sum(m.bound({ x }), "i");
    const programs = trainingPrograms({
      name: "small",
      params: m.params,
      inputs: { x, lr, t },
      loss,
      optimizer: l.each({ "*": sgd({ momentum: 0 }) }),
      lr,
      t,
      precision: p,
    });
    using session = await open(device, { threads });
    const step = await startTraining(session, programs, 0);
    for (let i = 1; i <= steps; i++) await step.run({ x: new Float32Array(N).fill(1), lr: [rate], t: [i] });
    return await session.read("w"); // before the session is closed
  };
  const mean = (xs: ArrayLike<number>): number => Array.from(xs).reduce((a, b) => a + b, 0) / xs.length;
  const device = native ? "native" : "js";
  it("vanish when rounded to nearest; a master gathers them; by chance their mean is right", async () => {
    expect(new Set(Array.from(await after(device, { update: "nearest" })))).toEqual(new Set([1]));
    expect(new Set(Array.from(await after(device, { update: "master" })))).toEqual(new Set([1 - 2 ** -6]));
    const drawn = await after(device, { update: "stochastic" });
    // Below 1 the units are 2^-8: 64 steps of 1/16 of one. Variance of the sum at most 64·(1/16)(15/16) units².
    const deviation = (Math.sqrt(64 / 16) * 2 ** -8) / Math.sqrt(N);
    expect(Math.abs(mean(drawn) - (1 - 2 ** -6))).toBeLessThan(5 * deviation);
    expect(new Set(Array.from(drawn)).size).toBeGreaterThan(4);
    for (const x of Array.from(drawn)) expect(x).toBe(bf16(x));
  });
  const drawn = (device: TargetName | "js", threads = 1) => after(device, { update: "stochastic" }, { steps: 8, threads });
  it.each(targets)("the draws are the same on %s as on the oracle", async (target) => {
    expect(Array.from(await drawn(target))).toEqual(Array.from(await drawn("js")));
  });
  it.runIf(device === "native")("the draws are the same on any number of threads", async () => {
    expect(Array.from(await drawn("native", 3))).toEqual(Array.from(await drawn("native")));
  });
  it("f16 has neighbours below its normal numbers too", async () => {
    // There its units are 2^-24: four steps of a quarter.
    const drawn = await after("js", { params: "f16", update: "stochastic" }, { steps: 4, fill: 2 ** -15, rate: 2 ** -26 });
    for (const x of Array.from(drawn)) expect(x).toBe(f16(x));
    expect(Math.abs(mean(drawn) - (2 ** -15 - 2 ** -24))).toBeLessThan((5 * 2 ** -24) / Math.sqrt(N));
    expect(new Set(Array.from(drawn)).size).toBe(5);
  });
});

describe("policies as texts", () => {
  it("one storage is that of all three, but for squares in f16", () => {
    expect(readPrecision("bf16")).toMatchObject({ right: { compute: "bf16", params: "bf16", state: "bf16", update: "master" } });
    expect(readPrecision("f16")).toMatchObject({ right: { compute: "f16", params: "f16", state: "f32" } });
    expect(readPrecision("params=bf16, update=stochastic")).toMatchObject({
      right: { compute: "f32", params: "bf16", state: "f32", update: "stochastic" },
    });
  });
  it("what is none is named", () => {
    const said = (text: string): string => {
      const read = readPrecision(text);
      return isRight(read) ? "" : read.left;
    };
    expect([
      said("fp8"),
      said("params=fp8"),
      said("weights=bf16"),
      said("state=bf16,state=f32"),
      said("update=sometimes"),
      said(""),
    ]).toMatchInlineSnapshot(`
      [
        ""fp8" is no part of a policy",
        "params is "fp8"",
        "there is no "weights"",
        ""state" is given twice",
        "update is "sometimes"",
        """ is no part of a policy",
      ]
    `);
    expect(() => precisionOf({ params: "f64" as never })).toThrow('precision: params is "f64"');
    expect(() =>
      l.withStorage(
        l.model({ w: l.gain({ i: 2 }) }, { x: "i" }, ({ w, x }: R) => l.mul(w, x)),
        "f64",
      ),
    ).toThrow("is no storage of weights");
  });
});
