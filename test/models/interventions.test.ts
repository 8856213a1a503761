// Interventions against logits that grow, each against what its paper says, in f64.
import { describe, expect, test } from "vitest";
import {
  add,
  crossEntropy,
  dot,
  each,
  find,
  grad,
  input,
  label,
  leavesOf,
  map,
  mean,
  model,
  type Optimizer,
  rename,
  type Scalar,
  softmax,
  sum,
  type Tensor,
  type Tree,
  weight,
} from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import {
  type Architecture,
  adamw,
  type Config,
  type GroupedConfig,
  gqa,
  type InterventionName,
  type InterventionOptions,
  interventions,
  type LatentConfig,
  mha,
  mla,
  type QkClipOptions,
  qkClip,
  sgd,
  sigmaReparam,
  spectralBound,
  spectralNorm,
  swiglu,
} from "../../models/index.js";
import { restart, trainingPrograms } from "../../runtime/training.js";
import * as dense from "./dense.js";
import { type Arrays, generator, open } from "./harness.js";

const count = (axes: Readonly<Record<string, number>>) => Object.values(axes).reduce((p, e) => p * e, 1);
const drawn = (of: Tree, scale: number, seed = 1): Record<string, number[]> => {
  const next = generator(seed);
  return Object.fromEntries(leavesOf(of).map(({ path, tensor }) => [path, Array.from({ length: count(tensor.axes) }, () => next() * scale)]));
};
/** Values of tensors over leaves, in f64. */
async function values(
  outputs: Readonly<Record<string, unknown>>,
  params: Tree,
  weights: Arrays,
  inputs: Readonly<Record<string, readonly [unknown, readonly number[]]>> = {},
) {
  using session = await open("js");
  const leaves = leavesOf(params).map((l) => handle<Leaf>(l.tensor));
  await session.hold(leaves);
  for (const l of leaves) await session.write(l.name, weights[l.name] as readonly number[]);
  const program = await session.program({
    name: "values",
    inputs: handle<Readonly<Record<string, Leaf>>>(Object.fromEntries(Object.entries(inputs).map(([k, [leaf]]) => [k, leaf]))),
    outputs: Object.fromEntries(Object.entries(outputs).map(([k, v]) => [k, nodeOf(v, k)])),
  });
  const out = await program.run(Object.fromEntries(Object.entries(inputs).map(([k, [, data]]) => [k, data])));
  return Object.fromEntries(Object.entries(out).map(([k, v]) => [k, Array.from(v ?? [])]));
}
interface Form {
  readonly params: unknown;
  readonly bound: (x: { readonly x: Tensor<{ batch: number; time: number; model: number }> }) => Tensor;
}
/** One step at rate 0 of an attention: what is left is the intervention's own work. */
async function still(m: Form, o: (inner: Optimizer) => Optimizer<Tree>, weights: Arrays, x: readonly number[], time = 3): Promise<Arrays> {
  const leaf = input({ batch: 2, time, model: 6 });
  const y = m.bound({ x: leaf });
  const loss = mean(
    map(y, (y) => y * y),
    ...(Object.keys(y.axes) as [string]),
  );
  const [lr, t] = [input({}), input({})];
  const programs = trainingPrograms({
    name: "still",
    params: m.params,
    inputs: handle<Readonly<Record<string, Leaf>>>({ x: leaf, lr, t }),
    loss: nodeOf(loss, "loss"),
    optimizer: handle<Optimizer>(o(each({ "*": sgd({ momentum: 0 }) }))),
    lr: nodeOf(lr, "lr"),
    t: nodeOf(t, "t"),
  });
  using session = await open("js");
  await session.hold(programs.params);
  for (const p of programs.params) await session.write(p.name, weights[p.name] as readonly number[]);
  const step = await restart(session, programs);
  await step.run({ x, lr: [0], t: [1] });
  return Object.fromEntries(await Promise.all(programs.params.map(async (p) => [p.name, Array.from(await session.read(p.name))] as const)));
}
/** The labelled logits, as [head…][batch, query, key], and the greatest with key ≤ query. */
async function logitsOf(
  m: Form,
  weights: Arrays,
  x: readonly number[],
  time = 3,
): Promise<{ readonly greatest: readonly number[]; readonly least: readonly number[] }> {
  const leaf = input({ batch: 2, time, model: 6 });
  const [found] = find(handle<Tree>(m.bound({ x: leaf })), "logits");
  const axes = Object.entries((found as { readonly value: Tensor }).value.axes);
  const { l } = await values({ l: found?.value }, handle<Tree>(m.params), weights, { x: [leaf, x] });
  const heads = axes.filter(([a]) => !["batch", "query", "key"].includes(a));
  const greatest = Array.from({ length: heads.reduce((p, [, e]) => p * e, 1) }, () => Number.NEGATIVE_INFINITY);
  const least = greatest.map(() => Number.POSITIVE_INFINITY);
  (l as number[]).forEach((v, flat) => {
    let stride = 1;
    const at: Record<string, number> = {};
    for (const [a, e] of [...axes].reverse()) {
      at[a] = Math.floor(flat / stride) % e;
      stride *= e;
    }
    if ((at.key as number) > (at.query as number)) return;
    const h = heads.reduce((i, [a, e]) => i * e + (at[a] as number), 0);
    greatest[h] = Math.max(greatest[h] as number, v);
    least[h] = Math.min(least[h] as number, v);
  });
  return { greatest, least };
}
const c = { model: 6, layer: 1, head: 4, dim: 4, ff: 1, vocab: 1, group: 2, cq: 5, latent: 3, nope: 4, rope: 2, value: 3 };
const data = drawn(input({ batch: 2, time: 3, model: 6 }), 1, 9)[""] as number[];

