// Kernels of tiles from whole programs: what a decoder's training step keeps in memory, what joins a pass and what cannot, how
// results are stored through views, and tables over differences of indices.
import { describe, expect, it } from "vitest";
import { apply, type Expr, elements, load, local, buffer as makeBuffer, real, variable } from "../../compiler/lower/expr.js";
import { lower } from "../../compiler/lower/lower.js";
import type { Nest, Step } from "../../compiler/lower/nest.js";
import { rescaling } from "../../compiler/lower/rescale.js";
import { showExpr } from "../../compiler/lower/show.js";
import { Tables } from "../../compiler/lower/tables.js";
import { unviewed } from "../../compiler/lower/unview.js";
import type { Plan } from "../../compiler/plan.js";
import { c } from "../../compiler/targets/c/program.js";
import { view } from "../../dsl/build.js";
import { call, constant, index } from "../../dsl/scalar.js";
import {
  type AnyTensor,
  crossEntropy,
  cumsum,
  dot,
  each,
  grad,
  input,
  inputLeaves,
  map,
  max,
  mean,
  mul,
  softmax,
  sum,
  trainingPrograms,
} from "../../index.js";
import { latent, logits } from "../../models/attention/index.js";
import { adamw, transformer } from "../../models/index.js";
import { passed } from "../../runtime/backend.js";
import { input as leaf, right } from "../graph/harness.js";

type Spec = Parameters<typeof trainingPrograms>[0];
// A handle is the graph's node seen by its axes: the session's side takes it as a node.
const nodeOf = (t: AnyTensor) => t as unknown as Spec["loss"];

const nestsOf = (steps: readonly Step[]): readonly Nest[] => steps.flatMap((s) => (s.step === "nest" ? [s.nest] : nestsOf(s.body)));
function decoderStep(o: { readonly tiles: boolean; readonly time: number }): Plan {
  const decoder = transformer({ model: 64, layer: 3, head: 2, dim: 32, ff: 128, vocab: 64 });
  const inputs = {
    tokens: input({ batch: 2, time: o.time }, "i32"),
    following: input({ batch: 2, time: o.time }, "i32"),
    lr: input({}),
    t: input({}),
  };
  const loss = mean(crossEntropy(decoder.apply(decoder.params, { tokens: inputs.tokens }), inputs.following, "vocab"), "batch", "time");
  const programs = trainingPrograms({
    name: "step",
    params: decoder.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(loss),
    optimizer: each({ "*": adamw({}) }),
    lr: nodeOf(inputs.lr),
    t: nodeOf(inputs.t),
  });
  return right(lower(right(passed({ updates: [], ...programs.step })).program, o));
}

describe("a decoder's training step", () => {
  const time = 256;
  const plan = decoderStep({ tiles: true, time });
  it("has one kernel of tiles in the forward layer and one or two in the backward one", () => {
    const tiles = nestsOf(plan.steps).filter((n) => n.form === "tiles");
    expect(tiles.length).toBeGreaterThanOrEqual(2);
    expect(tiles.length).toBeLessThanOrEqual(3);
  });
  it("keeps nothing as large as the scores, which the dense form does", () => {
    const scores = (p: Plan) => p.buffers.filter((b) => b.role === "temp" && b.axes.filter((a) => a.extent === time).length > 1);
    expect(scores(plan).map((b) => b.name)).toEqual([]);
    expect(scores(decoderStep({ tiles: false, time })).length).toBeGreaterThan(0);
  });
  it("grows with the sequence as its tokens do", () => {
    expect(decoderStep({ tiles: true, time: 2 * time }).arenaBytes / plan.arenaBytes).toBeLessThan(2.1);
  });
});

const heads = () => ({
  q: input({ batch: 2, head: 2, query: 128, dim: 16 }),
  k: input({ batch: 2, head: 2, key: 128, dim: 16 }),
  v: input({ batch: 2, head: 2, key: 128, value: 16 }),
});
function planOf(make: (x: ReturnType<typeof heads>) => Readonly<Record<string, AnyTensor>>): Plan {
  const x = heads();
  const outputs = Object.fromEntries(Object.entries(make(x)).map(([name, t]) => [name, nodeOf(t)]));
  return right(lower(right(passed({ name: "p", inputs: inputLeaves(x), outputs, updates: [] })).program, { tiles: true }));
}
const forms = (p: Plan) => nestsOf(p.steps).map((n) => n.form);

