// The workgroup-tiled product derived from contract nests: its loop IR gives the right numbers, its text passes Dawn's
// own validation (null back end: no GPU needed), and what WGSL cannot hold is refused by name.
import * as E from "fp-ts/lib/Either.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, globals } from "webgpu";
import { place } from "../../compiler/loop/place.js";
import { apply, type Buffer, type Expr, elements, extentVar, local, real } from "../../compiler/lower/expr.js";
import type { Axis, Nest } from "../../compiler/lower/nest.js";
import { tiled, type WgslKernel, wgsl } from "../../compiler/targets/wgsl/index.js";
import { type DType, UpTo } from "../../dsl/node.js";
import { type Primitive, primitives } from "../../dsl/primitives.js";
import { interpret } from "../gpujs/interpret.js";
import { at, axis, input, into, output, plan, state, stream, v, values } from "../gpujs/plans.js";
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
const kernelOf = (c: Case, extents: readonly UpTo[] = []): WgslKernel => {
  const made = wgsl.compile(plan([c.nest], c.buffers, extents));
  if (E.isLeft(made)) throw new Error(made.left.message);
  return made.right.kernels[0] as WgslKernel;
};
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
      simulate(place({ name: "product", nodes: [], body: tiled(c.nest) }), memory);
      for (const x of c.buffers) {
        const [got, want] = [memory.get(x) as Float64Array, reference.get(x) as Float64Array];
        for (let i = 0; i < want.length; i++) expect(got[i], `${x.name}[${i}]`).toBeCloseTo(want[i] as number, 10);
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
    simulate(place({ name: "update", nodes: [], body: tiled(nest) }), memory);
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
    simulate(place({ name: "product", nodes: [], body: tiled(c.nest) }), memory, new Map([[name.kind === "var" ? name.name : "", 66]]));
    for (const x of c.buffers) for (const [i, want] of (reference.get(x) as Float64Array).entries()) expect(memory.get(x)?.[i]).toBeCloseTo(want, 10);
  });
});

describe("Dawn", () => {
  let device: GPUDevice;
  // The process cannot exit while this object is reachable.
  let gpu: GPU | null = null;
  beforeAll(async () => {
    Object.assign(globalThis, globals);
    gpu = create(["backend=null"]);
    const adapter = await gpu.requestAdapter();
    if (!adapter) throw new Error("the null back end has no adapter");
    device = await adapter.requestDevice();
  });
  afterAll(() => {
    device.destroy();
    gpu = null;
  });
  /** What Dawn says of a shader and of the pipeline made of it. */
  async function problems(source: string): Promise<readonly string[]> {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: source });
    const info = await module.getCompilationInfo();
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
    const error = await device.popErrorScope();
    const errors = info.messages.filter((m) => m.type === "error").map((m) => `${m.lineNum}: ${m.message}`);
    return error && errors.length === 0 ? [error.message] : errors;
  }

  for (const [b, m, n, k] of sizes)
    it(`accepts ${b} × ${m.join("·")} × ${n} over ${k.join("·")}`, async () => {
      const c = product(
        axis("b", b),
        m.map((x) => axis("m", x)),
        axis("n", n),
        k.map((x) => axis("k", x)),
      );
      expect(await problems(kernelOf(c).source)).toEqual([]);
    });
  it("accepts run-time extents: barriers depend on uniform values alone", async () => {
    const t = new UpTo(70, "t");
    const made = kernelOf(product(axis("b", 1), [axis("m", t)], axis("n", 3), [axis("k", t)]), [t]);
    expect(made.ints).toEqual([`n_t_${t.id}`]);
    expect(await problems(made.source)).toEqual([]);
  });
  it("rejects a barrier that not all invocations reach", async () => {
    const source = kernelOf(product(axis("b", 1), [axis("m", 9)], axis("n", 9), [axis("k", 9)])).source;
    const wrong = source.replace("workgroupBarrier();", "if (invocation.x < 3u) { workgroupBarrier(); }");
    expect(wrong).not.toBe(source);
    expect((await problems(wrong)).join()).toContain("must only be called from uniform control flow");
  });
  for (const prim of Object.keys(primitives) as Primitive[])
    it(`accepts ${prim}`, async () => {
      const { arity, type } = primitives[prim];
      const epilogue = (s: Expr, bias: Expr): Expr => {
        const truth = (e: Expr) => apply("lt", "bool", e, real(0.5));
        const operand = prim === "and" || prim === "or" || prim === "not" ? truth : (e: Expr) => e;
        const args = prim === "select" ? [truth(s), s, bias] : [operand(s), operand(bias), operand(real(0.25))].slice(0, arity);
        const result = type(args.map((a) => a.type));
        const call = apply(prim, prim === "toI32" ? "int" : result, ...args);
        return call.type === "real" ? call : r("toReal", call);
      };
      expect(await problems(kernelOf(product(axis("b", 1), [axis("m", 9)], axis("n", 9), [axis("k", 9)], epilogue)).source)).toEqual([]);
    });
  it("accepts primitives of integers", async () => {
    const ints: readonly (readonly [Primitive | "idiv" | "imod", number])[] = [
      ["neg", 1],
      ["abs", 1],
      ["sign", 1],
      ["floor", 1],
      ["add", 2],
      ["mul", 2],
      ["min", 2],
      ["mod", 2],
      ["idiv", 2],
      ["imod", 2],
    ];
    for (const [prim, arity] of ints) {
      const [m, n] = [axis("m", 9), axis("n", 9)];
      const c = product(axis("b", 1), [m], n, [axis("k", 9)], (s) =>
        r("add", s, r("toReal", apply(prim, "int", ...[v(m), apply("add", "int", v(n), v(m))].slice(0, arity)))),
      );
      expect(await problems(kernelOf(c).source), prim).toEqual([]);
    }
  });
});

