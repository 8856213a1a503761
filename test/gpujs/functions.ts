// How accurate a device's functions of numbers are: each primitive at the same 600 points, beside JavaScript's in f64, and
// what becomes of NaN.
import { expect } from "vitest";
import { apply, type Buffer, type Expr } from "../../compiler/lower/expr.js";
import { type Primitive, primitives, type Value } from "../../dsl/primitives.js";
import type { Device } from "../../runtime/device.js";
import { at, axis, input, into, output, plan, stream } from "./plans.js";

/** Half the distance between neighbours of x in f32, at least that of the least normal number. */
const halfUlp = (x: number) => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -126))) - 24);

const next = stream(7);
const points = Float32Array.from({ length: 600 }, (_, i) => (i < 300 ? (next() - 0.5) * 10 ** (next() * 8 - 4) : (next() - 0.5) * 8));
const others = (step: number) => points.map((_, i) => points[(i * step + 3) % points.length] as number);
const columns = [points, others(7), others(11)];

const comparisons: readonly Primitive[] = ["lt", "le", "gt", "ge", "eq", "ne"];
const apart: readonly Primitive[] = ["and", "or", "not", "select", "toBool", "toReal", "toI32"];
const functions = (Object.keys(primitives) as Primitive[]).filter((p) => !apart.includes(p));
const exact: readonly Primitive[] = [
  "neg",
  "mod",
  "min",
  "max",
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
  "toF32",
  "toBf16",
  "toF16",
  ...comparisons,
];
const rounded: readonly Primitive[] = ["add", "sub", "mul", "fma"];
/** Units in the last place. A power's error grows with its exponent, which is up to 5000 here. */
export const barOf = (p: Primitive): number => (exact.includes(p) ? 0 : rounded.includes(p) ? 0.51 : p === "pow" ? 40 : 3);

/** `infinities`: it has them; else what is beyond f32, and what is infinite, is not looked at. */
export async function expectFunctions(d: Device, bars: (p: Primitive) => number, infinities: boolean): Promise<void> {
  const n = axis("n", points.length);
  const inputs = ["x", "y", "z"].map((name) => input(name, "f32", [n]));
  const outputs = functions.map((p) => output(`out_${p}`, "f32", [n]));
  const nests = functions.map((p, k) => {
    const args = inputs.slice(0, primitives[p].arity).map((b): Expr => at(b, n));
    const value = apply("toReal", "real", apply(p, comparisons.includes(p) ? "bool" : "real", ...args));
    return { form: "map" as const, name: p, nodes: [], axes: [n], stores: [into(outputs[k] as Buffer, [n], value)] };
  });
  using program = await d.compile(plan(nests, [...inputs, ...outputs]));
  using s = await d.alloc([]);
  const got = await program.run(s, Object.fromEntries(["x", "y", "z"].map((name, k) => [name, columns[k] as Float32Array])), new Map());
  for (const p of functions) {
    const f = primitives[p].value as (...x: Value[]) => Value;
    for (let i = 0; i < points.length; i++) {
      const args = columns.slice(0, primitives[p].arity).map((c) => c[i] as number);
      const want = Number(f(...args));
      const result = got[`out_${p}`]?.[i] as number;
      if (!infinities && Math.abs(Math.fround(want)) === Number.POSITIVE_INFINITY) continue;
      if (!Number.isFinite(Math.fround(want))) expect(result, `${p}(${args})`).toBe(Math.fround(want));
      // Subnormal numbers are 0.
      else if (Math.abs(want) < 2 ** -126) expect(Math.abs(result), `${p}(${args})`).toBeLessThan(2 ** -125);
      else expect(Math.abs(result - want) / (2 * halfUlp(want)), `${p}(${args}): got ${result}, expected ${want}`).toBeLessThanOrEqual(bars(p));
    }
  }
}
