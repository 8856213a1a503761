// Factors that leave the sums of quadratic values: values and gradients of every attention variant stay those of the
// oracle, the row statistic of a softmax's gradient is a sum over the output, and nothing else changes.
import { describe, expect, it } from "vitest";
import { quadratics } from "../../compiler/graph/quadratic.js";
import { reassociate } from "../../compiler/graph/reassociate.js";
import { show } from "../../compiler/graph/show.js";
import { below, order } from "../../compiler/graph/walk.js";
import { type Graph, runGraphPasses } from "../../compiler/pipeline.js";
import { grad } from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { variants } from "../../models/attention/index.js";
import { compute, computeRead, count, type Env, fill, numbers, right, weigh } from "./harness.js";

const sizes = { batch: 2, head: 2, time: 8, dim: 4, value: 3 };
/** The output and the gradient of every real input. */
function program(v: (typeof variants)[number]): { readonly roots: readonly Node[]; readonly env: Env; readonly seed: Node } {
  const { inputs, out } = v.example(sizes);
  const random = numbers(v.number);
  const env: Env = new Map();
  for (const [name, x] of Object.entries(inputs)) {
    const l = x as Leaf;
    if (l.op !== "leaf") continue;
    const whole = () => Float64Array.from({ length: count(l.axes) }, () => Math.floor(3 * random()));
    const data = l.dtype === "i32" ? whole() : fill(l, random);
    // Decays and forget gates lie between 0 and 1, their logarithms below 0.
    env.set(l, name === "gamma" ? data.map((u) => 0.5 + u / 6) : name === "logf" ? data.map((u) => -Math.abs(u)) : data);
  }
  const y = out as Node;
  const loss = weigh(y, random, env);
  const seed = [...env.keys()].at(-1) as Node;
  const real = [...env.keys()].filter((l) => l.dtype === "f32" && Object.values(inputs).includes(l as never));
  return { roots: [y, ...real.map((l) => grad(loss, l))], env, seed };
}
const apart = (a: readonly Float64Array[], b: readonly Float64Array[]): number =>
  Math.max(
    ...a.map((x, k) => {
      const y = b[k] as Float64Array;
      const scale = Math.max(1e-12, ...x.map(Math.abs));
      return Math.max(...x.map((u, i) => (Number.isNaN(u) && Number.isNaN(y[i] as number) ? 0 : Math.abs(u - (y[i] as number)) / scale)));
    }),
  );
function after(pass: string, roots: readonly Node[]): readonly Node[] {
  let out: readonly Node[] = [];
  right(
    runGraphPasses(roots, {
      capture: { folder: null },
      watch: (name, g: Graph) => {
        if (name === pass) out = g.roots;
      },
    }),
  );
  return out;
}

/** Folds of scores and of their gradient at once whose result a quadratic value reads point by point: Σ_key P·dP. `seed`:
 *  what only gradients depend on. */
function waiting(roots: readonly Node[], seed: Node): readonly Node[] {
  const all = order(roots);
  const quadratic = quadratics(all);
  const contractions = (x: Node) => order([x], (n) => (n.op === "fold" ? [] : below(n))).filter((n) => n.op === "fold" && quadratic.has(n));
  const isGradient = (n: Node) => order([n]).includes(seed);
  const mixed = (x: Node) => new Set(contractions(x).map(isGradient)).size > 1;
  const reads = (q: Node, f: Node) => q !== f && q.op !== "fold" && order([q], (n) => (n.op === "fold" ? [] : below(n))).includes(f);
  return all.filter((f) => f.op === "fold" && f.args.some((x) => quadratic.has(x) && mixed(x)) && all.some((q) => quadratic.has(q) && reads(q, f)));
}

const softmaxShaped = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 20, 22, 23, 26];
describe("every variant", () => {
  for (const v of variants)
    it(v.name, () => {
      const { roots, env, seed } = program(v);
      expect(apart(compute(roots, env), computeRead(roots, env))).toBeLessThan(1e-12);
      const once = after("reassociate", roots);
      expect(reassociate(once).roots).toEqual(once);
      if (softmaxShaped.includes(v.number)) expect(waiting(after("simplify", roots), seed).map((n) => show([n]))).toEqual([]);
    });
  it("without it a softmax's gradient waits for a sum of both contractions", () => {
    const { roots, seed } = program(variants[0] as (typeof variants)[number]);
    const g = right(runGraphPasses(roots, { last: "grad", capture: { folder: null } }));
    expect(waiting(g.roots, seed).length).toBeGreaterThan(0);
  });
});