describe("the kernel's text", () => {
  const made = () => kernelOf(product(axis("b", 2), [axis("m", 100)], axis("n", 70), [axis("k", 300)]));
  it("has two workgroup tiles, two barriers and one dispatch of 2 × 2 × 2 workgroups", () => {
    const { source, dispatch, workgroupSize, buffers } = made();
    expect(source.match(/var<workgroup>/g)?.length).toBe(2);
    expect(source.match(/workgroupBarrier/g)?.length).toBe(2);
    expect(workgroupSize).toEqual([16, 16, 1]);
    expect(dispatch.map((e) => e.kind === "num" && e.value)).toEqual([2, 2, 2]);
    expect(buffers.map((b) => [b.buffer.name, b.access])).toEqual([
      ["x", "read"],
      ["w", "read"],
      ["y", "read_write"],
    ]);
  });
  it("refuses what WGSL or this target lacks, with the kernel's name and nodes", () => {
    const refused = (c: Case) => {
      const got = wgsl.compile(plan([c.nest], c.buffers));
      return E.isLeft(got) ? got.left : undefined;
    };
    const [b, m, n, k] = [axis("b", 1), axis("m", 3), axis("n", 3), axis("k", 3)];
    expect(refused(product(b, [m], n, [k], (s) => r("add", s, real(Number.NaN))))).toMatchObject({ target: "wgsl", kernel: "product", nodes: [7] });
    expect(refused(product(b, [m], n, [k], undefined, "bf16"))?.message).toContain("buffer x of type bf16");
    const many = Array.from({ length: 8 }, (_, i) => input(`c${i}`, "f32", [n]));
    expect(refused(product(b, [m], n, [k], (s) => many.reduce((e, x) => r("add", e, at(x, n)), s)))?.message).toContain(
      "11 buffers: a shader may bind 8",
    );
    const y = output("y", "f32", [m]);
    const map = wgsl.compile(plan([{ form: "map", name: "copy", nodes: [], axes: [m], stores: [into(y, [m], real(1))] }], [y]));
    expect(E.isLeft(map) && map.left.message).toContain("a map nest");
  });
  it("writes infinities as the finite mask", () => {
    const [b, m, n, k] = [axis("b", 1), axis("m", 3), axis("n", 3), axis("k", 3)];
    expect(kernelOf(product(b, [m], n, [k], (s) => r("max", s, real(Number.NEGATIVE_INFINITY)))).source).toContain("-3e+38");
  });
});
