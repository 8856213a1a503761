// Softmax and its relatives as authors write them by hand: whatever the form, the quotient leaves the sum over keys, the
// maximum has no gradient, and values and gradients are the oracle's. What is no quotient of a row stays.
import { describe, expect, it } from "vitest";
import { quadratics } from "../../compiler/graph/quadratic.js";
import { reassociate } from "../../compiler/graph/reassociate.js";
import { order } from "../../compiler/graph/walk.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import { fold as foldNode, grad } from "../../dsl/build.js";
import type { FoldNode, Node } from "../../dsl/node.js";
import { decoder, gqaNormed, mha, mla } from "../../models/blocks.js";
import { after, compute, computeRead, type Env, fill, input, numbers, param, right, weigh } from "./harness.js";
import { loose, type R } from "./loose.js";

const { attention, cast, crossEntropy, div, dot, label, logSumExp, map, max, mean, mul, repeat, softmax, stopGradient, sub, sum } = loose;
const exp = (x: R) => map(x, (x: R) => Math.exp(x));

const worst = (a: readonly Float64Array[], b: readonly Float64Array[]): number =>
  Math.max(
    ...a.map((u, k) => {
      const scale = Math.max(1e-9, ...u.map((x) => (Number.isFinite(x) ? Math.abs(x) : 0)));
      return Math.max(
        ...u.map((x, i) =>
          Object.is(x, b[k]?.[i]) || (Number.isNaN(x) && Number.isNaN(b[k]?.[i])) ? 0 : Math.abs(x - (b[k]?.[i] as number)) / scale,
        ),
      );
    }),
  );

const [T, D] = [6, 3];
const shapes = { q: { head: 2, query: T, dim: D }, k: { head: 2, key: T, dim: D }, v: { head: 2, key: T, value: 2 }, w: { head: 2 } };
interface Scores {
  readonly s: R;
  readonly q: R;
  readonly k: R;
  readonly v: R;
  readonly w: R;
}
/** Sums over keys in the program that is differentiated, with the names of the values that differ along no key in them. */
function outside(y: Node): readonly FoldNode[] {
  const all = order(after("reassociate", [y]));
  const quadratic = quadratics(all);
  return all.filter((n): n is FoldNode => n.op === "fold" && n.over.includes("key") && n.args.some((x) => quadratic.has(x)));
}
/** Rows' statistics that a sum over keys reads beside its maximum: what should have left it. */
function statistics(folds: readonly FoldNode[]): number {
  const pointwise = (n: Node): readonly Node[] => (n.op === "fold" ? [] : n.op === "stop" ? [] : "args" in n ? n.args : []);
  const isSum = (n: Node) => n.op === "fold" && n.over.includes("key") && n.args.length === 1 && JSON.stringify(n.monoid).includes('"add"');
  return folds.filter((f) => order(f.args, pointwise).some(isSum)).length;
}
function check(make: (x: Scores) => R, masked: boolean): { readonly apart: number; readonly y: Node; readonly roots: readonly Node[] } {
  const random = numbers(11);
  const leaves = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(shape)]));
  const env: Env = new Map(Object.values(leaves).map((l) => [l, fill(l, random)]));
  const { q, k, v, w } = leaves as R;
  const raw: R = dot(q, k, "dim");
  const s = masked ? map(raw, (s: R, { query: i, key: j }: R) => (j < i ? s : -Infinity)) : raw;
  const y = make({ s, q, k, v, w }) as Node;
  const loss = weigh(y, random, env);
  const roots = [y, ...Object.values(leaves).map((l) => grad(loss, l))];
  const once = after("reassociate", roots);
  expect(reassociate(once).roots).toEqual(once);
  return { apart: worst(compute(roots, env), computeRead(roots, env)), y, roots };
}
const statisticsOf = (s: R) => {
  const m = max(s, "key");
  const e = exp(sub(s, m));
  return { m, e, l: sum(e, "key") };
};

