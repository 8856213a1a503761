// Derived factors against quack.md's tables, on random weights.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { gqa, mha, mhaNormed, mla } from "../../models/blocks.js";
import { compute, type Env, fill, numbers } from "./harness.js";
import { loose, type R } from "./loose.js";

const { add, bounded, deriveRates, dot, find, input, label, map, model, mul, rename, repeat, scale, sum, taps, weight } = loose;
const c = { model: 6, layer: 2, head: 4, group: 2, dim: 4, ff: 8, vocab: 7, cq: 5, latent: 3, nope: 3, rope: 2, value: 4 };

/** By weight's path: the factor's values, and the weights' arrays. */
function derive(part: R, o: R = {}, x: R = { batch: 2, time: 5, model: c.model }) {
  const y = part.apply(part.params, { x: input(x) });
  const rates = deriveRates(find(y, "logits"), o);
  const env: Env = new Map();
  const random = numbers(11);
  const weights: Record<string, { readonly axes: R; readonly data: Float64Array }> = {};
  for (const { path, node } of flatten(part.params)) {
    env.set(node as Leaf, fill(node as Leaf, random));
    weights[path] = { axes: (node as Node).axes, data: env.get(node as Leaf) as Float64Array };
  }
  const names = Object.keys(rates);
  const values = compute(
    names.map((n) => rates[n]),
    env,
  );
  const f: Record<string, readonly number[]> = Object.fromEntries(names.map((n, i) => [n, [...(values[i] as Float64Array)]]));
  return { f, rates, weights, env };
}
/** Frobenius norms of the slices along `axis`, or of the whole. */
function norms(w: { readonly axes: R; readonly data: Float64Array } | undefined, ...axes: readonly string[]): readonly number[] {
  if (!w) throw new Error("no such weight");
  const entries = Object.entries(w.axes as Record<string, number>);
  const out: number[] = Array(axes.reduce((p, a) => p * w.axes[a], 1)).fill(0);
  w.data.forEach((v, flat) => {
    let rest = flat;
    const at: Record<string, number> = {};
    for (const [a, n] of [...entries].reverse()) {
      at[a] = rest % n;
      rest = Math.floor(rest / n);
    }
    const slot = axes.reduce((p, a) => p * w.axes[a] + (at[a] as number), 0);
    out[slot] = (out[slot] as number) + v * v;
  });
  return out.map(Math.sqrt);
}
const close = (got: readonly number[] | undefined, expected: readonly number[]) => {
  expect(got?.length).toBe(expected.length);
  expected.forEach((e, i) => {
    expect((got?.[i] as number) / e).toBeCloseTo(1, 12);
  });
};
const root = Math.sqrt;