describe("QK clip", () => {
  const clip = (o: QkClipOptions) => (inner: Optimizer) => qkClip(inner, o);
  /** By weight, the power of γ that each takes and, of its elements, which head it belongs to (−1: to none). */
  const forms: Readonly<Record<string, readonly [Form, Readonly<Record<string, readonly [power: number, head: (flat: number) => number]>>]>> = {
    "multi-head": [handle<Form>(mha(c)), { wq: [0.5, (k) => Math.floor(k / 4) % 4], wk: [0.5, (k) => Math.floor(k / 4) % 4] }],
    "grouped queries: the query alone": [handle<Form>(gqa(c)), { wq: [1, (k) => Math.floor(k / 4) % 4] }],
    "latent: the shared rotary key stays": [
      handle<Form>(mla(c)),
      { uq: [0.5, (k) => Math.floor(k / 4) % 4], uk: [0.5, (k) => Math.floor(k / 4) % 4], qr: [1, (k) => Math.floor(k / 2) % 4] },
    ],
    "below a soft cap": [
      handle<Form>(mha({ ...c, softCap: 0.1 })),
      { wq: [0.5, (k) => Math.floor(k / 4) % 4], wk: [0.5, (k) => Math.floor(k / 4) % 4] },
    ],
  };
  test.each(Object.keys(forms))("%s", async (name) => {
    const [m, powers] = forms[name] as (typeof forms)[string];
    const weights = drawn(handle<Tree>(m.params), 0.8, 2);
    const before = await logitsOf(m, weights, data);
    const sorted = [...before.greatest].sort((a, b) => a - b);
    const limit = ((sorted[1] as number) + (sorted[2] as number)) / 2; // two heads pass it
    expect(limit).toBeGreaterThan(0);
    const after = await still(m, clip({ limit }), weights, data);
    for (const [path, was] of Object.entries(weights)) {
      const [power, head] = powers[path] ?? [0, () => 0];
      was.forEach((w, k) => {
        const gamma = Math.min(1, limit / (before.greatest[head(k)] as number));
        const share = (before.greatest[head(k)] as number) > limit ? gamma ** power : 1;
        expect(Math.abs((after[path]?.[k] as number) - w * share), `${path}[${k}]`).toBeLessThanOrEqual(1e-12);
      });
    }
    const now = await logitsOf(m, after, data);
    now.greatest.forEach((s, h) => void expect(s, `head ${h}`).toBeCloseTo(Math.min(limit, before.greatest[h] as number), 10));
  });
  test("the logit is signed, and a bias does not count", async () => {
    const biased = model(
      { wq: weight({ model: 6 }, { head: 2, dim: 2 }), wk: weight({ model: 6 }, { head: 2, dim: 2 }), bias: weight({ head: 2 }, { one: 1 }) },
      { x: "time model" },
      ({ wq, wk, bias, x }) => {
        const l = label(dot(dot(rename(x, { time: "query" }), wq, "model"), dot(rename(x, { time: "key" }), wk, "model"), "dim"), "logits");
        const s = label(
          add(
            l,
            map(sum(bias, "one"), (b) => 100 * b),
          ),
          "scores",
        );
        return rename(dot(softmax(s, "key"), rename(x, { time: "key" }), "key"), { query: "time" });
      },
    );
    const m = handle<Form>(biased);
    const wq = drawn(handle<Tree>(biased.params), 1, 4).wq as number[];
    // Head 0: k = q, head 1: k = −q: at one position the logit is ±|q|².
    const weights = { wq, wk: wq.map((v, k) => (Math.floor(k / 2) % 2 === 0 ? v : -v)), bias: [0, 1] };
    const x = data.slice(0, 12);
    const { greatest, least } = await logitsOf(m, weights, x, 1);
    expect(least[1] as number).toBeLessThan(-(greatest[0] as number) / 20);
    const limit = (greatest[0] as number) / 4;
    const after = await still(m, clip({ limit }), weights, x, 1);
    after.wq?.forEach((v, k) => void expect(v / (wq[k] as number)).toBeCloseTo(Math.floor(k / 2) % 2 === 0 ? 0.5 : 1, 12));
  });
  test("weights of other names: their powers are given, or it is refused", async () => {
    const other = model({ a: weight({ model: 6 }, { dim: 3 }), b: weight({ model: 6 }, { dim: 3 }) }, { x: "time model" }, ({ a, b, x }) => {
      const l = label(dot(dot(rename(x, { time: "query" }), a, "model"), dot(rename(x, { time: "key" }), b, "model"), "dim"), "logits");
      return rename(dot(softmax(label(l, "scores"), "key"), rename(x, { time: "key" }), "key"), { query: "time" });
    });
    const m = handle<Form>(other);
    const weights = drawn(handle<Tree>(other.params), 2);
    await expect(still(m, clip({ limit: 1 }), weights, data)).rejects.toThrow(/the attention at "" has no weights wq and wk, nor uq, uk and qr/);
    await expect(still(m, clip({ limit: 1, powers: { a: 0.5, c: 0.5 } }), weights, data)).rejects.toThrow(/there is no weight "c"/);
    const after = await still(m, clip({ limit: 1e-3, powers: { a: 1 } }), weights, data);
    expect(after.b).toEqual(weights.b);
    expect(Math.abs((after.a?.[0] as number) / (weights.a?.[0] as number))).toBeLessThan(0.01);
    const bare = handle<Form>(model({ a: weight({ model: 6 }, { dim: 3 }) }, { x: "time model" }, ({ a, x }) => dot(x, a, "model")));
    await expect(still(bare, clip({}), { a: weights.a as number[] }, data)).rejects.toThrow(/the loss has no scores/);
  });
});

