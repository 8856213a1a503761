// Models: parameter trees and their paths, layers as one stacked subtree, loops whose size does not grow with depth,
// labels found inside loops.
import { describe, expect, test } from "vitest";
import {
  add,
  at,
  crossEntropy,
  dot,
  dropout,
  find,
  gain,
  grad,
  input,
  ints,
  keys,
  Layers,
  label,
  leavesOf,
  MallardError,
  map,
  mapTree,
  mean,
  model,
  mul,
  rename,
  repeat,
  type Scalar,
  stack,
  sum,
  weight,
  withTraining,
  zipTree,
} from "../../dsl/index.js";
import { survey } from "../../dsl/label.js";
import { nodeOf } from "../../dsl/tensor.js";
import { decoder, grouped, latentTransformer, mha, shared, transformer } from "../../models/blocks.js";
import { evaluate, numbers } from "./evaluate.js";

const config = { model: 6, layer: 3, head: 2, group: 1, dim: 4, ff: 8, vocab: 5, cq: 4, latent: 3, nope: 2, rope: 2, value: 3 };
const tokens = input({ batch: 2, time: 4 }, "i32");
const next = input({ batch: 2, time: 4 }, "i32");
const lossOf = (m: ReturnType<typeof transformer>): Scalar => mean(crossEntropy(m.bound({ tokens }), next, "vocab"), "batch", "time") as Scalar;
const size = (x: unknown) => survey([nodeOf(x, "x")]).length;

describe("parameters", () => {
  const lm = transformer(config);
  test("have paths, stacked axes, and initial values", () => {
    expect(leavesOf(lm.params).map((l) => l.path)).toEqual([
      "embed",
      "blocks.*.n1.g",
      "blocks.*.attention.wq",
      "blocks.*.attention.wk",
      "blocks.*.attention.wv",
      "blocks.*.attention.wo",
      "blocks.*.n2.g",
      "blocks.*.mlp.gate",
      "blocks.*.mlp.up",
      "blocks.*.mlp.down",
      "last.g",
    ]);
    const wq = nodeOf(leavesOf(lm.params)[2]?.tensor, "wq");
    expect(wq).toMatchObject({ op: "leaf", role: "param", name: "blocks.*.attention.wq", axes: { blocks: 3, model: 6, head: 2, dim: 4 } });
    expect(wq).toMatchObject({ param: { from: ["model"], to: ["head", "dim"], init: { std: 0.02 }, stacked: ["blocks"] } });
    expect(Object.keys(wq.axes)[0]).toBe("blocks");
    expect(nodeOf(lm.params.last.g, "g")).toMatchObject({ param: { from: [], to: [], init: { fill: 1 }, stacked: [] } });
  });
  test("are made once", () => {
    expect(lm.params.embed).toBe(lm.params.embed);
    expect(lm.params).toBe(withTraining(lm).params);
    expect(transformer(config).params.embed).not.toBe(lm.params.embed);
  });
  test("layers read as an array of views", () => {
    const { blocks } = lm.params;
    expect(blocks).toBeInstanceOf(Layers);
    expect(Array.isArray(blocks)).toBe(true);
    expect(blocks).toHaveLength(3);
    expect(blocks[1]?.attention.wq.axes).toEqual({ model: 6, head: 2, dim: 4 });
    expect(blocks[1]?.attention.wq).toBe(blocks[1]?.attention.wq);
    expect(blocks.map((b) => b.mlp.up.axes.ff)).toEqual([8, 8, 8]);
  });
  test("grouped and latent attention", () => {
    expect(grouped({ ...config, group: 2, qkNorm: true }).params.blocks[0]?.attention.gq.axes).toEqual({ dim: 4 });
    expect(latentTransformer(config).params.blocks[0]?.attention.uk.axes).toEqual({ latent: 3, head: 2, nope: 2 });
    expect(leavesOf(shared(config).params)).toHaveLength(9);
  });
});

