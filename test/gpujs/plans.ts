// Plans by hand, and running them on the device and on the interpreter: the helpers of this folder's tests.
import * as E from "fp-ts/lib/Either.js";
import { expect } from "vitest";
import { type Buffer, buffer, type Expr, elements, load, variable } from "../../compiler/lower/expr.js";
import type { Axis, Nest, Step } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import type { GpujsMode } from "../../compiler/targets/gpujs/index.js";
import type { DType, Extent, UpTo } from "../../dsl/node.js";
import { createGpujs } from "../../runtime/devices/gpujs/index.js";
import { interpret } from "./interpret.js";

export const modes: readonly GpujsMode[] = ["webasm", "cpu"];

let serial = 0;
export const axis = (name: string, extent: Extent): Axis => ({ v: `${name}_${serial++}`, extent });
const over = (axes: readonly Axis[]) => axes.map((a) => ({ name: a.v, extent: a.extent }));
export const input = (name: string, dtype: DType, axes: readonly Axis[]) => buffer(name, dtype, over(axes), "input");
export const output = (name: string, dtype: DType, axes: readonly Axis[]) => buffer(name, dtype, over(axes), "output");
export const temp = (name: string, dtype: DType, axes: readonly Axis[]) => buffer(name, dtype, over(axes), "temp");
export const state = (name: string, dtype: DType, axes: readonly Axis[]) => buffer(name, dtype, over(axes), "state");
export const v = (a: Axis): Expr => variable(a.v);
export const at = (b: Buffer, ...axes: readonly Axis[]): Expr => load(b, axes.map(v));
export const into = (b: Buffer, axes: readonly Axis[], value: Expr) => ({ buffer: b, index: axes.map(v), value });

export function plan(steps: readonly (Step | Nest)[], buffers: readonly Buffer[], extents: readonly UpTo[] = []): Plan {
  const named = (role: Buffer["role"]) => Object.fromEntries(buffers.filter((b) => b.role === role).map((b) => [b.name, b]));
  return {
    name: "test",
    buffers,
    steps: steps.map((s) => ("step" in s ? s : { step: "nest", nest: s })),
    extents,
    inputs: named("input"),
    outputs: named("output"),
    state: named("state"),
    offsets: new Map(),
    arenaBytes: 0,
  };
}

/** A reproducible stream in [0, 1). */
export function stream(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}
export function values(dtype: DType, n: number, next: () => number): Float32Array {
  return Float32Array.from({ length: n }, () => {
    const x = next();
    if (dtype === "bool") return x < 0.5 ? 0 : 1;
    if (dtype === "i32") return Math.floor(x * 21) - 10;
    // bf16 and f16 hold all multiples of 1/64 below 2.
    return dtype === "f32" || dtype === "f64" ? x * 4 - 2 : Math.floor(x * 256 - 128) / 64;
  });
}

export async function device(mode: GpujsMode) {
  const made = await createGpujs({ mode });
  if (E.isLeft(made)) throw made.left;
  return made.right;
}

/** How far a result may be off: f32 sums of a few hundred terms, and the storage's own rounding. */
const relative: Readonly<Record<DType, number>> = { f32: 4e-6, f64: 4e-6, bf16: 2 ** -8, f16: 2 ** -10, i32: 0, bool: 0 };

/** `slack`: for long chains of kernels, in which the error of each is carried on. */
export function compare(what: string, dtype: DType, got: ArrayLike<number>, want: ArrayLike<number>, slack = 1): void {
  expect(got.length, what).toBe(want.length);
  const most = Array.from(want).reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0);
  for (let i = 0; i < want.length; i++) {
    const [g, w] = [got[i] as number, want[i] as number];
    if (!Number.isFinite(w)) expect(g, `${what}[${i}]`).toBe(w);
    else expect(Math.abs(g - w), `${what}[${i}]: got ${g}, expected ${w}`).toBeLessThanOrEqual(slack * relative[dtype] * most);
  }
}

/** Runs a plan in both modes and compares outputs and state with the interpreter; the two modes must agree bit for bit. */
export async function check(p: Plan, given: Readonly<Record<string, ArrayLike<number>>> = {}, seed = 1, runs = 1, slack = 1): Promise<void> {
  const next = stream(seed);
  const all = { ...p.inputs, ...p.state };
  const data = new Map(Object.entries(all).map(([name, b]) => [name, given[name] ?? values(b.dtype, elements(b), next)]));
  const reference = new Map<Buffer, Float64Array>();
  for (const [name, b] of Object.entries(all)) reference.set(b, Float64Array.from(data.get(name) as ArrayLike<number>));
  for (let r = 0; r < runs; r++) interpret(p, reference);
  const seen: Record<string, ArrayLike<number>>[] = [];
  for (const mode of modes) {
    using d = await device(mode);
    using program = await d.compile(p);
    using s = await d.alloc(Object.entries(p.state).map(([path, b]) => ({ path, dtype: b.dtype, elements: elements(b) })));
    for (const path of Object.keys(p.state)) await s.write(path, data.get(path) as ArrayLike<number>);
    const inputs = Object.fromEntries(Object.keys(p.inputs).map((name) => [name, data.get(name) as ArrayLike<number>]));
    let out: Record<string, ArrayLike<number>> = {};
    for (let r = 0; r < runs; r++) out = { ...(await program.run(s, inputs, new Map())) };
    for (const path of Object.keys(p.state)) out[path] = await s.read(path);
    for (const [name, b] of Object.entries({ ...p.outputs, ...p.state }))
      compare(`${mode} ${name}`, b.dtype, out[name] as ArrayLike<number>, reference.get(b) ?? new Float64Array(elements(b)), slack);
    seen.push(out);
  }
  expect(seen[1]).toEqual(seen[0]);
}
