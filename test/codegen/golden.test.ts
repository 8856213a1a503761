// The generated text of a few kernels, reviewed: a change of code generation is seen here.
import { expect, it } from "vitest";
import { showKernel } from "../../compiler/loop/print.js";
import { scheduled } from "../../compiler/loop/recipes/index.js";
import { apply, type Buffer, buffer, type Expr, int, load, local, real, variable } from "../../compiler/lower/expr.js";
import type { Monoid, Nest } from "../../compiler/lower/nest.js";
import { cLimits } from "../../compiler/targets/c/limits.js";
import { printKernel } from "../../compiler/targets/c/print.js";

const axes = (sizes: Record<string, number>) => Object.entries(sizes).map(([name, extent]) => ({ name, extent }));
const v = variable;
const at = (name: string) => [local(`x.${name}`, "real"), local(`y.${name}`, "real")] as const;
const monoid = (kind: "sum" | "max"): Monoid => ({
  names: ["s"],
  empty: [kind === "sum" ? 0 : Number.NEGATIVE_INFINITY],
  combine: [apply(kind === "sum" ? "add" : "max", "real", ...at("s"))],
  kind,
});
const text = (nest: Nest) => printKernel(scheduled(nest, cLimits), new Map()).source;

const x = buffer("x", "f32", axes({ row: 64, column: 100 }), "input");
const y = buffer("y", "f32", axes({ row: 64, column: 100 }), "output");
const here = load(x, [v("row"), v("column")]);

it("point-wise: a shifted difference", () => {
  const before = load(x, [v("row"), apply("sub", "int", v("column"), int(1))], apply("le", "bool", int(1), v("column")));
  const nest: Nest = {
    form: "map",
    name: "difference",
    nodes: [],
    axes: [
      { v: "row", extent: 64 },
      { v: "column", extent: 100 },
    ],
    stores: [{ buffer: y, index: [v("row"), v("column")], value: apply("sub", "real", here, before) }],
  };
  expect(text(nest)).toMatchSnapshot();
});

it("a row: softmax", () => {
  const over = (n: string) => [{ v: n, extent: 100 }];
  const at2 = (n: string) => load(x, [v("row"), v(n)]);
  const e = (n: string) => apply("exp", "real", apply("sub", "real", at2(n), local("max", "real")));
  const nest: Nest = {
    form: "row",
    name: "softmax",
    nodes: [],
    rows: [{ v: "row", extent: 64 }],
    stages: [
      { stage: "fold", over: over("j"), monoid: monoid("max"), elements: [at2("j")], bind: ["max"] },
      { stage: "fold", over: over("k"), monoid: monoid("sum"), elements: [e("k")], bind: ["sum"] },
      {
        stage: "map",
        axes: over("l"),
        stores: [{ buffer: y, index: [v("row"), v("l")], value: apply("mul", "real", e("l"), apply("recip0", "real", local("sum", "real"))) }],
      },
    ],
  };
  expect(text(nest)).toMatchSnapshot();
});

it("a contraction: its loops", () => {
  const a = buffer("a", "f32", axes({ m: 64, k: 32 }), "input");
  const b = buffer("b", "f32", axes({ k: 32, n: 48 }), "input");
  const c = buffer("c", "f32", axes({ m: 64, n: 48 }), "output");
  const nest: Nest = {
    form: "contract",
    name: "product",
    nodes: [],
    batch: [],
    m: [{ v: "m", extent: 64 }],
    n: [{ v: "n", extent: 48 }],
    k: [{ v: "k", extent: 32 }],
    a: load(a, [v("m"), v("k")]),
    b: load(b, [v("k"), v("n")]),
    stores: [{ buffer: c, index: [v("m"), v("n")], value: apply("max", "real", local("sum", "real"), real(0)) }],
  };
  // Names as the C printer gives them, so that the text depends on the kernel alone.
  expect(text(nest)).toMatchSnapshot();
  expect(showKernel(scheduled(nest, cLimits)).replace(/_\d+/g, "")).toMatchSnapshot();
});

it("tiles: causal attention, its loops", () => {
  const [q, k, w] = ["q", "k", "w"].map((name) => buffer(name, "f32", axes({ t: 128, d: 32 }), "input")) as [Buffer, Buffer, Buffer];
  const out = buffer("out", "f32", axes({ t: 128, d: 32 }), "output");
  const [m, score] = [local("m", "real"), local("score", "real")];
  const inside = apply("le", "bool", v("j"), v("i"));
  const masked = apply("select", "real", inside, apply("mul", "real", score, real(0.25)), real(-Infinity));
  const above = (x: Expr) => apply("max", "real", x, real(-1e30));
  const weight = apply("exp", "real", apply("sub", "real", masked, above(m)));
  const rescale = apply("exp", "real", apply("sub", "real", above(local("was.m", "real")), above(m)));
  const row = { n: [], b: null, at: null };
  const n = [{ v: "n", extent: 32 }];
  const nest: Nest = {
    form: "tiles",
    name: "attention",
    nodes: [],
    batch: [],
    rows: [{ v: "i", extent: 128 }],
    over: [{ v: "j", extent: 128 }],
    sides: [],
    dots: [{ name: "score", k: [{ v: "d", extent: 32 }], a: load(q, [v("i"), v("d")]), b: load(k, [v("j"), v("d")]) }],
    mask: inside,
    folds: [
      { bind: ["m"], monoid: monoid("max"), elements: [masked], rescale: null, ...row },
      { bind: ["l"], monoid: monoid("sum"), elements: [weight], rescale, ...row },
      { bind: ["acc"], monoid: monoid("sum"), elements: [weight], rescale, n, b: load(w, [v("j"), v("n")]), at: null },
    ],
    columns: [],
    quads: [],
    stores: [{ n, stores: [{ buffer: out, index: [v("i"), v("n")], value: apply("div", "real", local("acc", "real"), local("l", "real")) }] }],
  };
  expect(showKernel(scheduled(nest, cLimits)).replace(/_\d+/g, "")).toMatchSnapshot();
});

it("text does not depend on what was compiled before", () => {
  const nest: Nest = {
    form: "map",
    name: "twice",
    nodes: [],
    axes: [
      { v: "row", extent: 64 },
      { v: "column", extent: 100 },
    ],
    stores: [{ buffer: y, index: [v("row"), v("column")], value: apply("add", "real", here, here) }],
  };
  const first = text(nest);
  expect(text(nest)).toBe(first);
});