test("a soft cap bounds the scores and leaves the logits; muP divides them once more by √d", async () => {
  const x = input({ batch: 2, time: 3, model: 6 });
  for (const make of [mha, mla] as readonly ((c: Config & LatentConfig) => unknown)[]) {
    const of = (more: Pick<Config, "softCap" | "muP">) => {
      const m = handle<Form>(make({ ...c, ...more }));
      const y = handle<Tree>(m.bound({ x }));
      const named = (name: string) => find(y, name)[0]?.value;
      return values({ l: named("logits"), s: named("scores") }, handle<Tree>(m.params), drawn(handle<Tree>(m.params), 1), { x: [x, data] });
    };
    const [plain, capped, mup] = await Promise.all([of({}), of({ softCap: 0.7 }), of({ muP: true })]);
    expect(capped?.l).toEqual(plain?.l);
    const root = make === handle<typeof make>(mha) ? 2 : Math.sqrt(6);
    plain?.l?.forEach((l, k) => {
      expect(mup?.l?.[k]).toBeCloseTo(l / root, 12);
      const s = plain.s?.[k] as number;
      expect(capped?.s?.[k]).toBeCloseTo(s === Number.NEGATIVE_INFINITY ? s : 0.7 * Math.tanh(l / 0.7), 12);
    });
  }
  expect(() => mha({ ...c, softCap: 0 }).bound({ x })).toThrow(/softCap is 0/);
});

