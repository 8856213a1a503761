// The f64 oracle on its own: spelled primitives against their table, rounding, draws, selection, loops that run backwards.
import { describe, expect, it } from "vitest";
import { statements } from "../../compiler/targets/js/spell.js";
import * as build from "../../dsl/build.js";
import { UpTo } from "../../dsl/node.js";
import { evaluate as primitive, primitiveNames, primitives } from "../../dsl/primitives.js";
import { draw } from "../../dsl/random.js";
import { arg, call, constant } from "../../dsl/scalar.js";
import { evaluate, OracleError } from "../../runtime/devices/js/oracle.js";
import { compute, type Env, input, numbers } from "./harness.js";
import { loose, type R } from "./loose.js";

const { cast, keys, normal, top, uniform, map, sum, monoid, scan, fold } = loose;

describe("the f64 oracle", () => {
  it("spells every primitive as its table has it", () => {
    const random = numbers(9);
    const special = [0, -0, 1, -1, Infinity, -Infinity, NaN, 0.5, 2 ** 40 + 0.25, -3.75];
    for (const prim of primitiveNames) {
      const { arity } = primitives[prim];
      const names = ["a", "b", "c"].slice(0, arity);
      const logical = prim === "and" || prim === "or" || prim === "not";
      const { lines, results } = statements(
        [call(prim, ...names.map(arg))],
        (t) => (t.kind === "arg" ? t.name : ""),
        () => "r",
      );
      const f = new Function("p", ...names, `${lines.join("\n")} return ${results[0]};`);
      for (let k = 0; k < 60; k++) {
        const pick = () =>
          logical ? random() < 0.5 : random() < 0.4 ? (special[Math.floor(random() * special.length)] as number) : 8 * random() - 4;
        const args = names.map((_, i) => (prim === "select" && i === 0 ? random() < 0.5 : pick()));
        expect(f(primitives, ...args)).toBe(primitive(prim, args));
      }
    }
  });
  it("rounds where a cast is written, and nowhere else", () => {
    const x = input({ i: 5 }, "f64" as R);
    const env: Env = new Map([[x, Float64Array.of(0.1, 1 / 3, 65520, 1e-8, -2.7)]]);
    const [f32, bf16, f16, i32, plain] = compute(
      [cast(x, "f32"), cast(x, "bf16"), cast(x, "f16"), cast(x, "i32"), map(x, (x: R) => x * 3)] as R[],
      env,
    ) as R;
    expect([...f32]).toEqual([0.1, 1 / 3, 65520, 1e-8, -2.7].map(Math.fround));
    expect([...bf16].slice(0, 3)).toEqual([0.10009765625, 0.333984375, 65536]);
    expect([...f16].slice(0, 3)).toEqual([0.0999755859375, 0.333251953125, Infinity]);
    expect([...i32]).toEqual([0, 0, 65520, 0, -2]);
    expect(plain[1]).toBe(1);
  });
  it("draws by key, integers and place", () => {
    const step = input({}, "i32");
    const env: Env = new Map([[step, Float64Array.of(7)]]);
    const key = keys("seed")(step);
    const [u, g] = compute([uniform(key, { i: 2, j: 3 }), normal(key, { i: 2, j: 3 })] as R[], env) as R;
    for (let i = 0; i < 6; i++) {
      expect(u[i]).toBe(draw("uniform", key.key, [7], i));
      expect(g[i]).toBe(draw("normal", key.key, [7], i));
    }
  });
  it("selects with ties to the lower index", () => {
    const x = input({ i: 5, j: 2 });
    const env: Env = new Map([[x, Float64Array.of(1, 0, 3, 5, 3, 5, 2, 5, 0, 1)]]);
    const t = top(x, "i", { slot: 3 });
    const [value, index, chosen] = compute([t.value, t.index, t.chosen], env) as R;
    expect([...value]).toEqual([3, 5, 3, 5, 2, 5]);
    expect([...index]).toEqual([1, 1, 2, 2, 3, 3]);
    expect([...chosen]).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 0, 0]);
  });
  it("combines the state with the next element, from either end", () => {
    const x = input({ i: 3 });
    const env: Env = new Map([[x, Float64Array.of(1, 2, 3)]]);
    // The last one's digits: 1, 12, 123; from the end 3, 32, 321.
    const digits = monoid({ n: 0, p: 1 }, (a: R, b: R) => ({ n: a.n * b.p + b.n, p: a.p * b.p }));
    const ten = map(x, () => 10);
    const [forward, backward, before, whole] = compute(
      [
        scan({ n: x, p: ten }, digits, "i").n,
        scan({ n: x, p: ten }, digits, "i", { reverse: true }).n,
        scan({ n: x, p: ten }, digits, "i", { reverse: true, exclusive: true }).n,
        fold({ n: x, p: ten }, digits, "i").n,
      ],
      env,
    ) as R;
    expect([...forward]).toEqual([1, 12, 123]);
    expect([...backward]).toEqual([321, 32, 3]);
    expect([...before]).toEqual([32, 3, 0]);
    expect([...whole]).toEqual([123]);
  });
  it("runs loops from either end, and empty axes", () => {
    const x = input({ l: 3 });
    const env: Env = new Map([[x, Float64Array.of(1, 2, 3)]]);
    const run = (reverse: boolean) => {
      const l = build.loop({ axis: "l", count: 3, reverse, init: [build.constant(0)], xs: [x] }, ([c], [s]) => [
        build.map({ c: c as R, s: s as R }, { kind: "scalar", body: call("add", call("mul", arg("c"), constant(10)), arg("s")) }),
      ]);
      return [build.carry(l, 0), build.emit(l, l.carry[0] as R), build.emit(l, l.counter)];
    };
    expect(evaluate(run(false), env).map((a) => [...a])).toEqual([[123], [0, 1, 12], [0, 1, 2]]);
    expect(evaluate(run(true), env).map((a) => [...a])).toEqual([[321], [32, 3, 0], [0, 1, 2]]);
    const none = input({ i: 0, j: 2 });
    expect([...(compute([sum(none, "i")], new Map([[none, new Float64Array(0)]]))[0] as R)]).toEqual([0, 0]);
  });
  it("says what is missing", () => {
    const x = input({ i: 3 });
    const T = new UpTo(4, "time");
    expect(() => evaluate([x], new Map())).toThrow(OracleError);
    expect(() => evaluate([x], new Map([[x, new Float64Array(2)]]))).toThrow(/2 elements for 3/);
    expect(() => evaluate([input({ t: T } as R)], new Map())).toThrow(/extent of time/);
  });
});