describe("trees", () => {
  const lm = transformer(config);
  test("mapTree sees the stacked leaves and gives layers back", () => {
    const paths: string[] = [];
    const twice = mapTree(lm.params, (x, path) => {
      paths.push(path);
      return add(x, x);
    });
    expect(paths).toContain("blocks.*.mlp.down");
    expect(twice.blocks).toBeInstanceOf(Layers);
    expect(twice.blocks[2]?.attention.wo.axes).toEqual({ head: 2, value: 4, model: 6 });
    expect(Object.keys(zipTree(lm.params, twice, (a, b) => mul(a, b) as never).last)).toEqual(["g"]);
    expect(() => zipTree(lm.params.last, { g: tokens, h: tokens } as never, (a) => a)).toThrow(/"h"/);
  });
  test("a gradient by layers is part of the stacked one", () => {
    const loss = lossOf(lm);
    const g = grad(loss, lm.params);
    const stacked = (g.blocks as unknown as Layers).stacked as (typeof g.blocks)[0];
    expect(nodeOf(stacked.attention.wq, "g")).toMatchObject({ op: "grad", axes: { blocks: 3, model: 6, head: 2, dim: 4 } });
    const one = grad(loss, lm.params.blocks[1]!.attention.wq);
    expect(one).toBe(g.blocks[1]?.attention.wq);
    expect(() => grad(loss, { tokens } as never)).toThrow(/"tokens" is i32/);
  });
  test("apply takes any tree like the parameters: stacked, or one tree a layer", () => {
    const other = mapTree(lm.params, (x) => map(x, (x) => x * 2));
    expect(lm.apply(other, { tokens }).axes).toEqual({ batch: 2, time: 4, vocab: 5 });
    const byLayer = { ...lm.params, blocks: [...lm.params.blocks] };
    expect(lm.apply(byLayer, { tokens }).axes).toEqual({ batch: 2, time: 4, vocab: 5 });
    expect(() => lm.apply({ ...lm.params, blocks: lm.params.blocks.slice(1) }, { tokens })).toThrow(/3 layers are wanted/);
    expect(() => lm.apply({ embed: lm.params.embed } as never, { tokens })).toThrow(/lack "blocks"/);
    expect(() => lm.apply({ ...lm.params, embed: input({ vocab: 7, model: 6 }) }, { tokens })).toThrow(/"vocab" is 7/);
  });
});

