// The change of a value by expansion: exact where numbers are whole, and with all its digits where a difference has none.
import { describe, expect, it } from "vitest";
import { changesOf } from "../../compiler/graph/change.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import { at, cumsum, dot, max, mul, rename, sum, view } from "../../dsl/index.js";
import { lift } from "../../dsl/map.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { handle } from "../../dsl/tensor.js";
import type { Tensor } from "../../dsl/types.js";
import { evaluate } from "../../runtime/devices/js/oracle.js";
import { count, type Env, input, numbers, param, right } from "../graph/harness.js";

type Matrix = Tensor<{ readonly row: number; readonly col: number }>;
const tensor = (n: Node): Matrix => handle(n);
/** By expansion, and as the difference of the two values. */
function changes(y: unknown, env: Env, steps: ReadonlyMap<Leaf, Float64Array>): readonly [expansion: Float64Array, difference: Float64Array] {
  const g = right(runGraphPasses([y as Node], { last: "read", capture: { folder: null } }));
  const leaves = new Map([...steps.keys()].map((w) => [w, input(w.axes)]));
  const [d] = changesOf(g.roots, leaves);
  const all: Env = new Map([...env, ...[...steps].map(([w, data]) => [leaves.get(w) as Leaf, data] as const)]);
  const value = (of: Env) => evaluate(right(runGraphPasses([y as Node], { last: "grad", capture: { folder: null } })).roots, of)[0] as Float64Array;
  const after = value(
    new Map([...env, ...[...steps].map(([w, data]) => [w, (env.get(w) as Float64Array).map((x, i) => x + (data[i] as number))] as const)]),
  );
  const before = value(env);
  return [
    evaluate(right(runGraphPasses([d as Node], { last: "grad" })).roots, all)[0] as Float64Array,
    after.map((x, i) => x - (before[i] as number)),
  ];
}
const [a, b, x] = [param("a", { row: 3, col: 3 }), param("b", { row: 3, col: 3 }), input({ row: 3 })];
const map = lift as unknown as (
  inputs: Readonly<Record<string, unknown>>,
  f: (x: Readonly<Record<string, number>>, at: Readonly<Record<string, number>>) => number,
  captured: object,
) => Matrix;
const polynomials: Readonly<Record<string, unknown>> = {
  products: dot(dot(tensor(x), tensor(a), "row"), rename(tensor(b), { row: "col", col: "other" } as never), "col" as never),
  "a weight three times": mul(mul(tensor(a), tensor(a)), tensor(a)),
  "views, indices, sums": sum(
    mul(
      view(tensor(a), { col: 2 }, ({ col }) => ({ col: col + 1 })),
      at(tensor(b), { col: 1 } as never),
    ),
    "row",
  ),
  "quotients, greatest values, conditions": map(
    { a, b, x },
    ({ a, b, x }, { row }) =>
      Math.max(a as number, 2 - (b as number)) +
      ((row as number) > 1 ? -(a as number) : Math.min(a as number, x as number)) +
      ((a as number) > (b as number) ? (a as number) * (x as number) : 4 * (b as number)),
    {},
  ),
  "a fold that is no sum": max(mul(tensor(a), tensor(b)), "col"),
  "a scan": cumsum(mul(tensor(a), tensor(b)), "col"),
};

describe("the change of a value", () => {
  const random = numbers(5);
  const whole = (l: Leaf) => Float64Array.from({ length: count(l.axes) }, () => Math.floor(9 * random()) - 4);
  for (const [name, y] of Object.entries(polynomials))
    it(name, () => {
      for (let i = 0; i < 20; i++) {
        const env: Env = new Map([a, b, x].map((l) => [l, whole(l)]));
        const [expansion, difference] = changes(y, env, new Map([a, b].map((l) => [l, whole(l)])));
        expect([...expansion].map((v) => v + 0)).toEqual([...difference].map((v) => v + 0)); // −0 is 0
      }
    });
  it("smooth functions keep the digits of a step of 1e-13, which a difference loses", () => {
    const y = map(
      { a, b },
      ({ a, b }) =>
        Math.tanh(a as number) +
        Math.sin(a as number) * Math.exp(b as number) +
        Math.cos(b as number) +
        Math.sqrt(4 + (a as number)) / (3 + (b as number)) +
        Math.log(5 + (a as number)),
      {},
    );
    const env: Env = new Map([a, b].map((l) => [l, Float64Array.from({ length: 9 }, () => 2 * random() - 1)]));
    const step = (size: number) => new Map([a, b].map((l) => [l, new Float64Array(9).fill(size)]));
    const [small, lost] = changes(y, env, step(1e-13));
    const [moderate, difference] = changes(y, env, step(1e-3));
    const [derivative] = changes(y, env, step(1e-7));
    const apart = (p: Float64Array, q: Float64Array, factor: number) =>
      Math.max(...p.map((v, i) => Math.abs(v * factor - (q[i] as number)) / Math.abs(q[i] as number)));
    expect(apart(moderate, difference, 1)).toBeLessThan(1e-11);
    // To first order the change is proportional to the step.
    expect(apart(small, derivative, 1e6)).toBeLessThan(1e-6);
    expect(apart(lost, derivative, 1e6)).toBeGreaterThan(1e-4);
  });
});