describe("the quotient leaves the sum", () => {
  // `masked`: the first row has no key at all, so the form must say what it gives there.
  const forms: Record<string, { readonly make: (x: Scores) => R; readonly masked?: true }> = {
    "the language's softmax": { make: ({ s, v }) => dot(softmax(s, "key"), v, "key"), masked: true },
    "attention in one call": {
      make: ({ q, k, v, w }) => attention({ q, k, v, w }, ({ s, w }: R, { query: i, key: j }: R) => (j <= i ? s - w * (i - j) : -Infinity)),
    },
    "e / l": {
      make: ({ s, v }) => {
        const { e, l } = statisticsOf(s);
        return dot(div(e, l), v, "key");
      },
    },
    "e · (1 / l)": {
      make: ({ s, v }) => {
        const { e, l } = statisticsOf(s);
        return dot(
          mul(
            e,
            map(l, (l: R) => 1 / l),
          ),
          v,
          "key",
        );
      },
    },
    "the whole in one map": {
      make: ({ s, v }) => {
        const { m, l } = statisticsOf(s);
        return sum(
          map({ s, m, l, v }, ({ s, m, l, v }: R) => (v * Math.exp(s - m)) / l),
          "key",
        );
      },
    },
    "a guard for empty rows": {
      make: ({ s, v }) => {
        const m = map(max(s, "key"), (m: R) => (m === -Infinity ? 0 : m));
        const e = exp(sub(s, m));
        const l = sum(e, "key");
        return dot(
          map({ e, l }, ({ e, l }: R) => (l === 0 ? 0 : e / l)),
          v,
          "key",
        );
      },
      masked: true,
    },
    "a mask after the exponential": {
      make: ({ s, v }) => {
        const m = max(s, "key");
        const e = map({ s, m }, ({ s, m }: R, { query: i, key: j }: R) => (j < i ? Math.exp(s - m) : 0));
        const l = sum(e, "key");
        const p = map({ s, m, l }, ({ s, m, l }: R, { query: i, key: j }: R) => (j < i ? Math.exp(s - m) / l : 0));
        return dot(p, v, "key");
      },
    },
    "a guard with 0 first": {
      make: ({ s, v }) => {
        const { e, l } = statisticsOf(s);
        const r = map(l, (l: R) => 1 / l);
        return dot(
          map({ e, r }, ({ e, r }: R, { query: i, key: j }: R) => (j === i ? 0 : 2 * e * r)),
          v,
          "key",
        );
      },
    },
    "exp(s − lse)": {
      make: ({ s, v }) => {
        const lse = logSumExp(s, "key");
        return dot(exp(sub(s, lse)), v, "key");
      },
    },
    "exp(s − lse), the lse by hand": {
      make: ({ s, v }) => {
        const { m, l } = statisticsOf(s);
        const lse = map({ m, l }, ({ m, l }: R) => m + Math.log(l));
        return dot(exp(sub(s, lse)), v, "key");
      },
    },
    "exp(s − m − log l)": {
      make: ({ s, v }) => {
        const { m, l } = statisticsOf(s);
        return dot(
          map({ s, m, l }, ({ s, m, l }: R) => Math.exp(s - m - Math.log(l))),
          v,
          "key",
        );
      },
    },
    "exp(−(log l + (m − s)))": {
      make: ({ s, v }) => {
        const { m, l } = statisticsOf(s);
        const ll = map(l, (l: R) => Math.log(l));
        return dot(
          map({ s, m, ll }, ({ s, m, ll }: R) => Math.exp(-(ll + (m - s)))),
          v,
          "key",
        );
      },
    },
    "a gain and a sign": {
      make: ({ s, v, w }) => {
        const p = softmax(s, "key");
        return dot(
          map({ p, w }, ({ p, w }: R) => -p * w * w),
          v,
          "key",
        );
      },
    },
    "behind names": { make: ({ s, v }) => dot(label(softmax(label(s, "scores"), "key"), "weights"), v, "key") },
    "dropped and rescaled": {
      make: ({ s, v }) => {
        const p = softmax(s, "key");
        const kept = map(p, (p: R, { query: i, key: j }: R) => ((i + 2 * j) % 3 === 0 ? 0 : p / 0.75));
        return dot(kept, v, "key");
      },
      masked: true,
    },
    "the difference of two": {
      make: ({ s, v, w }) => {
        const [a, b] = [
          softmax(s, "key"),
          softmax(
            map(s, (s: R) => 2 * s),
            "key",
          ),
        ];
        const p = map({ a, b, w }, ({ a, b, w }: R) => a - w * b);
        return dot(p, v, "key");
      },
    },
    "three, under a guard": {
      make: ({ s, v, w }) => {
        const half = map(s, (s: R) => s / 2);
        const double = map(s, (s: R) => 2 * s);
        const p = map(
          { a: softmax(s, "key"), b: softmax(half, "key"), c: softmax(double, "key"), w },
          ({ a, b, c, w }: R, { query: i, key: j }: R) => (j === i ? 0 : w * (a - b) + c),
        );
        return dot(p, v, "key");
      },
    },
    "a common quotient of a sum": {
      make: ({ s, v, w }) => {
        const p = softmax(s, "key");
        return dot(
          map({ p, w }, ({ p, w }: R, { key: j }: R) => p * w - p * (j % 2)),
          v,
          "key",
        );
      },
    },
    "beside a bias": {
      make: ({ s, v, w }) => {
        const p = softmax(s, "key");
        return dot(
          map({ p, w }, ({ p, w }: R, { query: i, key: j }: R) => p + w / (1 + i + j)),
          v,
          "key",
        );
      },
    },
    "inside a loop": {
      make: ({ k, v, q }) =>
        repeat(2, { state: q }, (h: R) => {
          const { e, l } = statisticsOf(dot(h, k, "dim"));
          const o = dot(div(e, l), v, "key");
          return map({ h, o: sum(o, "value") }, ({ h, o }: R) => Math.tanh(h + o));
        }),
    },
  };
  for (const [name, { make, masked }] of Object.entries(forms))
    it(name, () => {
      const found = check(make, masked === true);
      expect(found.apart).toBeLessThan(1e-12);
      const folds = outside(found.y);
      expect(folds.length).toBeGreaterThanOrEqual(3);
      expect(statistics(folds)).toBe(0);
      // One exponential, which the sum and the weighted sum share.
      const exponentials = order(after("reassociate", [found.y])).filter(
        (n) => n.op === "map" && n.body.kind === "scalar" && /"exp"/.test(JSON.stringify(n.body)),
      );
      if (/^exp|^e |one map/.test(name)) expect(exponentials.length).toBe(1);
    });
});

