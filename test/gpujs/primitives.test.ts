// Accuracy of every primitive on gpu.js against its definition in f64, special values, and integers; both modes, same bits.
import { describe, expect, it } from "vitest";
import { apply, type Expr } from "../../compiler/lower/expr.js";
import { numerics } from "../../compiler/targets/gpujs/index.js";
import { type Primitive, primitives, type Value } from "../../dsl/primitives.js";
import { at, axis, device, input, into, modes, output, plan, stream } from "./plans.js";

const specials = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  0.49999997,
  8388609,
  1e-30,
  1e-42,
  3e38,
  -3e38,
  65519,
  65520,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
].map(Math.fround);
const next = stream(7);
const random = Array.from({ length: 300 }, () => Math.fround((next() - 0.5) * 10 ** (next() * 8 - 4)));
const points = [...specials, ...random];

/** Half the distance between neighbours of x in f32, at least that of the least denormal. */
const halfUlp = (x: number) => Math.max(2 ** (Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -126))) - 24), 2 ** -150);
const loose: Partial<Record<Primitive, number>> = { hypot: 1.6 }; // partial: the others keep to the target's declared ulp

type Kind = "real" | "bool" | "int";
const bools: readonly Primitive[] = ["and", "or", "not"];
const comparisons: readonly Primitive[] = ["lt", "le", "gt", "ge", "eq", "ne"];

async function run(mode: (typeof modes)[number], prim: Primitive, result: Kind, columns: readonly Float32Array[], kinds: readonly Kind[]) {
  const n = axis("n", columns[0]?.length ?? 0);
  const dtype = (k: Kind) => (k === "real" ? "f32" : k === "int" ? "i32" : "bool");
  const xs = columns.map((_, k) => input(`x${k}`, dtype(kinds[k] as Kind), [n]));
  const y = output("y", dtype(result), [n]);
  const nest = {
    form: "map" as const,
    name: prim,
    nodes: [],
    axes: [n],
    stores: [into(y, [n], apply(prim, result, ...xs.map((x): Expr => at(x, n))))],
  };
  using d = await device(mode);
  using program = await d.compile(plan([nest], [...xs, y]));
  using s = await d.alloc([]);
  const out = await program.run(s, Object.fromEntries(columns.map((c, k) => [`x${k}`, c])), new Map());
  return out.y as ArrayLike<number>;
}

describe("reals", () => {
  for (const prim of Object.keys(primitives) as Primitive[]) {
    if (bools.includes(prim) || prim === "select" || prim === "toBool" || prim === "toI32" || prim === "toReal") continue;
    const { arity } = primitives[prim];
    it(prim, async () => {
      // Every point with itself and with two others.
      const columns = Array.from({ length: arity }, (_, k) =>
        Float32Array.from(
          { length: points.length * 3 },
          (_, i) => points[(i * (1 + k * 7) + (k > 0 ? Math.floor(i / points.length) * k : 0)) % points.length] as number,
        ),
      );
      const kind = comparisons.includes(prim) ? "bool" : "real";
      const results = [];
      for (const mode of modes)
        results.push(
          await run(
            mode,
            prim,
            kind,
            columns,
            columns.map(() => "real" as const),
          ),
        );
      const [webasm, cpu] = results as [ArrayLike<number>, ArrayLike<number>];
      expect(cpu).toEqual(webasm);
      const f = primitives[prim].value as (...x: Value[]) => Value;
      let worst = 0;
      for (let i = 0; i < webasm.length; i++) {
        const args = columns.map((c) => c[i] as number);
        const want = Number(f(...args));
        const got = webasm[i] as number;
        const rounded = Math.fround(want);
        if (!Number.isFinite(rounded)) {
          expect(got, `${prim}(${args})`).toBe(rounded);
          continue;
        }
        const off = Math.abs(got - want) / (2 * halfUlp(want));
        worst = Math.max(worst, off);
        if (prim.startsWith("toBf") || prim.startsWith("toF16")) expect(got, `${prim}(${args})`).toBe(want);
        else expect(off, `${prim}(${args}): got ${got}, expected ${want}`).toBeLessThanOrEqual(loose[prim] ?? numerics.ulp);
      }
    });
  }
  it("fma keeps what a rounded product would lose", async () => {
    const a = Float32Array.from({ length: 400 }, () => Math.fround((next() - 0.5) * 10 ** (next() * 8 - 4)));
    const b = Float32Array.from({ length: 400 }, () => Math.fround((next() - 0.5) * 10 ** (next() * 8 - 4)));
    // Every second sum cancels all of the product but its rounding error.
    const c = a.map((x, i) => (i % 2 ? -x * (b[i] as number) : (next() - 0.5) * x * (b[i] as number)));
    const f = primitives.fma.value as (...x: Value[]) => Value;
    for (const mode of modes) {
      const got = await run(mode, "fma", "real", [a, b, c], ["real", "real", "real"]);
      for (let i = 0; i < a.length; i++) {
        const want = Number(f(a[i] as number, b[i] as number, c[i] as number));
        expect(Math.abs((got[i] as number) - want) / (2 * halfUlp(want)), `fma(${a[i]}, ${b[i]}, ${c[i]})`).toBeLessThanOrEqual(numerics.ulp);
      }
    }
  });
  it("toI32 truncates and saturates; NaN is 0", async () => {
    // Results are f32 on their way out: 2^24 and more are refused as integers, so they are looked at as reals.
    const x = Float32Array.from([1.9, -1.9, Number.NaN, 0, 16777215]);
    for (const mode of modes) expect([...((await run(mode, "toI32", "int", [x], ["real"])) as Int32Array)]).toEqual([1, -1, 0, 0, 16777215]);
  });
  it("select takes either side whatever the other holds", async () => {
    const c = Float32Array.from([1, 0, 1, 0]);
    const x = Float32Array.from([1, Number.NaN, Number.NEGATIVE_INFINITY, 4]);
    const y = Float32Array.from([Number.NaN, 2, 3, Number.POSITIVE_INFINITY]);
    for (const mode of modes)
      expect([...((await run(mode, "select", "real", [c, x, y], ["bool", "real", "real"])) as Float32Array)]).toEqual([
        1,
        2,
        Number.NEGATIVE_INFINITY,
        Number.POSITIVE_INFINITY,
      ]);
  });
});

