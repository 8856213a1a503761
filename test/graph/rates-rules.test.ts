// What deriveRates takes and refuses: floors, weights that begin at zero, weights that keep their rate, logits of several
// models, and what has no bound.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it, test } from "vitest";
import { runGraphPasses } from "../../compiler/pipeline.js";
import { MallardError } from "../../dsl/errors.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { groupedQuery } from "../../models/attention/02-grouped-query.js";
import { mha, mhaNormed, mla } from "../../models/blocks.js";
import { compute, type Env, fill, numbers } from "./harness.js";
import { loose, type R } from "./loose.js";

const {
  add,
  at,
  bounded,
  cumsum,
  deriveRates,
  dot,
  find,
  gain,
  input,
  label,
  layerNorm,
  map,
  max,
  merge,
  model,
  mul,
  norm,
  prod,
  div,
  rename,
  repeat,
  rms,
  sigmoid,
  softmax,
  split,
  weight,
} = loose;
const c = { model: 6, layer: 2, head: 4, group: 2, dim: 4, ff: 8, vocab: 7, cq: 5, latent: 3, nope: 3, rope: 2, value: 4 };
const xs = { x: "time model" };
const qk = () => ({ wq: weight({ model: c.model }, { head: 3, dim: 4 }), wk: weight({ model: c.model }, { head: 3, dim: 4 }) });
const q = ({ wq, x }: R) => dot(rename(x, { time: "query" }), wq, "model");
const k = ({ wk, x }: R) => dot(rename(x, { time: "key" }), wk, "model");
const applied = (part: R) => part.apply(part.params, { x: input({ time: 5, model: c.model }) });
const logits = (s: R) => label(s, "logits");

function values(part: R, o: R, change: (data: Float64Array, name: string) => void = () => {}) {
  const rates = deriveRates(find(applied(part), "logits"), o);
  const random = numbers(9);
  const env: Env = new Map();
  for (const { path, node } of flatten(part.params)) {
    const data = fill(node as Leaf, random);
    change(data, path);
    env.set(node as Leaf, data);
  }
  const names = Object.keys(rates);
  const got = compute(
    names.map((n) => rates[n]),
    env,
  );
  const of = (name: string) => env.get(flatten(part.params).find((l) => l.path === name)?.node as Leaf) as Float64Array;
  return { f: Object.fromEntries(names.map((n, i) => [n, [...(got[i] as Float64Array)]])) as Record<string, number[]>, of };
}
/** Frobenius norms of the slices of a [rows, heads, columns] array. */
const norms = (w: Float64Array, heads: number, columns: number): readonly number[] =>
  Array.from({ length: heads }, (_, h) => Math.hypot(...w.filter((_, i) => Math.floor(i / columns) % heads === h)));

describe("floor", () => {
  it("is the least that a parameter's norm is taken for, in each norm", () => {
    for (const norm of ["frobenius", "spectral"]) {
      const small = values(mha(c), { norm, floor: 2 }, (w) => w.fill(1e-9));
      for (const f of Object.values(small.f)) for (const v of f) expect(v).toBe(1);
      const large = values(mha(c), { norm, floor: 1e-3 });
      const bare = values(mha(c), { norm });
      expect(large.f).toEqual(bare.f);
    }
    // Under every norm of a product, not under the product.
    const latent = values(mla(c), { floor: 0.5 }, (w) => w.fill(0));
    expect(latent.f.qr).toEqual(Array(c.head).fill(Math.sqrt(c.nope + c.rope) / 0.25));
    expect(latent.f.uq).toEqual(Array(c.head).fill(Math.sqrt(c.nope + c.rope) / 0.125));
  });
  it("is a finite number of at least 0", () => {
    for (const floor of [-1, Number.NaN, Infinity]) expect(() => values(mha(c), { floor })).toThrow(/the floor is/);
  });
});