describe("what stays in the sum", () => {
  const forms: Record<string, (x: Scores) => R> = {
    "a rounding in between": ({ s, v }) => dot(cast(cast(softmax(s, "key"), "bf16"), "f32"), v, "key"),
    "weights whose gradient stops": ({ s, v }) => dot(stopGradient(softmax(s, "key")), v, "key"),
    "a function that is no product": ({ s, v }) => {
      const p = softmax(s, "key");
      return dot(
        map(p, (p: R) => Math.sqrt(p)),
        v,
        "key",
      );
    },
    "a quotient that guards say not to read": ({ s, v, w }) => {
      const e = exp(s);
      const p = map({ e, w }, ({ e, w }: R, { query: i, key: j }: R) => (j <= i ? e / (w * w) : 0));
      return dot(p, v, "key");
    },
  };
  for (const [name, make] of Object.entries(forms))
    it(name, () => {
      const { apart, y } = check(make, false);
      expect(apart).toBeLessThan(1e-12);
      const read = right(runGraphPasses([y], { last: "read", capture: { folder: null } })).roots;
      expect(reassociate(read).roots).toEqual(read);
    });
  it("what a gradient is taken with respect to", () => {
    const [q, k, v] = [input(shapes.q), input(shapes.k), input(shapes.v)];
    const random = numbers(4);
    const env: Env = new Map([q, k, v].map((l) => [l, fill(l, random)]));
    const p: R = softmax(dot(q, k, "dim"), "key");
    const loss = weigh(dot(p, v, "key"), random, env);
    const roots = [grad(loss, p), grad(loss, q)];
    expect(worst(compute(roots, env), computeRead(roots, env))).toBeLessThan(1e-12);
  });
  it("sums of values that are not quadratic, and products with weights", () => {
    const x = input({ time: T, model: D });
    const w = param("w", { model: D, vocab: 40 });
    const p: R = softmax(dot(x, w, "model"), "vocab");
    const y = dot(p, input({ vocab: 40, value: 2 }), "vocab");
    const read = right(runGraphPasses([y], { last: "read", capture: { folder: null } })).roots;
    expect(quadratics(order(read)).size).toBe(0);
    expect(reassociate(read).roots).toEqual(read);
  });
  it("a masked row stays 0, a masked element stays out, and a row without a sum stays what it was", () => {
    const { apart } = check(({ s, v }) => dot(softmax(s, "key"), v, "key"), true);
    expect(apart).toBeLessThan(1e-12);
  });
});

describe("decoders", () => {
  const c = { model: 8, layer: 2, head: 2, group: 1, dim: 4, ff: 12, vocab: 11, cq: 5, latent: 3, nope: 3, rope: 2, value: 4 };
  const attentions: Record<string, R> = { "multi-head": mha(c), "grouped, normed": gqaNormed(c), latent: mla(c) };
  for (const [name, attention] of Object.entries(attentions))
    it(`${name}: nothing but attention's own sums changes`, () => {
      const lm: R = decoder(c, attention);
      const [tokens, next] = [input({ batch: 2, time: 16 }, "i32"), input({ batch: 2, time: 16 }, "i32")];
      const loss = mean(crossEntropy(lm.apply(lm.params, { tokens }), next, "vocab"), "batch", "time");
      const read = right(runGraphPasses([loss], { last: "read", capture: { folder: null } })).roots;
      const all = order(read);
      const quadratic = quadratics(all);
      const out = reassociate(read);
      let changed = 0;
      for (const n of all) {
        if (n.op !== "fold") continue;
        const inputs = Object.fromEntries(Object.keys(n.monoid.empty).map((f, i) => [f, out.to.get(n.args[i] as Node) as Node]));
        if (out.to.get(n) === foldNode(inputs, n.monoid, n.over)[n.field]) continue;
        expect(n.over).toEqual(["key"]);
        expect(n.args.every((x) => quadratic.has(x))).toBe(true);
        changed++;
      }
      expect(changed).toBe(1); // P·V; the layers are one loop
    });
});