describe("integers and bools", () => {
  const a = Float32Array.from({ length: 441 }, (_, i) => Math.floor(i / 21) - 10);
  const b = Float32Array.from({ length: 441 }, (_, i) => (i % 21) - 10);
  const positive = b.map((x) => Math.abs(x) + 1);
  for (const prim of ["add", "sub", "mul", "min", "max", "neg", "abs", "sign", "floor", "mod", ...comparisons] as const)
    it(prim, async () => {
      const columns = primitives[prim].arity === 1 ? [a] : [a, prim === "mod" ? positive.map((x, i) => (i % 2 ? x : -x)) : b];
      const kind = comparisons.includes(prim) ? "bool" : "int";
      const f = primitives[prim].value as (...x: Value[]) => Value;
      const want = Array.from(a, (_, i) => Number(f(...columns.map((c) => c[i] as number))) + 0);
      for (const mode of modes)
        expect(
          Array.from(
            await run(
              mode,
              prim,
              kind,
              columns,
              columns.map(() => "int" as const),
            ),
          ),
        ).toEqual(want);
    });
  for (const prim of ["and", "or", "not"] as const)
    it(prim, async () => {
      const columns = [Float32Array.from([0, 0, 1, 1]), Float32Array.from([0, 1, 0, 1])].slice(0, primitives[prim].arity);
      const f = primitives[prim].value as (...x: Value[]) => Value;
      const want = Array.from({ length: 4 }, (_, i) => Number(f(...columns.map((c) => c[i] === 1))));
      for (const mode of modes)
        expect(
          Array.from(
            await run(
              mode,
              prim,
              "bool",
              columns,
              columns.map(() => "bool" as const),
            ),
          ),
        ).toEqual(want);
    });
  it("divides exactly where f32 quotients round: dividends of 2^24 and more, made of i32 values", async () => {
    const n = axis("n", 6);
    const x = input("x", "i32", [n]);
    const y = output("y", "i32", [n]);
    const i = (prim: Parameters<typeof apply>[0], ...args: Expr[]) => apply(prim, "int", ...args);
    const big = i("add", i("mul", at(x, n), { ...apply("add", "int", at(x, n), at(x, n)) }), at(x, n));
    const nest = {
      form: "map" as const,
      name: "div",
      nodes: [],
      axes: [n],
      stores: [into(y, [n], i("idiv", big, i("add", at(x, n), i("abs", at(x, n)))))],
    };
    const given = Float32Array.from([1, 2, 1001, 20011, 32003, 32767]);
    for (const mode of modes) {
      using d = await device(mode);
      using program = await d.compile(plan([nest], [x, y]));
      using s = await d.alloc([]);
      const out = await program.run(s, { x: given }, new Map());
      expect(Array.from(out.y as Int32Array)).toEqual(Array.from(given, (v) => Math.floor((v * (v + v) + v) / (v + v))));
    }
  });
});