describe("loops", () => {
  test("the program's size does not grow with depth", () => {
    expect(size(lossOf(transformer({ ...config, layer: 2 })))).toBe(size(lossOf(transformer({ ...config, layer: 200 }))));
  });
  const tower = (unrolled: boolean) =>
    model(
      {
        layers: repeat(
          3,
          model({ w: weight({ i: 2 }, { o: 2 }) }, { x: "i" }, ({ w, x }) => rename(dot(x, w, "i"), { o: "i" })),
        ),
      },
      { x: "i" },
      ({ layers, x }) => (unrolled ? [...layers].reduce((x, f) => f({ x }), x) : layers.reduce((x, f) => f({ x }), x)),
    );
  test("a reduce is the composition written out", () => {
    const x = input({ i: 2 });
    const [loop, flat] = [tower(false), tower(true)];
    const w = numbers(12);
    const run = (m: typeof loop) =>
      evaluate(m.bound({ x }), [
        [x, [1, -2]],
        [leavesOf(m.params)[0]!.tensor, w],
      ]) as readonly number[];
    const [a, b] = [run(loop), run(flat)];
    expect(nodeOf(loop.bound({ x }), "y").op).toBe("carry");
    expect(nodeOf(flat.bound({ x }), "y").op).not.toBe("carry");
    a.forEach((v, i) => void expect(v).toBeCloseTo(b[i] as number, 12));
  });
  test("a layer's number, a missing start, a state of another shape are refused", () => {
    const part = model({ w: weight({ i: 2 }, { o: 3 }) }, { x: "i" }, ({ w, x }) => dot(x, w, "i"));
    const x = input({ i: 2 });
    const top = (f: (layers: readonly unknown[], x: never) => unknown) =>
      model({ layers: repeat(2, part) }, { x: "i" }, ({ layers, x }) => f(layers, x as never) as typeof x).bound({ x });
    expect(() => top((l, x) => l.reduce((x, _, i) => (i ? x : x), x))).toThrow(/no layer's number/);
    expect(() => top((l) => l.reduce((x) => x))).toThrow(/no start/);
    expect(() => top((l, x) => l.reduce((x, f) => (f as (x: unknown) => unknown)({ x }), x))).toThrow(MallardError);
    expect(() => repeat(2, { state: { x } }, () => ({}) as never)).toThrow(/lacks "x"/);
    expect(() => repeat(2, { state: { x }, xs: { y: input({ step: 3 }) } }, (s) => s)).toThrow(/"step" of "y" has 3/);
  });
});

describe("labels", () => {
  const lm = transformer(config);
  test("inside a loop come stacked, with the model's path and inputs", () => {
    const loss = lossOf(lm);
    const found = find(loss, "logits");
    expect(found.map((f) => f.path)).toEqual(["blocks.*.attention"]);
    expect(found[0]?.value.axes).toEqual({ blocks: 3, batch: 2, head: 2, query: 4, key: 4 });
    const n = nodeOf(found[0]?.value, "logits");
    if (n.op !== "emit" || n.of.op !== "label") throw new Error("logits in a loop are emitted");
    expect(n.of.inputs.map((i) => i.axes)).toEqual([{ batch: 2, time: 4, model: 6 }]);
    expect(find(loss, "logits")[0]?.value).toBe(found[0]?.value);
    expect(find(loss, "nothing")).toEqual([]);
  });
  test("in loops in loops are stacked on both axes; what a loop only uses is not", () => {
    const inner = model({ w: weight({ i: 2 }, { o: 2 }) }, { x: "i" }, ({ w, x }) => label(rename(dot(x, w, "i"), { o: "i" }), "step"));
    const outer = model({ inner: repeat(2, inner) }, { x: "i" }, ({ inner, x }) => inner.reduce((x, f) => f({ x }), x));
    const once = label(
      map(input({ i: 2 }), (x) => x + 1),
      "once",
    );
    const whole = model({ outer: repeat(3, outer) }, { x: "i" }, ({ outer, x }) => outer.reduce((x, f) => add(f({ x }), once), x));
    const y = sum(whole.bound({ x: input({ i: 2 }) }), "i");
    expect(find(y, "step").map((f) => [f.path, f.value.axes])).toEqual([["outer.*.inner.*", { outer: 3, inner: 2, i: 2 }]]);
    expect(find(y, "once").map((f) => f.value)).toEqual([once]);
    expect(Object.keys(nodeOf(leavesOf(whole.params)[0]?.tensor, "w").axes)).toEqual(["outer", "inner", "i", "o"]);
    const w = numbers(24);
    const x = input({ i: 2 });
    const seed = input({ i: 2 });
    const offset = map(seed, (x) => x + 1);
    const tower = model({ outer: repeat(3, outer) }, { x: "i" }, ({ outer, x }) => outer.reduce((x, f) => add(f({ x }), offset), x));
    const steps = find(sum(tower.bound({ x }), "i"), "step")[0]!.value;
    const want: number[] = [];
    let state = [1, 2];
    for (let o = 0; o < 3; o++) {
      for (let k = 0; k < 2; k++) {
        const at = (i: number, j: number) => w[((o * 2 + k) * 2 + i) * 2 + j] as number;
        state = [0, 1].map((j) => at(0, j) * (state[0] as number) + at(1, j) * (state[1] as number));
        want.push(...state);
      }
      state = state.map((v, i) => v + [1, 4][i]!);
    }
    const got = evaluate(steps, [
      [x, [1, 2]],
      [seed, [0, 3]],
      [leavesOf(tower.params)[0]!.tensor, w],
    ]);
    got.forEach((v, i) => void expect(v).toBeCloseTo(want[i] as number, 12));
    expect(got).toHaveLength(12);
  });
  test("are the value they name", () => {
    const x = input({ i: 2 });
    expect(evaluate(label(x, "name"), [[x, [3, 4]]])).toEqual([3, 4]);
    expect(() => label(x, "")).toThrow(MallardError);
  });
});

describe("runs", () => {
  const noisy = model({ g: gain({ i: 4 }) }, { x: "i" }, ({ g, x }, { key, train }) => (train ? dropout(mul(x, g), 0.5, key("drop")) : mul(x, g)));
  const tower = model({ layers: repeat(2, noisy), last: noisy }, { x: "i" }, ({ layers, last, x }) =>
    last({ x: layers.reduce((x, f) => f({ x }), x) }),
  );
  const x = input({ i: 4 });
  const keysIn = (y: unknown) =>
    survey([nodeOf(y, "y")]).flatMap(({ node }) => (node.op === "random" ? [[node.key, node.args.length] as const] : []));
  test("train only where asked, with keys by path and layer", () => {
    expect(keysIn(tower.bound({ x }))).toEqual([]);
    expect(keysIn(withTraining(tower, keys("run")).bound({ x }))).toEqual([
      ["run/layers/#/drop", 1],
      ["run/last/drop", 0],
    ]);
  });
  test("a key extends by the step's number", () => {
    const step = input({}, "i32");
    expect(keysIn(withTraining(tower, keys("run")(step)).bound({ x }))).toEqual([
      ["run/#/layers/#/drop", 2],
      ["run/#/last/drop", 1],
    ]);
    expect(() => keys("a")(input({}) as never)).toThrow(/i32/);
  });
});

test("parts that are none, names used twice, clashing axes", () => {
  expect(() => model({ w: 3 as never }, { x: "i" }, ({ x }) => x)).toThrow(/part "w" is a number/);
  expect(() => model({ x: gain({ i: 2 }) }, { x: "i" }, ({ x }) => x as never)).toThrow(/both a part and an input/);
  expect(() => weight({ i: 2 }, { i: 3 })).toThrow(/exists already/);
  const layer = model({ w: gain({ layers: 2 }) }, { x: "layers" }, ({ w, x }) => mul(w, x));
  expect(() => model({ layers: repeat(2, layer) }, { x: "layers" }, ({ x }) => x).params).toThrow(/exists already/);
  expect(() => repeat(1.5, mha(config))).toThrow(/whole number/);
  expect(decoder(config, mha(config)).bound({ tokens: input({ time: 3 }, "i32") }).axes).toEqual({ time: 3, vocab: 5 });
  expect(at(stack("b", tokens, tokens), { b: 0 }).axes).toEqual({ batch: 2, time: 4 });
  expect(model({}, { t: ints("time") }, ({ t }) => t).bound({ t: tokens })).toBe(tokens);
});
