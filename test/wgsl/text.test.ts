// What the printer writes: every primitive is valid WGSL; memory is bound, packed and numbered as program.ts says; and what
// WGSL or an adapter cannot hold is refused by name, with the kernel and its nodes.
import { isLeft } from "fp-ts/lib/Either.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apply, type Buffer, type Expr, elements, int, real, variable } from "../../compiler/lower/expr.js";
import type { Axis, Nest } from "../../compiler/lower/nest.js";
import { divided } from "../../compiler/targets/wgsl/divide.js";
import { guaranteed, type WgslLimits, type WgslProgram, wgsl } from "../../compiler/targets/wgsl/index.js";
import { type Primitive, primitives } from "../../dsl/primitives.js";
import { interpret } from "../gpujs/interpret.js";
import { at, axis, input, into, output, plan, state, stream, v, values } from "../gpujs/plans.js";
import { type Validator, validator } from "./dawn.js";

const r = (prim: Primitive, ...args: Expr[]) => apply(prim, "real", ...args);
type MapNest = Extract<Nest, { form: "map" }>;
const map = (name: string, axes: readonly Axis[], stores: MapNest["stores"]): MapNest => ({ form: "map", name, nodes: [7], axes, stores });
function compiled(nests: readonly Nest[], buffers: readonly Buffer[], limits: WgslLimits = guaranteed): WgslProgram {
  const made = wgsl(limits).compile(plan(nests, buffers));
  if (isLeft(made)) throw new Error(made.left.message);
  return made.right;
}
const refusal = (nests: readonly Nest[], buffers: readonly Buffer[], limits: WgslLimits = guaranteed) => {
  const made = wgsl(limits).compile(plan(nests, buffers));
  return isLeft(made) ? made.left : undefined;
};
const dispatchesOf = (p: WgslProgram) => p.steps.flatMap((s) => (s.do === "dispatch" ? [s] : []));

let dawn: Validator;
let halves: Validator;
beforeAll(async () => {
  [dawn, halves] = await Promise.all([validator(), validator(["shader-f16"])]);
});
afterAll(() => {
  dawn[Symbol.dispose]();
  halves[Symbol.dispose]();
});

describe("Dawn accepts", () => {
  it("every primitive of reals, and random draws", async () => {
    const i = axis("i", 9);
    const [x, y] = [input("x", "f32", [i]), input("y", "f32", [i])];
    const [a, b] = [at(x, i), at(y, i)];
    const truth = (e: Expr) => apply("lt", "bool", e, real(0.5));
    const made = (Object.keys(primitives) as Primitive[]).map((prim) => {
      const { arity, type } = primitives[prim];
      const operand = prim === "and" || prim === "or" || prim === "not" ? truth : (e: Expr) => e;
      const args = prim === "select" ? [truth(a), a, b] : [operand(a), operand(b), operand(real(0.25))].slice(0, arity);
      const call = apply(prim, prim === "toI32" ? "int" : type(args.map((e) => e.type)), ...args);
      const out = output(prim, "f32", [i]);
      return { out, nest: map(prim, [i], [into(out, [i], call.type === "real" ? call : r("toReal", call))]) };
    });
    const program = compiled(
      made.map((m) => m.nest),
      [x, y, ...made.map((m) => m.out)],
    );
    expect(await dawn.problems(program)).toEqual([]);
  });
  it("primitives of integers, numbers that are none, infinite or zero, and names that WGSL has taken", async () => {
    const names = ["neg", "abs", "sign", "floor", "add", "mul", "min", "mod", "idiv", "imod"] as const;
    const [i, j] = [axis("loop", 9), axis("fn", 9)];
    const whole = names.map((prim) => {
      const out = output(prim === "min" ? "array" : prim, "f32", [i, j]);
      const args = [v(i), apply("add", "int", v(j), v(i))].slice(0, ["neg", "abs", "sign", "floor"].includes(prim) ? 1 : 2);
      return { out, nest: map(prim, [i, j], [into(out, [i, j], r("toReal", apply(prim, "int", ...args)))]) };
    });
    const numbers = [Number.NaN, Infinity, -Infinity, -0, 1e-45, 3.4028234663852886e38].map((x, k) => {
      const out = output(`var${k}`, "f32", [i]);
      return { out, nest: map(`number${k}`, [i], [into(out, [i], r("max", real(x), r("toReal", v(i))))]) };
    });
    const all = [...whole, ...numbers];
    const program = compiled(
      all.map((m) => m.nest),
      all.map((m) => m.out),
    );
    expect(await dawn.problems(program)).toEqual([]);
    const readable = program.kernels.map(({ name, source }) => ({ name, source, access: ["read_write"] as const, ints: 0 }));
    for (const k of readable) expect(await dawn.pipeline(k), k.name).toEqual([]);
    expect(readable.map((k) => k.source).join("\n")).toContain("(-3e+38f)");
  });
  it("and rejects a barrier that not all invocations reach", async () => {
    const source = `@compute @workgroup_size(8) fn main(@builtin(local_invocation_id) i: vec3<u32>) { if (i.x < 3u) { workgroupBarrier(); } }`;
    expect((await dawn.pipeline({ source, access: [], ints: 0 })).join()).toContain("must only be called from uniform control flow");
  });
});