test("a weight that begins at zero makes its partner's factor infinite, head by head", () => {
  const { f } = values(mha(c), {}, (w, name) => {
    if (name !== "wk") return;
    for (let i = 0; i < w.length; i++) if (Math.floor(i / c.dim) % c.head === 2) w[i] = 0;
  });
  expect(f.wq?.map((v) => v === Infinity)).toEqual([false, false, true, false]);
  expect(f.wk?.every((v) => Number.isFinite(v))).toBe(true);
  expect(values(mha(c), { floor: 1e-6 }, (w) => w.fill(0)).f.wq?.every((v) => v === 2e6)).toBe(true);
});

test("rates follow heads that the logits call otherwise", () => {
  const part = model(
    { wq: weight({ model: c.model }, { head: 6, dim: 4 }), wk: weight({ model: c.model }, { group: 3, dim: 4 }) },
    xs,
    ({ wq, wk, x }: R) => {
      const keys = k({ wk, x });
      return (groupedQuery as R)({ q: q({ wq, x }), k: keys, v: rename(keys, { dim: "value" }) });
    },
  );
  const { f, of } = values(part, {});
  const [nq, nk] = [norms(of("wq"), 6, 4), norms(of("wk"), 3, 4)];
  for (const [h, v] of (f.wq ?? []).entries()) expect((v * (nk[Math.floor(h / 2)] as number)) / 2).toBeCloseTo(1, 12);
  for (const [g, v] of (f.wk ?? []).entries()) expect((v * Math.max(nq[2 * g] as number, nq[2 * g + 1] as number)) / 2).toBeCloseTo(1, 12);
});

test("spectral norms of weights whose axes are renamed, merged and split are those of the weights", () => {
  const seen = (change: (v: R) => R) => {
    const part = model(qk(), xs, (w: R) => logits(dot(change(q(w)), change(k(w)), "e")));
    return values(part, { norm: "spectral" }).f;
  };
  const plain = seen((v) => rename(v, { dim: "e" }));
  const turned = seen((v) => split(merge(rename(v, { head: "h", dim: "d" }), ["h", "d"], "inner"), "inner", { g: 3, e: 4 }));
  const cut = seen((v) => merge(split(v, "dim", { a: 2, b: 2 }), ["a", "b"], "e"));
  const onWeights = model(
    { wq: weight({ model: c.model }, { head: 3, dim: 4 }), wk: weight({ model: c.model }, { head: 3, dim: 4 }) },
    xs,
    ({ wq, wk, x }: R) => {
      const pair = (w: R) => rename(split(w, "model", { m: 3, n: 2 }), { head: "h" });
      const [i, j] = [rename(x, { time: "query" }), rename(x, { time: "key" })].map((v) => split(v, "model", { m: 3, n: 2 }));
      return logits(dot(dot(i, pair(wq), "m", "n"), dot(j, pair(wk), "m", "n"), "dim"));
    },
  );
  for (const other of [turned, cut, values(onWeights, { norm: "spectral" }).f])
    for (const [name, f] of Object.entries(plain)) {
      expect(f.length).toBe(3);
      for (const [i, v] of f.entries()) expect((other[name]?.[i] as number) / v).toBeCloseTo(1, 8);
    }
  const euclidean = values(
    model(qk(), xs, (w: R) => logits(dot(q(w), k(w), "dim"))),
    {},
  ).f;
  expect((plain.wq?.[0] as number) / (euclidean.wq?.[0] as number)).toBeGreaterThan(1.1);
});
test("layers written out have the rates of layers in a loop", () => {
  const layer = model(qk(), xs, (w: R) => mul(w.x, max(max(max(logits(dot(q(w), k(w), "dim")), "key"), "head"), "query")));
  const stacked = (body: (layers: R, x: R) => R) => model({ layers: repeat(3, layer) }, xs, ({ layers, x }: R) => body(layers, x));
  const inLoop = stacked((layers, x) => layers.reduce((h: R, l: R) => l({ x: h }), x));
  const written = stacked((layers, x) => [...layers].reduce((h: R, l: R) => l({ x: h }), x));
  for (const o of [{}, { norm: "spectral", combine: "sum" }]) {
    const [a, b] = [values(inLoop, o).f, values(written, o).f];
    expect(Object.keys(a)).toEqual(["layers.*.wq", "layers.*.wk"]);
    for (const [name, f] of Object.entries(a)) {
      expect(f.length).toBe(9);
      for (const [i, v] of f.entries()) expect((b[name]?.[i] as number) / v).toBeCloseTo(1, 12);
    }
  }
});

