// The workgroup-tiled product derived from contract nests: its loop IR gives the right numbers.
import { describe, expect, it } from "vitest";
import { place } from "../../compiler/loop/place.js";
import { productOf } from "../../compiler/loop/product.js";
import { restartNames } from "../../compiler/loop/spans.js";
import { apply, type Buffer, type Expr, elements, extentVar, local, real } from "../../compiler/lower/expr.js";
import type { Axis, Nest } from "../../compiler/lower/nest.js";
import { guaranteed } from "../../compiler/targets/wgsl/limits.js";
import { contract, TILES } from "../../compiler/targets/wgsl/recipes/contract.js";
import { directProduct, isDirect } from "../../compiler/targets/wgsl/recipes/direct.js";
import { tiledProduct } from "../../compiler/targets/wgsl/recipes/product.js";
import { type DType, UpTo } from "../../dsl/node.js";
import type { Primitive } from "../../dsl/primitives.js";
import { interpret } from "../gpujs/interpret.js";
import { at, axis, input, into, output, plan, state, stream, values } from "../gpujs/plans.js";
import { simulate } from "./simulate.js";

const r = (prim: Primitive, ...args: Expr[]) => apply(prim, "real", ...args);
const sum = local("sum", "real");

interface Case {
  readonly nest: Extract<Nest, { form: "contract" }>;
  readonly buffers: readonly Buffer[];
}
/** y[b, n, m] = value(Σ_k x[b, m, k]·w[k, n]), with m and k of two axes each. */
function product(
  batch: Axis,
  m: readonly Axis[],
  n: Axis,
  k: readonly Axis[],
  value: (sum: Expr, bias: Expr) => Expr = (s) => s,
  dtype: DType = "f32",
): Case {
  const [x, w, bias] = [input("x", dtype, [batch, ...m, ...k]), input("w", "f32", [...k, n]), input("bias", "f32", [n])];
  const y = output("y", "f32", [batch, n, ...m]);
  return {
    nest: {
      form: "contract",
      name: "product",
      nodes: [7],
      batch: [batch],
      m,
      n: [n],
      k,
      a: at(x, batch, ...m, ...k),
      b: at(w, ...k, n),
      stores: [into(y, [batch, n, ...m], value(sum, at(bias, n)))],
    },
    buffers: [x, w, bias, y],
  };
}
const sizes: readonly (readonly [number, readonly number[], number, readonly number[]])[] = [
  [1, [1], 1, [1]],
  [2, [5, 7], 3, [2, 11]],
  [1, [65], 67, [17]],
  [1, [3], 2, [270]],
  [2, [3], 4, [0]],
  [0, [3], 4, [5]],
];