describe("σReparam", () => {
  const w = model({ w: weight({ layer: 5, i: 2, j: 3 }, { o: 4 }) }, {}, ({ w }) => w);
  const params = handle<Tree>(w.params);
  const x = handle<Tensor>(w.params.w);
  const next = generator(3);
  /** Full rank, a gap of 1e-3 under the first value, rank one, a large scale, zero. */
  const matrices = [0, 1, 2, 3, 4].map((kind) => {
    if (kind === 4) return dense.matrix(4, 6, () => 0);
    const left = Array.from({ length: 4 }, next);
    const right = Array.from({ length: 6 }, next);
    if (kind === 2) return dense.matrix(4, 6, (r, q) => (left[r] as number) * (right[q] as number));
    if (kind === 1) return dense.matrix(4, 6, (r, q) => (r === q ? ([1, 0.999, 0.2, 0][r] ?? 0) : 0));
    return dense.matrix(4, 6, () => next() * (kind === 3 ? 1e4 : 1));
  });
  const flat = matrices.flatMap((m) => dense.transpose(m).at);
  test("the greatest singular value, from below and from above, of a matrix of several axes", async () => {
    const out = await values(
      { below: spectralNorm(x, ["o"], ["i", "j"]), above: spectralBound(x, ["o"], ["i", "j"]), line: spectralNorm(x, [], ["i", "j"]) },
      params,
      { w: flat },
    );
    matrices.forEach((m, l) => {
      const s = dense.spectral(m);
      const [below, above] = [out.below?.[l], out.above?.[l]] as [number, number];
      expect(below).toBeLessThanOrEqual(s * (1 + 1e-12));
      expect(below).toBeGreaterThanOrEqual(s * (1 - 1e-4));
      expect(above).toBeGreaterThanOrEqual(s * (1 - 1e-12));
      expect(above).toBeLessThanOrEqual(s * (1 + 4e-4));
      for (let o = 0; o < 4; o++) expect(out.line?.[l * 4 + o]).toBeCloseTo(dense.frobenius(dense.rowsOf(m, o, 1)), 8);
    });
  });
  test("its gradient is that of the singular value", async () => {
    const total = sum(spectralNorm(x, ["o"], ["i", "j"]), "layer");
    const { g } = await values(handle<{ g: unknown }>({ g: handle<{ w: unknown }>(grad(handle<Scalar>(total), params)).w }), params, { w: flat });
    expect(g?.slice(96).every((v) => v === 0)).toBe(true);
    for (const l of [0, 3]) {
      const m = matrices[l] as dense.Matrix;
      const h = 1e-6 * dense.frobenius(m);
      for (let k = 0; k < 24; k++) {
        const moved = (by: number) => dense.spectral({ ...m, at: m.at.map((v, i) => (i === k ? v + by : v)) });
        const want = (moved(h) - moved(-h)) / (2 * h);
        const [r, q] = [Math.floor(k / 6), k % 6];
        expect(g?.[l * 24 + q * 4 + r] as number).toBeCloseTo(want, 4);
      }
    }
  });
  test("a model's matrices are γ·W/σ(W): scaling them changes nothing, and their gradient is orthogonal to them", async () => {
    const sizes = { model: 4, layer: 1, head: 1, dim: 1, ff: 3, vocab: 1 };
    const [plain, normed] = [swiglu(sizes), sigmaReparam(swiglu(sizes))];
    const tree = handle<Tree>(normed.params);
    const given = drawn(tree, 1);
    for (const k of ["gate", "up", "down"]) given[`${k}.gamma`] = [{ gate: 0.5, up: 2, down: 3 }[k] as number];
    const v = input({ model: 4 });
    const loss = (y: Tensor) =>
      sum(
        map(y, (y) => y * y),
        ...(Object.keys(y.axes) as [string]),
      );
    const at = [0.3, -1, 2, 0.7];
    const y = handle<Tensor>(normed.bound({ x: v }));
    const gradients = handle<Record<string, { w: Node }>>(grad(handle<Scalar>(loss(y)), tree));
    const outputs = { y, ...Object.fromEntries(["gate", "up", "down"].map((k) => [k, gradients[k]?.w])) };
    const got = await values(outputs, tree, given, { v: [v, at] });
    // The plain model with weights scaled here; gate and up are [model, ff], down [ff, model]: the spectral norm is the same.
    const scaled = Object.fromEntries(
      ["gate", "up", "down"].map((k) => {
        const own = given[`${k}.w`] as number[];
        const s = dense.spectral(dense.matrix(k === "down" ? 3 : 4, k === "down" ? 4 : 3, (r, q) => own[r * (k === "down" ? 4 : 3) + q] as number));
        return [k, own.map((x) => (x * (given[`${k}.gamma`]?.[0] as number)) / s)];
      }),
    );
    const want = await values({ y: plain.bound({ x: v }) }, handle<Tree>(plain.params), scaled, { v: [v, at] });
    want.y?.forEach((x, i) => void expect(Math.abs((got.y?.[i] as number) - x)).toBeLessThanOrEqual(1e-3 * Math.abs(x)));
    for (const k of ["gate", "up", "down"]) {
      const own = given[`${k}.w`] as number[];
      const g = got[k] as number[];
      const cosine = own.reduce((s, w, i) => s + w * (g[i] as number), 0) / Math.hypot(...own) / Math.hypot(...g);
      expect(Math.abs(cosine), k).toBeLessThanOrEqual(1e-10);
    }
    const larger = await values({ y }, tree, { ...given, "up.w": (given["up.w"] as number[]).map((w) => 7 * w) }, { v: [v, at] });
    larger.y?.forEach((x, i) => void expect(x).toBeCloseTo(got.y?.[i] as number, 10));
    expect(() => sigmaReparam(model({ inner: plain }, { x: "model" }, ({ inner, x }) => inner({ x })))).toThrow(/part "inner" is no weight/);
  });
});