describe("derived rates", () => {
  it("multi-head (Algorithm 1)", () => {
    const { f, weights } = derive(mha(c));
    expect(Object.keys(f).sort()).toEqual(["wk", "wq"]);
    close(
      f.wq,
      norms(weights.wk, "head").map((n) => root(c.dim) / n),
    );
    close(
      f.wk,
      norms(weights.wq, "head").map((n) => root(c.dim) / n),
    );
  });
  it("grouped queries", () => {
    const { f, weights } = derive(gqa(c));
    const [k, q] = [norms(weights.wk, "group"), norms(weights.wq, "group", "member")];
    close(
      f.wq?.length === c.group ? f.wq.flatMap((v) => [v, v]) : f.wq,
      k.flatMap((n) => [root(c.dim) / n, root(c.dim) / n]),
    );
    close(
      f.wk,
      k.map((_, g) => root(c.dim) / Math.max(...q.slice(2 * g, 2 * g + 2))),
    );
  });
  it("latent attention (Algorithm 2)", () => {
    const { f, weights } = derive(mla(c));
    const n = (w: string) => norms(weights[w])[0] as number;
    const h = (w: string) => norms(weights[w], "head");
    const s = root(c.nope + c.rope);
    const [uq, uk, qr] = [h("uq"), h("uk"), h("qr")];
    const all = uq.map((_, i) => i);
    close(
      f.uq,
      all.map((i) => s / (n("dq") * (uk[i] as number) * n("dkv"))),
    );
    close(
      f.uk,
      all.map((i) => s / (n("dq") * (uq[i] as number) * n("dkv"))),
    );
    close(
      f.qr,
      all.map(() => s / (n("dq") * n("kr"))),
    );
    close(f.dq, [s / Math.max(...all.map((i) => (uq[i] as number) * (uk[i] as number) * n("dkv")), ...qr.map((q) => q * n("kr")))]);
    close(f.dkv, [s / Math.max(...all.map((i) => (uq[i] as number) * n("dq") * (uk[i] as number)))]);
    close(f.kr, [s / Math.max(...qr.map((q) => q * n("dq")))]);
    expect(Object.keys(f).length).toBe(6);
  });
  it("combine by sum adds the paths of a weight", () => {
    const { f, weights } = derive(mla(c), { combine: "sum" });
    const n = (w: string) => norms(weights[w])[0] as number;
    const [uq, uk, qr] = (["uq", "uk", "qr"] as const).map((w) => norms(weights[w], "head")) as [R, R, R];
    close(f.dq, [root(c.nope + c.rope) / Math.max(...uq.map((q: number, i: number) => q * uk[i] * n("dkv") + qr[i] * n("kr")))]);
  });
  it("layers of a loop at once", () => {
    const stack = model({ blocks: repeat(3, mha(c)) }, { x: "time model" }, ({ blocks, x }: R) =>
      blocks.reduce((h: R, b: R) => add(h, b({ x: h })), x),
    );
    const { f, weights } = derive(stack);
    const name = Object.keys(weights).find((w) => w.endsWith("wk")) as string;
    close(
      f[name.replace("wk", "wq")],
      norms(weights[name], "blocks", "head").map((n) => root(c.dim) / n),
    );
  });
  it("spectral norms of heads", () => {
    const { f, weights } = derive(mha(c), { norm: "spectral" });
    const w = weights.wk as { readonly data: Float64Array };
    const sigma = (head: number): number => {
      // Power iteration on MᵀM, M[model, dim] of one head.
      let v = Array.from({ length: c.dim }, (_, i) => 1 + i / 7);
      let s = 0;
      for (let k = 0; k < 4000; k++) {
        const u = Array.from({ length: c.model }, (_, m) => v.reduce((p, x, d) => p + x * (w.data[(m * c.head + head) * c.dim + d] as number), 0));
        const z = v.map((_, d) => u.reduce((p, x, m) => p + x * (w.data[(m * c.head + head) * c.dim + d] as number), 0));
        const n = Math.hypot(...z);
        s = Math.sqrt(n);
        v = z.map((x) => x / n);
      }
      return s;
    };
    f.wq?.forEach((v, h) => {
      expect((v * sigma(h)) / root(c.dim)).toBeCloseTo(1, 8);
    });
  });
  it("a shared weight counts each time, a scale and a bounded norm enter", () => {
    const twice = model({ w: weight({ model: c.model }, { dim: c.dim }) }, { x: "time model" }, ({ w, x }: R) => {
      const q = dot(rename(x, { time: "query" }), w, "model");
      const k = bounded(dot(rename(x, { time: "key" }), w, "model"), { linearIn: dot(rename(x, { time: "key" }), w, "model"), norm: 3 });
      return label(scale(dot(q, k, "dim"), -0.5), "logits");
    });
    const { f, weights } = derive(twice);
    close(f.w, [1 / (2 * 0.5 * 3 * (norms(weights.w)[0] as number))]);
  });
  it("convolved and soft-capped logits keep their bound", () => {
    const one = model(
      { wq: weight({ model: c.model }, { dim: c.dim }), wk: weight({ model: c.model }, { dim: c.dim }) },
      { x: "time model" },
      ({ wq, wk, x }: R) => {
        const s = dot(dot(rename(x, { time: "query" }), wq, "model"), dot(rename(x, { time: "key" }), wk, "model"), "dim");
        return label(
          map({ s: sum(taps(s, "key", { tap: 2 }), "tap"), c: 30 }, ({ s, c }: R, { query, key }: R) =>
            key <= query ? c * Math.tanh(s / c) : -Infinity,
          ),
          "logits",
        );
      },
    );
    const { f, weights } = derive(one);
    expect((f.wq?.[0] as number) * (norms(weights.wk)[0] as number)).toBeLessThanOrEqual(1 + 1e-12);
  });
  it("refuses what has no bound, with the expression and a hint", () => {
    const refused = (part: R) => {
      const y = part.apply(part.params, { x: input({ time: 5, model: c.model }) });
      const rates = deriveRates(find(y, "logits"));
      const out = runGraphPasses(Object.values(rates), { capture: { folder: null } });
      return isLeft(out) ? out.left.map((e) => e.message).join("\n") : "";
    };
    expect(refused(mhaNormed(c))).toMatch(/divides by a value that depends on a weight \(a normalisation\)[\s\S]*no lower bound/);
    const squared = model({ w: weight({ model: c.model }, { dim: c.dim }) }, { x: "time model" }, ({ w, x }: R) =>
      label(
        map(dot(x, w, "model"), (s: R) => Math.exp(s)),
        "logits",
      ),
    );
    expect(refused(squared)).toMatch(/takes exp of a value that depends on a weight, which is not Lipschitz/);
    expect(mul).toBeTypeOf("function");
  });
});