describe("loop IR", () => {
  for (const [b, m, n, k] of sizes)
    it(`${b} × ${m.join("·")} × ${n} over ${k.join("·")}`, () => {
      const c = product(
        axis("b", b),
        m.map((x) => axis("m", x)),
        axis("n", n),
        k.map((x) => axis("k", x)),
        (s, bias) => r("tanh", r("add", s, bias)),
      );
      const next = stream(b + n);
      const reference = new Map(c.buffers.map((x) => [x, Float64Array.from(values("f32", elements(x), next))]));
      const memory = new Map(
        [...reference].map(([x, data]) => [x, x.role === "output" ? new Float64Array(data.length).fill(Number.NaN) : data.slice()]),
      );
      interpret(plan([c.nest], c.buffers), reference);
      simulate(place({ name: "product", nodes: [], body: contract(c.nest, guaranteed) }), memory);
      for (const x of c.buffers) {
        const [got, want] = [memory.get(x) as Float64Array, reference.get(x) as Float64Array];
        for (let i = 0; i < want.length; i++) expect(got[i], `${x.name}[${i}]`).toBeCloseTo(want[i] as number, 10);
      }
    });
  // Sizes that hold whole groups of four and those that do not; operands and results that lie along k, rows or columns.
  for (const [t, [y, x, rows, columns, slices]] of TILES.entries())
    for (const [odd, depth] of [
      [0, 4],
      [1, 8],
    ] as const)
      it(`tiles of ${y}·${rows} × ${x}·${columns}, ${slices} slices, ${odd ? "odd" : "even"} sizes`, () => {
        const [m, n, k, b] = [axis("m", 20 + odd), axis("n", 36 + odd), axis("k", 12 + odd), axis("b", 2)];
        const turned = <T>(turn: number, ...pair: readonly [T, T]) => ((t + odd) & turn ? [...pair].reverse() : pair);
        const [p, w] = [input("p", "f32", [b, ...turned(1, m, k)]), input("w", "f32", [b, ...turned(2, k, n)])];
        const out = output("out", "f32", [b, ...turned(4, m, n)]);
        const state_ = state("s", "f32", [b, m, n]);
        const nest: Case["nest"] = {
          form: "contract",
          name: "product",
          nodes: [],
          batch: [b],
          m: [m],
          n: [n],
          k: [k],
          a: at(p, b, ...turned(1, m, k)),
          b: t % 3 ? at(w, b, ...turned(2, k, n)) : r("exp", at(w, b, ...turned(2, k, n))),
          stores: [into(out, [b, ...turned(4, m, n)], r("mul", sum, real(2))), into(state_, [b, m, n], r("add", at(state_, b, m, n), sum))],
        };
        const all = [p, w, out, state_];
        const next = stream(t);
        const reference = new Map(all.map((s) => [s, Float64Array.from(values("f32", elements(s), next))]));
        const start = new Map([...reference].map(([s, data]) => [s, data.slice()]));
        interpret(plan([nest], all), reference);
        const made = productOf(nest);
        // The same product also by invocations that share nothing.
        const makes = [
          () => tiledProduct(made, { y, x, rows, columns, slices, depth }),
          () => directProduct(made, { rows, columns, invocations: x }),
        ];
        for (const make of makes.slice(0, isDirect(made) && t % 4 < 2 ? 2 : 1)) {
          const memory = new Map([...start].map(([s, data]) => [s, data.slice()]));
          restartNames();
          simulate(place({ name: "product", nodes: [], body: make() }), memory);
          for (const s of all)
            for (const [i, want] of (reference.get(s) as Float64Array).entries())
              expect(Math.abs((memory.get(s)?.[i] as number) - want)).toBeLessThan(1e-10);
        }
      });
  it("state updated in place by two stores: both see its old value", () => {
    const [m, n, k] = [axis("m", 3), axis("n", 2), axis("k", 4)];
    const [x, w] = [input("x", "f32", [m, k]), input("w", "f32", [k, n])];
    const [s, y] = [state("s", "f32", [m, n]), output("y", "f32", [m, n])];
    const nest: Case["nest"] = {
      form: "contract",
      name: "update",
      nodes: [],
      batch: [],
      m: [m],
      n: [n],
      k: [k],
      a: at(x, m, k),
      b: at(w, k, n),
      stores: [into(s, [m, n], r("add", at(s, m, n), sum)), into(y, [m, n], r("mul", at(s, m, n), sum))],
    };
    const all = [x, w, s, y];
    const next = stream(9);
    const reference = new Map(all.map((b) => [b, Float64Array.from(values("f32", elements(b), next))]));
    const memory = new Map([...reference].map(([b, data]) => [b, data.slice()]));
    interpret(plan([nest], all), reference);
    simulate(place({ name: "update", nodes: [], body: contract(nest, guaranteed) }), memory);
    for (const b of all) for (const [i, want] of (reference.get(b) as Float64Array).entries()) expect(memory.get(b)?.[i]).toBeCloseTo(want, 10);
  });
  it("with run-time extents", () => {
    const t = new UpTo(70, "t");
    const c = product(axis("b", 1), [axis("m", t)], axis("n", 3), [axis("k", t)]);
    const next = stream(3);
    const reference = new Map(c.buffers.map((x) => [x, Float64Array.from(values("f32", elements(x), next))]));
    const memory = new Map([...reference].map(([x, data]) => [x, data.slice()]));
    const name = extentVar(t);
    interpret(plan([c.nest], c.buffers, [t]), reference, new Map([[t.id, 66]]));
    simulate(
      place({ name: "product", nodes: [], body: contract(c.nest, guaranteed) }),
      memory,
      new Map([[name.kind === "var" ? name.name : "", 66]]),
    );
    for (const x of c.buffers) for (const [i, want] of (reference.get(x) as Float64Array).entries()) expect(memory.get(x)?.[i]).toBeCloseTo(want, 10);
  });
});
