// Simplification and the verifier, on whole models and on small broken graphs.
import { describe, expect, it } from "vitest";
import { show } from "../../compiler/graph/show.js";
import { simplify } from "../../compiler/graph/simplify.js";
import { verify } from "../../compiler/graph/verify.js";
import { passes, runGraphPasses } from "../../compiler/pipeline.js";
import * as build from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { UpTo } from "../../dsl/node.js";
import { arg, call, constant, index } from "../../dsl/scalar.js";
import { flatten } from "../../dsl/tree.js";
import { transformer } from "../../models/blocks.js";
import { compute, computeRead, type Env, fill, input, numbers, right } from "./harness.js";
import { loose, type R } from "./loose.js";

const { crossEntropy, grad, mean, sum, taps, cumsum, map, softmax } = loose;
const lm: R = transformer({ model: 8, layer: 2, head: 2, group: 2, dim: 4, ff: 8, vocab: 11, cq: 5, latent: 3, nope: 3, rope: 2, value: 4 });

function training(): { readonly roots: readonly Node[]; readonly env: Env } {
  const [tokens, next] = [input({ batch: 2, time: 5 }, "i32"), input({ batch: 2, time: 5 }, "i32")];
  const loss = mean(crossEntropy(lm.apply(lm.params, { tokens }), next, "vocab"), "batch", "time");
  const random = numbers(2);
  const env: Env = new Map();
  for (const i of [tokens, next])
    env.set(
      i,
      Float64Array.from({ length: 10 }, () => Math.floor(random() * 11)),
    );
  const weights = flatten(lm.params).map((l) => l.node as Leaf);
  for (const w of weights) env.set(w, fill(w, random));
  return { roots: [loss, ...weights.map((w) => grad(loss, w))], env };
}

describe("simplify", () => {
  it("keeps the values of a training step; the author's functions and what was read of them agree", () => {
    const { roots, env } = training();
    const [a, b] = [compute(roots, env), computeRead(roots, env)];
    roots.forEach((_, i) => {
      const scale = Math.max(...(a[i] as Float64Array).map(Math.abs));
      a[i]?.forEach((v, k) => {
        expect(Math.abs(v - (b[i]?.[k] as number))).toBeLessThanOrEqual(1e-13 * scale);
      });
    });
  });
  it("is idempotent and keeps the layout", () => {
    const { roots } = training();
    const once = right(runGraphPasses(roots, { capture: { folder: null } })).roots;
    const twice = simplify(once).roots;
    twice.forEach((r, i) => {
      expect(r).toBe(once[i]);
      expect(Object.keys(r.axes)).toEqual(Object.keys((roots[i] as Node).axes));
    });
  });
  it("merges views, puts constants in, drops what is not read", () => {
    const x = input({ i: 4, j: 3 });
    const k = build.constant(2);
    const view = (of: Node, fresh: R, at: R, reads: string[]) => build.view(of, fresh, { kind: "scalar", at }, reads);
    const renamed = view(view(x, { a: 4 }, { i: index("a") }, ["i"]), { i: 4 }, { a: index("i") }, ["a"]);
    expect(simplify([renamed]).roots[0]).toBe(x);
    const scaled = build.map({ x, k, y: x }, { kind: "scalar", body: call("mul", arg("x"), arg("k")) });
    const out = simplify([scaled]).roots[0] as Node;
    expect(out.op === "map" && out.args.length).toBe(1);
    // A padded view read outside is not merged: the outer one reads 0 there.
    const shifted = view(x, { i: 4 }, { i: call("sub", index("i"), constant(1)) }, ["i"]);
    const back = view(shifted, { i: 4 }, { i: call("add", index("i"), constant(1)) }, ["i"]);
    const env: Env = new Map([[x, Float64Array.from({ length: 12 }, (_, i) => i + 1)]]);
    expect([...(computeRead([back], env)[0] as Float64Array)]).toEqual([...(compute([back], env)[0] as Float64Array)]);
    expect([...(compute([back], env)[0] as Float64Array).slice(9)]).toEqual([0, 0, 0]);
  });
  it("a fold over an axis of size 1 is its element", () => {
    const x = input({ i: 1, j: 3 });
    const g = right(runGraphPasses([sum(x, "i")], { capture: { folder: null } }));
    expect(g.roots[0]?.op).toBe("view");
  });
});