describe("what stops a fusion is told", () => {
  const causal = (x: ReturnType<typeof heads>) => map(logits({ q: x.q, k: x.k }), (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
  it("a scan over the keys", () => {
    const p = planOf((x) => ({ out: dot(softmax(cumsum(causal(x), "key"), "key"), x.v, "key") }));
    expect(forms(p)).not.toContain("tiles");
    expect(p.why?.map((w) => w.reason)).toContain("needs it whole: scan");
  });
  it("scores that are a result", () => {
    const p = planOf((x) => {
      const s = logits({ q: x.q, k: x.k });
      return { out: dot(softmax(s, "key"), x.v, "key"), sums: sum(s, "key") };
    });
    expect(forms(p).every((f) => f === "tiles")).toBe(true);
    expect(p.why).toEqual([]);
  });
  it("nothing, where the maximum over everything is asked for: a fold of the rows' maxima", () => {
    const p = planOf((x) => ({ out: dot(softmax(causal(x), "key"), x.v, "key"), most: max(causal(x), "batch", "query", "key") }));
    expect(forms(p)).toEqual(["tiles", "row"]);
  });
});

describe("what a kernel of tiles may not take for itself", () => {
  it("a fold whose only reader is made tile by tile keeps its memory", () => {
    const [a, b, d] = [input({ t: 2, i: 40, e: 8 }), input({ t: 2, j: 40, e: 8 }), input({ t: 2, j: 40, e: 8, long: 600 })];
    const s = dot(a, b, "e");
    const bias = sum(mul(d, d), "e", "long");
    const p = softmax(
      map({ s, bias }, ({ s, bias }) => s * bias),
      "j",
    );
    const plan = right(
      lower(right(passed({ name: "p", inputs: inputLeaves({ a, b, d }), outputs: { o: nodeOf(dot(p, b, "j")) }, updates: [] })).program, {
        tiles: true,
      }),
    );
    expect(forms(plan)).toEqual(["row", "tiles"]);
  });
  it("of two contractions with different sides the smaller is stored: latent values of one head", () => {
    const x = {
      qc: input({ query: 128, nope: 16 }),
      qr: input({ query: 128, rope: 16 }),
      c: input({ key: 128, latent: 16 }),
      kr: input({ key: 128, rope: 16 }),
      uk: input({ latent: 16, nope: 16 }),
      uv: input({ latent: 16, value: 64 }),
    };
    const plan = right(
      lower(right(passed({ name: "p", inputs: inputLeaves(x), outputs: { o: nodeOf(latent(x)) }, updates: [] })).program, { tiles: true }),
    );
    expect(forms(plan)).toEqual(["contract", "contract", "tiles"]);
  });
  it("products that have memory as well: a contraction of them reads their factors", () => {
    const x = { q: input({ query: 128, dim: 16 }), k: input({ key: 128, dim: 16 }), v: input({ key: 128, value: 16 }) };
    const products = mul(x.q, x.k);
    const o = dot(softmax(sum(products, "dim"), "key"), x.v, "key");
    const outputs = { o: nodeOf(o), products: nodeOf(products), squares: nodeOf(sum(mul(products, products), "dim")) };
    const plan = right(lower(right(passed({ name: "p", inputs: inputLeaves(x), outputs, updates: [] })).program, { tiles: true }));
    expect(forms(plan)).toContain("tiles");
  });
  it("a fold with the result's own axes is none of its rows'", () => {
    const [a, b, w] = [input({ k: 1, t: 0 }), input({ t: 0, j: 1, i: 9 }), input({ j: 1, i: 9, t: 0 })];
    const loss = sum(mul(dot(dot(a, b, "t"), a, "k"), w), "j", "i", "t");
    const plan = right(
      lower(right(passed({ name: "p", inputs: inputLeaves({ a, b, w }), outputs: { g: nodeOf(grad(loss, { a }).a) }, updates: [] })).program, {
        tiles: true,
      }),
    );
    const compiled = c.compile(plan);
    expect(compiled._tag).toBe("Right");
  });
});

describe("rescaling", () => {
  const [s, m, tau] = [local("s", "real"), local("m", "real"), local("tau", "real")];
  const perRow = (e: Expr): boolean => e !== s && (e.kind !== "call" || e.args.every(perRow));
  const of = (e: Expr, kind: "sum" | "max" = "sum") => {
    const r = rescaling(e, kind, new Set(["m"]), perRow);
    return r === null || r === "impossible" ? r : showExpr(r);
  };
  const call2 = (prim: "sub" | "mul" | "add" | "div", a: Expr, b: Expr) => apply(prim, "real", a, b);
  const exp = (e: Expr) => apply("exp", "real", e);
  it("is nothing where the elements read no earlier fold", () => expect(of(exp(s))).toBe(null));
  it("is the exponential of a difference", () => expect(of(exp(call2("sub", s, m)))).toBe("exp((-1 * (m - was.m)))"));
  it("keeps a row's temperature", () => expect(of(exp(call2("mul", tau, call2("sub", s, m))))).toBe("exp(((-1 * tau) * (m - was.m)))"));
  it("sees through guards and factors", () =>
    expect(of(apply("select", "real", variable("c"), call2("mul", s, exp(call2("sub", s, m))), real(0)))).toBe("exp((-1 * (m - was.m)))"));
  it("adds to a maximum", () => expect(of(call2("sub", s, m), "max")).toBe("(-1 * (m - was.m))"));
  it("is impossible for a quotient, which may divide by what is still empty", () => expect(of(call2("div", exp(s), m))).toBe("impossible"));
  it("is impossible where the difference is not the row's", () => expect(of(exp(call2("mul", s, m)))).toBe("impossible"));
});

describe("storing through a view", () => {
  const x = leaf({ a: 4, b: 6 });
  it("in another order of axes", () => {
    const v = view(x, { b: 6, a: 4 }, { kind: "scalar", at: { a: index("a"), b: index("b") } }, ["a", "b"]);
    expect(unviewed(v)).toEqual({ a: index("a"), b: index("b") });
  });
  it("merged: the flat index", () => {
    const at = { a: call("floor", call("div", index("c"), constant(6))), b: call("mod", index("c"), constant(6)) };
    expect(Object.keys(unviewed(view(x, { c: 24 }, { kind: "scalar", at }, ["a", "b"])) ?? {})).toEqual(["c"]);
  });
  it("not where the view repeats or leaves out", () => {
    expect(unviewed(view(x, { c: 3 }, { kind: "scalar", at: { a: index("c") } }, ["a"]))).toBe(undefined);
    expect(unviewed(view(x, { c: 4, d: 2 }, { kind: "scalar", at: { a: index("c") } }, ["a"]))).toBe(undefined);
  });
});

describe("tables over differences", () => {
  const [i, j] = [variable("i"), variable("j")];
  const d = apply("sub", "int", i, j);
  const extents = new Map([
    ["i", 100],
    ["j", 50],
  ]);
  const e = apply("log", "real", apply("add", "real", apply("toReal", "real", apply("max", "int", d, variable("zero"))), real(1)));
  it("hold as many numbers as there are differences", () => {
    const tables = new Tables();
    const f = apply("exp", "real", apply("toReal", "real", d));
    const t = tables.rewrite(f, extents, () => false);
    expect(showExpr(t)).toBe("table0[((i - j) + 49)]");
    const [b] = tables.buffers;
    expect(b && elements(b)).toBe(149);
    expect(b?.data?.[49 + 3]).toBeCloseTo(Math.exp(3), 12);
    expect(b?.data?.[49 - 49 + 0]).toBeCloseTo(Math.exp(-49), 30);
  });
  it("are none where an index stands alone too, or something unknown", () => {
    const tables = new Tables();
    const f = apply("exp", "real", apply("toReal", "real", apply("add", "int", d, j)));
    expect(tables.rewrite(f, extents, () => false)).toBe(f);
    expect(tables.rewrite(e, extents, () => false)).toBe(e);
    const b = makeBuffer("b", "f32", [{ name: "i", extent: 100 }], "input");
    const g = apply("exp", "real", apply("add", "real", load(b, [i]), apply("toReal", "real", d)));
    expect(tables.rewrite(g, extents, () => false)).toBe(g);
  });
});