describe("the table", () => {
  const sizes = { model: 8, layer: 1, head: 2, dim: 4, ff: 6, vocab: 5 };
  const architectures: Readonly<Record<string, Architecture>> = {
    mha: { attention: "mha", config: sizes },
    gqa: { attention: "gqa", config: { ...sizes, group: 1 } satisfies GroupedConfig },
    mla: { attention: "mla", config: { ...sizes, cq: 4, latent: 3, nope: 4, rope: 2, value: 3 } satisfies LatentConfig },
  };
  const [tokens, next] = [input({ batch: 2, time: 4 }, "i32"), input({ batch: 2, time: 4 }, "i32")];
  /** The losses of three steps. */
  async function losses(name: InterventionName, o: InterventionOptions, a: Architecture): Promise<readonly number[]> {
    const how = interventions[name];
    const lm = how.decoder(a, o);
    const loss = mean(crossEntropy(lm.bound({ tokens }), next, "vocab", how.loss(o)), "batch", "time");
    const [lr, t] = [input({}), input({})];
    const programs = trainingPrograms({
      name: "table",
      params: lm.params,
      inputs: handle<Readonly<Record<string, Leaf>>>({ tokens, next, lr, t }),
      loss: nodeOf(loss, "loss"),
      optimizer: how.optimizer(each({ "*": adamw() }), o),
      lr: nodeOf(lr, "lr"),
      t: nodeOf(t, "t"),
    });
    using session = await open("js");
    await session.initialise(programs.params, 3);
    const step = await restart(session, programs);
    const out: number[] = [];
    for (let i = 1; i <= 3; i++)
      out.push((await step.run({ tokens: [0, 1, 2, 3, 4, 3, 2, 1], next: [1, 2, 3, 4, 3, 2, 1, 0], lr: [0.1], t: [i] })).loss?.[0] ?? Number.NaN);
    return out;
  }
  const options: Readonly<Record<InterventionName, InterventionOptions>> = {
    none: {},
    fixed: { tau: 0.1 },
    quack: { tau: 0.1, norm: "spectral", combine: "sum", floor: 1e-6 },
    "qk-norm": {},
    "qk-clip": { limit: 0.01 },
    "soft-cap": { limit: 0.05 },
    "sigma-reparam": {},
    mup: {},
    "z-loss": { z: 0.01 },
  };
  test.each(Object.keys(architectures))("every entry trains %s, and differently", async (architecture) => {
    const a = architectures[architecture] as Architecture;
    const plain = await losses("none", {}, a);
    for (const name of Object.keys(interventions) as InterventionName[]) {
      if (name === "none") continue;
      if (name === "qk-norm" && architecture === "mla") {
        await expect(losses(name, options[name], a)).rejects.toThrow(/latent attention has none/);
        continue;
      }
      const got = await losses(name, options[name], a);
      expect(got.every(Number.isFinite), `${name}: ${got.join(", ")}`).toBe(true);
      expect(
        got.some((l, i) => Math.abs(l - (plain[i] as number)) > 1e-9),
        name,
      ).toBe(true);
      for (const k of Object.keys(options[name])) expect(interventions[name].takes, name).toContain(k);
    }
  });
});