describe("which weights have rates", () => {
  const keys = (part: R, o: R = {}) => Object.keys(deriveRates(find(applied(part), "logits"), o));
  it("gains, tables and what is alone keep theirs, whatever is written about them", () => {
    const part = model(
      { ...qk(), table: weight({ key: 5 }, { head: 3 }), t: gain({ head: 3 }), wv: weight({ model: c.model }, { value: 2 }) },
      xs,
      (w: R) => {
        // The arrow alone tells that the table is added.
        const s = map({ s: dot(q(w), k(w), "dim"), b: w.table, t: w.t }, ({ s, b, t }: R) => 20 * Math.tanh((s * t + b) / 20));
        return dot(softmax(logits(s), "key"), dot(rename(w.x, { time: "key" }), w.wv, "model"), "key");
      },
    );
    expect(keys(part)).toEqual(["wq", "wk"]);
  });
  it("a table alone on one path and with a partner on another has one", () => {
    const part = model({ ...qk(), table: weight({ key: 5 }, { head: 3 }) }, xs, (w: R) =>
      logits(map({ s: dot(q(w), k(w), "dim"), b: w.table }, ({ s, b }: R) => s + b + s * b)),
    );
    expect(keys(part)).toEqual(["wq", "wk", "table"]);
  });
  it("none: says why", () => {
    const alone = model({ table: weight({ key: 5 }, { head: 3 }) }, xs, ({ table, x }: R) => logits(mul(table, dot(x, x, "model", "time"))));
    expect(() => keys(alone)).toThrow(/no weight stands with another one on a path/);
    const inner = model({}, { a: "query dim", b: "key dim" }, ({ a, b }: R) => logits(dot(a, b, "dim")));
    const outer = model({ ...qk(), inner }, xs, (w: R) => w.inner({ a: q(w), b: k(w) }));
    expect(() => keys(outer)).toThrow(/no weight stands between the logits and the inputs of their model[\s\S]*label the logits in the model/);
  });
  it("logits of several models have the rates of each; of two weights with one name, an error", () => {
    const both = model({ a: mha(c), b: mla(c) }, xs, ({ a, b, x }: R) => b({ x: a({ x }) }));
    expect(keys(both)).toEqual(["a.wq", "a.wk", "b.dq", "b.uq", "b.qr", "b.dkv", "b.uk", "b.kr"]);
    const all = [...find(applied(mha(c)), "logits"), ...find(applied(mha(c)), "logits")];
    expect(() => deriveRates(all)).toThrow(/two weights are called "wq"/);
  });
  it('"sum" adds the paths to one logit, and takes the greatest over logits', () => {
    const part = model(
      { block: model(qk(), xs, (w: R) => mul(w.x, max(max(max(logits(dot(q(w), k(w), "dim")), "key"), "head"), "query"))) },
      xs,
      ({ block, x }: R) => block({ x: block({ x }) }),
    );
    expect(values(part, { combine: "sum" }).f).toEqual(values(part, {}).f);
  });
});