describe("memory", () => {
  it("kernels that are equal but for names and places are one pipeline", () => {
    const n = axis("n", 64);
    const [x, y, a, b] = [input("x", "f32", [n]), output("y", "f32", [n]), input("a", "f32", [n]), output("b", "f32", [n])];
    const program = compiled([map("one", [n], [into(y, [n], at(x, n))]), map("two", [n], [into(b, [n], at(a, n))])], [x, y, a, b]);
    expect(program.pipelines.length).toBe(1);
    expect(program.kernels.map((k) => k.name)).toEqual(["one", "two"]);
    expect(dispatchesOf(program).map((d) => d.bindings)).toEqual([
      [
        { segment: "input", offset: 0, bytes: 256 },
        { segment: "output", offset: 0, bytes: 256 },
      ],
      [
        { segment: "input", offset: 256, bytes: 256 },
        { segment: "output", offset: 256, bytes: 256 },
      ],
    ]);
  });
  it("more inputs than may be bound share a binding, with places; those of the state that are large cannot", () => {
    const n = axis("n", 64);
    const many = Array.from({ length: 12 }, (_, i) => input(`x${i}`, "f32", [n]));
    const y = output("y", "f32", [n]);
    const sum = many.reduce<Expr>((e, x) => r("add", e, at(x, n)), real(0));
    const [d] = dispatchesOf(compiled([map("sum", [n], [into(y, [n], sum)])], [...many, y]));
    expect(d?.bindings.length).toBe(guaranteed.storageBuffers);
    expect(d?.ints.filter((i) => i.of === "place").length).toBe(10); // five pairs
    const wide = axis("n", 1 << 16);
    const own = Array.from({ length: 9 }, (_, i) => state(`s${i}`, "f32", [wide]));
    const total = own.reduce<Expr>((e, x) => r("add", e, at(x, wide)), real(0));
    const z = output("z", "f32", [wide]);
    expect(refusal([map("sum", [wide], [into(z, [wide], total)])], [...own, z])).toMatchObject({ target: "wgsl", kernel: "sum", nodes: [7] });
    const small = own.map((_, i) => state(`t${i}`, "f32", [n]));
    const few = small.reduce<Expr>((e, x) => r("add", e, at(x, n)), real(0));
    const [one] = dispatchesOf(compiled([map("sum", [n], [into(y, [n], few)])], [...small, y]));
    expect(one?.bindings).toContainEqual({ segment: "state", path: null });
  });
  it("halves are whole words where four lie together, else two atomic operations; native ones where the adapter has them", async () => {
    for (const size of [64, 63]) {
      const n = axis("n", size);
      const [x, y] = [input("x", "bf16", [n]), output("y", "f16", [n])];
      const nest = map("halve", [n], [into(y, [n], r("mul", at(x, n), real(0.5)))]);
      const packed = compiled([nest], [x, y]);
      expect(packed.pipelines[0]?.source.includes("atomicAnd")).toBe(size === 63);
      expect(await dawn.problems(packed)).toEqual([]);
      const native = compiled([nest], [x, y], { ...guaranteed, f16: true });
      expect(native.pipelines[0]?.features).toEqual(["shader-f16"]);
      expect(native.pipelines[0]?.source).toContain("array<f16>");
      expect(await halves.problems(native)).toEqual([]);
    }
  });
  it("what is rounded to 16 bits after one operation on such numbers is computed in 16 bits, where the adapter has them", async () => {
    const n = axis("n", 64);
    const [x, z, y] = [input("x", "f16", [n]), input("z", "f16", [n]), output("y", "f16", [n])];
    const rounded = r("toF16", r("mul", at(x, n), r("toF16", r("add", at(z, n), at(x, n)))));
    const nest = map("halves", [n], [into(y, [n], r("add", rounded, real(1)))]);
    const native = compiled([nest], [x, z, y], { ...guaranteed, f16: true });
    expect(native.kernels[0]?.source).toMatch(/f32\(\(f16\(\w+\) \* \(z\[[^\]]*\] \+ f16\(\w+\)\)\)\)/);
    expect(await halves.problems(native)).toEqual([]);
    expect(await dawn.problems(compiled([nest], [x, z, y]))).toEqual([]);
  });
  it("what WGSL cannot count in 32 bits, or an adapter cannot bind, is refused", () => {
    const [i, j] = [axis("i", 1 << 16), axis("j", 1 << 16)];
    const [x, y] = [input("x", "f32", [i, j]), output("y", "f32", [i])];
    expect(refusal([map("far", [i, j], [into(output("z", "f32", [i, j]), [i, j], at(x, i, j))])], [x])?.message).toBeDefined();
    const long = Array.from({ length: 3 }, () => variable(i.v)).reduce<Expr>((e, a) => apply("mul", "int", e, a), int(1));
    expect(refusal([map("power", [i], [into(y, [i], r("toReal", long))])], [y])?.message).toContain("32 bits");
    const n = axis("n", 1 << 20);
    const [a, b] = [input("a", "f32", [n]), output("b", "f32", [n])];
    expect(refusal([map("copy", [n], [into(b, [n], at(a, n))])], [a, b], { ...guaranteed, bindingSize: 1 << 20 })?.message).toContain(
      "a binding may have 1048576",
    );
  });
  it("more workgroups than one dimension holds are numbered in two", async () => {
    const n = axis("n", 1 << 25);
    const [x, y] = [input("x", "f32", [n]), output("y", "f32", [n])];
    const program = compiled([map("copy", [n], [into(y, [n], at(x, n))])], [x, y], { ...guaranteed, invocations: 64 });
    expect(program.pipelines[0]?.source).toContain("group.x + group.y * groups.x");
    expect(await dawn.problems(program)).toEqual([]);
  });
});

it("a nest that is divided computes what it did", () => {
  const n = axis("n", 5);
  const cells = Array.from({ length: 6 }, (_, i) => state(`s${i}`, "f32", [n]));
  const next = stream(5);
  let parts = 0;
  for (let round = 0; round < 40; round++) {
    // Each reads two others' old values.
    const pick = () => cells[Math.floor(next() * cells.length)] as Buffer;
    const nest = map(
      "update",
      [n],
      cells.map((c) => into(c, [n], r("add", r("mul", at(pick(), n), real(0.5)), next() < 0.5 ? at(pick(), n) : real(1)))),
    );
    const steps = (function all(x: Nest): readonly Nest[] {
      return divided(x)?.flatMap(all) ?? [x];
    })(nest);
    parts += steps.length;
    const start = new Map(cells.map((c) => [c, Float64Array.from(values("f32", elements(c), next))]));
    const [whole, divide] = [0, 1].map(() => new Map([...start].map(([b, d]) => [b, d.slice()])));
    interpret(plan([nest], cells), whole as Map<Buffer, Float64Array>);
    interpret(plan(steps, cells), divide as Map<Buffer, Float64Array>);
    expect(divide).toEqual(whole);
  }
  expect(parts).toBeGreaterThan(60);
});