describe("run-time extents", () => {
  it("one graph, many lengths; gradients too", () => {
    const T = new UpTo(9, "time");
    const x = input({ t: T, m: 2 } as R);
    const y = sum(
      map(softmax(cumsum(taps(x, "t", { tap: 2 }), "t"), "t"), (p: R, { t }: R, { t: n }: R) => (p * (t + 1)) / n),
      "t",
      "m",
      "tap",
    );
    for (const n of [1, 2, 7, 9]) {
      const extents = new Map([[T, n]]);
      const random = numbers(n);
      const data = fill(x, random, extents);
      const env: Env = new Map([[x, data]]);
      const g = compute([grad(y, x)], env, extents)[0] as Float64Array;
      expect(g.length).toBe(2 * n);
      const at = 2 * n - 1;
      const h = 1e-5;
      const valueWith = (d: number) => {
        data[at] = (data[at] as number) + d;
        const v = compute([y], env, extents)[0]?.[0] as number;
        data[at] = (data[at] as number) - d;
        return v;
      };
      expect(g[at]).toBeCloseTo((valueWith(h) - valueWith(-h)) / (2 * h), 7);
    }
  });
});

describe("the verifier", () => {
  const x = input({ i: 3 });
  it("passes a whole model, and prints it", () => {
    const { roots } = training();
    const seen: string[] = [];
    right(
      runGraphPasses(roots, {
        capture: { folder: null },
        watch: (pass, g) => {
          seen.push(pass);
          expect(show(g.roots)).toMatch(/loop \d+ over blocks 2/);
        },
      }),
    );
    expect(seen).toEqual(passes().map((pass) => pass.name));
    expect(seen.filter((pass) => ["read", "rates", "reassociate", "grad", "simplify"].includes(pass))).toEqual([
      "read",
      "rates",
      "reassociate",
      "grad",
      "simplify",
    ]);
  });
  it("catches broken graphs", () => {
    expect(() => verify([{ ...build.map({ x }, { kind: "scalar", body: arg("x") }), axes: { i: 4 } }])).toThrow(/axis/);
    expect(() => verify([build.map({ x }, { kind: "scalar", body: arg("y") })])).toThrow(/reads input "y"/);
    expect(() => verify([build.map({ x }, { kind: "scalar", body: index("k") })])).toThrow(/index of "k"/);
    expect(() => verify([build.grad(sum(x, "i"), x)], { expanded: true })).toThrow(/not expanded/);
    expect(() => verify([map(x, (x: R) => x)], { read: true })).toThrow(/has not been read/);
    let escaped: Node = x;
    const l = build.loop({ axis: "l", count: 2, init: [x], xs: [] }, ([c]) => {
      escaped = build.map({ c: c as Node }, { kind: "scalar", body: call("exp", arg("c")) });
      return [escaped];
    });
    verify([build.carry(l, 0)]);
    expect(() => verify([build.carry(l, 0), escaped])).toThrow(/placeholder/);
    expect(() => verify([escaped])).toThrow(/placeholder outside/);
    expect(() => verify([build.carry(build.reloop(l, { init: l.init, xs: l.xs, next: [input({ k: 2 })] }), 0)])).toThrow(/carry 0/);
    expect(() => verify([build.carry(l, 0), build.carry(build.reloop(l, l), 0)])).toThrow(/two loops/);
  });
});

describe("speed", () => {
  it("a model of the golden size runs forward and gradient in seconds", () => {
    const big: R = transformer({
      model: 48,
      layer: 2,
      head: 4,
      group: 2,
      dim: 12,
      ff: 128,
      vocab: 61,
      cq: 5,
      latent: 3,
      nope: 3,
      rope: 2,
      value: 12,
    });
    const [tokens, next] = [input({ batch: 3, time: 23 }, "i32"), input({ batch: 3, time: 23 }, "i32")];
    const loss = mean(crossEntropy(big.apply(big.params, { tokens }), next, "vocab"), "batch", "time");
    const random = numbers(2);
    const env: Env = new Map();
    for (const i of [tokens, next])
      env.set(
        i,
        Float64Array.from({ length: 69 }, () => Math.floor(random() * 61)),
      );
    const weights = flatten(big.params).map((l) => l.node as Leaf);
    for (const w of weights)
      env.set(
        w,
        fill(w, random).map((v) => v / 10),
      );
    const began = performance.now();
    const out = compute([loss, ...weights.map((w) => grad(loss, w))], env);
    console.log(`oracle: ${Math.round(performance.now() - began)} ms`);
    expect(out.every((a) => a.every(Number.isFinite))).toBe(true);
    expect(performance.now() - began).toBeLessThan(20000);
  });
});