describe("what has no bound is refused, with its place", () => {
  const form = (body: (w: R) => R) =>
    model({ ...qk(), wf: weight({ model: c.model }, { head: 3 }), g: gain({ dim: 4 }) }, xs, (w: R) => logits(body(w)));
  const refused: Readonly<Record<string, R>> = {
    "QK norm": mhaNormed(c),
    "a norm of latents": form((w) => dot(rms(q(w), "dim"), k(w), "dim")),
    "layer norm": form((w) => dot(layerNorm(q(w), "dim"), k(w), "dim")),
    cosine: form((w) => dot(div(q(w), norm(q(w), "dim")), k(w), "dim")),
    "the reciprocal of a norm": form((w) =>
      mul(
        dot(q(w), k(w), "dim"),
        map(norm(k(w), "dim"), (n: R) => 1 / n),
      ),
    ),
    "an exponential": form((w) => map(dot(q(w), k(w), "dim"), (s: R) => Math.exp(s))),
    "a choice by a weight": form((w) => map(dot(q(w), k(w), "dim"), (s: R) => (s > 1 ? s : 0))),
    "softmax before the logits": form((w) => dot(softmax(dot(q(w), k(w), "dim"), "key"), k(w), "key")),
    "a product over positions": form((w) => prod(dot(q(w), k(w), "dim"), "key")),
    "a decay that a weight sets": form((w) =>
      add(
        dot(q(w), k(w), "dim"),
        rename(
          cumsum(
            map(dot(w.x, w.wf, "model"), (v: R) => Math.log(1 / (1 + Math.exp(-v)))),
            "time",
          ),
          { time: "key" },
        ),
      ),
    ),
    "a gate that a weight sets": form((w) => dot(mul(q(w), sigmoid(q(w))), k(w), "dim")),
    "a running sum": form((w) => cumsum(dot(q(w), k(w), "dim"), "key")),
    "a state that grows too many products": form((w) => {
      const double = ({ s }: R) => ({ s: add(s, mul(s, s)) });
      return repeat(5, { state: { s: dot(q(w), k(w), "dim") } }, double).s;
    }),
    "a state that is no polynomial": form((w) => {
      const next = ({ s }: R) => ({ s: map(s, (v: R) => Math.exp(v)) });
      return repeat(2, { state: { s: dot(q(w), k(w), "dim") } }, next).s;
    }),
    "a bounded map that another weight enters": form((w) => {
      const v = q(w);
      return dot(bounded(mul(v, w.g), { linearIn: v, norm: 2 }), k(w), "dim");
    }),
    "a bounded map of other axes": form((w) => {
      const v = q(w);
      return dot(bounded(rename(v, { dim: "d" }), { linearIn: v, norm: 1 }), rename(k(w), { dim: "d" }), "d");
    }),
    "two thirds of a fused weight": model({ w: weight({ model: c.model }, { part: 3, head: 3, dim: 4 }) }, xs, ({ w, x }: R) => {
      const [wq, wk] = [at(w, { part: 0 }), at(w, { part: 1 })];
      return logits(dot(q({ wq, x }), k({ wk, x }), "dim"));
    }),
  };
  test.each(Object.entries(refused))("%s", (_, part) => {
    const rates = deriveRates(find(applied(part), "logits"));
    const out = runGraphPasses(Object.values(rates) as Node[], { capture: { folder: null } });
    expect(isLeft(out)).toBe(true);
    const [error] = isLeft(out) ? out.left : [];
    expect(error).toBeInstanceOf(MallardError);
    const { what, hint, place } = error as MallardError;
    expect(`${what}\n→ ${hint}`).toMatchSnapshot();
    expect(place?.file).toMatch(/(rates-rules\.test|blocks)\.ts$/);
  });
  const normalisations = [
    "QK norm",
    "a norm of latents",
    "layer norm",
    "cosine",
    "the reciprocal of a norm",
    "an exponential",
    "a choice by a weight",
    "a gate that a weight sets",
  ];
  test.each(Object.entries(refused).filter(([name]) => normalisations.includes(name)))("%s, as a heuristic", (_, part) => {
    const { f } = values(part, { heuristic: true });
    for (const v of Object.values(f).flat()) expect(v > 0 && Number.isFinite(v)).toBe(true);
    expect(Object.keys(f)).toEqual(expect.arrayContaining(["wq", "wk"]));
  });
});
