// Rates of logits in every form that quack.md names. Of each: the formulas of its factors; that the paths and the norms on
// them bound the logits' values, whatever the weights are (which is what certificate and factors rest on); and that the
// expressions are what the formulas say.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { rateText } from "../../compiler/explain/bound-text.js";
import { normOf } from "../../compiler/graph/norms.js";
import { pathsOfLogits } from "../../compiler/graph/rates.js";
import { read } from "../../compiler/graph/read.js";
import { order, owners } from "../../compiler/graph/walk.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { groupedQuery } from "../../models/attention/02-grouped-query.js";
import { differential } from "../../models/attention/15-differential.js";
import { tensorProduct } from "../../models/attention/23-tensor-product.js";
import { boundsOf } from "../../runtime/derived.js";
import { evaluator } from "../../runtime/devices/js/oracle.js";
import { count, type Env, numbers, right } from "./harness.js";
import { loose, type R } from "./loose.js";

const {
  add,
  at,
  deriveRates,
  dot,
  find,
  gain,
  grid,
  input,
  label,
  map,
  max,
  merge,
  min,
  model,
  mul,
  rename,
  repeat,
  rms,
  rope,
  scale,
  split,
  stack,
  sum,
  taps,
  view,
  weight,
} = loose;
const M = 5;
const xs = { x: "time model" };
const sides = (x: R): readonly [R, R] => [rename(x, { time: "query" }), rename(x, { time: "key" })];
const head = { head: 3, dim: 4 };
const qk = () => ({ wq: weight({ model: M }, head), wk: weight({ model: M }, head) });
const logits = (s: R) => label(s, "logits");
const dotted = ({ wq, wk, x }: R) => {
  const [i, j] = sides(x);
  return dot(dot(i, wq, "model"), dot(j, wk, "model"), "dim");
};

/** By name: a model, and the factors of its weights. Those that are not there keep their rate. */
const forms: Readonly<Record<string, { readonly part: R; readonly factors: readonly string[]; readonly o?: R }>> = {
  "multi-query": {
    part: model({ wq: weight({ model: M }, head), wk: weight({ model: M }, { dim: 4 }) }, xs, (w: R) => logits(scale(dotted(w), 0.5))),
    factors: ["f(wq[head]) = 2 / ||wk||", "f(wk) = 2 / max[head](||wq[head]||)"],
  },
  "heads of one name for the queries, groups for the keys": {
    part: model({ wq: weight({ model: M }, { head: 6, dim: 4 }), wk: weight({ model: M }, { group: 3, dim: 4 }) }, xs, ({ wq, wk, x }: R) => {
      const [i, j] = sides(x);
      const v = dot(j, wk, "model");
      return (groupedQuery as R)({ q: dot(i, wq, "model"), k: v, v: rename(v, { dim: "value" }) });
    }),
    factors: ["f(wq[head]) = 2 / ||wk[group]||   where [group] = floor([head] / 2)", "f(wk[group]) = 2 / max[member](||wq[group, member]||)"],
  },
  "heads merged and split again": {
    part: model(qk(), xs, ({ wq, wk, x }: R) => {
      const [i, j] = sides(x);
      const again = (v: R) => split(merge(v, ["head", "dim"], "inner"), "inner", { h: 3, d: 4 });
      return logits(dot(again(dot(i, wq, "model")), again(dot(j, wk, "model")), "d"));
    }),
    factors: ["f(wq[head]) = 1 / ||wk[h]||   where [h] = [head]", "f(wk[head]) = 1 / ||wq[h]||   where [h] = [head]"],
  },
  "heads cut from one axis of the weights have one rate": {
    part: model({ wq: weight({ model: M }, { inner: 12 }), wk: weight({ model: M }, { inner: 12 }) }, xs, ({ wq, wk, x }: R) => {
      const [i, j] = sides(x);
      const cut = (v: R) => split(v, "inner", { head: 3, dim: 4 });
      return logits(dot(cut(dot(i, wq, "model")), cut(dot(j, wk, "model")), "dim"));
    }),
    factors: ["f(wq) = 1 / max[head](||wk[head]||)", "f(wk) = 1 / max[head](||wq[head]||)"],
  },
  "tensor products, quadratic in x": {
    part: model(
      {
        aq: weight({ model: M }, { head: 3, rq: 2 }),
        bq: weight({ model: M }, { rq: 2, dim: 4 }),
        ak: weight({ model: M }, { head: 3, rk: 2 }),
        bk: weight({ model: M }, { rk: 2, dim: 4 }),
      },
      xs,
      ({ aq, bq, ak, bk, x }: R) => {
        const [i, j] = sides(x);
        const [a, b] = [dot(j, ak, "model"), dot(j, bk, "model")];
        const v = { av: rename(a, { rk: "rv" }), bv: rename(b, { rk: "rv", dim: "value" }) };
        return (tensorProduct as R)({ aq: dot(i, aq, "model"), bq: dot(i, bq, "model"), ak: a, bk: b, ...v });
      },
    ),
    factors: [
      "f(aq[head]) = 8 / (||ak[head]|| ||bk|| ||bq||)",
      "f(bq) = 8 / (||bk|| max[head](||ak[head]|| ||aq[head]||))",
      "f(ak[head]) = 8 / (||aq[head]|| ||bk|| ||bq||)",
      "f(bk) = 8 / (||bq|| max[head](||ak[head]|| ||aq[head]||))",
    ],
  },
  "differential: two maps": {
    part: model(
      {
        wq: weight({ model: M }, { head: 3, half: 2, dim: 4 }),
        wk: weight({ model: M }, { head: 3, half: 2, dim: 4 }),
        ...{ a: gain({ dim: 4 }), b: gain({ dim: 4 }), c: gain({ dim: 4 }), d: gain({ dim: 4 }) },
      },
      xs,
      ({ wq, wk, a, b, c, d, x }: R) => {
        const [i, j] = sides(x);
        return (differential(0.8) as R)({ q: dot(i, wq, "model"), k: dot(j, wk, "model"), v: rename(j, { model: "value" }), a, b, c, d });
      },
    ),
    factors: ["f(wq[head, half]) = 2 / ||wk[head, half]||", "f(wk[head, half]) = 2 / ||wq[head, half]||"],
  },
  "differential: the maps' difference in the logits": {
    part: model(
      {
        q1: weight({ model: M }, head),
        k1: weight({ model: M }, head),
        q2: weight({ model: M }, head),
        k2: weight({ model: M }, head),
        lambda: gain({ head: 3 }),
      },
      xs,
      ({ q1, k1, q2, k2, lambda, x }: R) =>
        logits(map({ a: dotted({ wq: q1, wk: k1, x }), b: dotted({ wq: q2, wk: k2, x }), lambda }, ({ a, b, lambda }: R) => (a - lambda * b) / 2)),
    ),
    factors: [
      "f(q1[head]) = 2 / ||k1[head]||",
      "f(k1[head]) = 2 / ||q1[head]||",
      "f(q2[head]) = 2 / (||k2[head]|| |lambda[head]|)",
      "f(k2[head]) = 2 / (|lambda[head]| ||q2[head]||)",
    ],
  },
  "sinks and bias tables keep their rate": {
    part: model({ ...qk(), sink: weight({}, { head: 3 }), table: weight({ bucket: 4 }, { head: 3 }), other: gain({ head: 3 }) }, xs, (w: R) =>
      logits(
        map(
          {
            s: dotted(w),
            sink: w.sink,
            bias: view(w.table, { query: 3, key: 3 }, ({ query, key }: R) => ({ bucket: Math.min(3, Math.abs(query - key)) })),
            other: w.other,
          },
          ({ s, sink, bias, other }: R) => s + sink - bias + 2 * other,
        ),
      ),
    ),
    factors: ["f(wq[head]) = 1 / ||wk[head]||", "f(wk[head]) = 1 / ||wq[head]||"],
  },
  "biases: x and one": {
    part: model({ ...qk(), bq: weight({}, head), bk: weight({}, head) }, xs, ({ wq, wk, bq, bk, x }: R) => {
      const [i, j] = sides(x);
      return logits(dot(add(dot(i, wq, "model"), bq), add(dot(j, wk, "model"), bk), "dim"));
    }),
    factors: [
      "f(wq[head]) = 1 / max(||bk[head]||, ||wk[head]||)",
      "f(wk[head]) = 1 / max(||bq[head]||, ||wq[head]||)",
      "f(bq[head]) = 1 / max(||bk[head]||, ||wk[head]||)",
      "f(bk[head]) = 1 / max(||bq[head]||, ||wq[head]||)",
    ],
  },
  "gains scale, and a gain alone on an axis counts whole": {
    part: model({ ...qk(), g: gain({ dim: 4 }), h: gain({ dim: 4 }), t: gain({ head: 3 }) }, xs, ({ wq, wk, g, h, t, x }: R) => {
      const [i, j] = sides(x);
      return logits(mul(dot(mul(dot(i, wq, "model"), g), mul(dot(j, wk, "model"), h), "dim"), t));
    }),
    factors: ["f(wq[head]) = 1 / (max|g| max|h| |t[head]| ||wk[head]||)", "f(wk[head]) = 1 / (max|g| max|h| |t[head]| ||wq[head]||)"],
  },
  "gains where queries have none": {
    part: model({ wq: weight({ model: M }, head), g: gain({ dim: 4 }), h: gain({ dim: 4 }) }, xs, ({ wq, g, h, x }: R) =>
      logits(dot(mul(dot(rename(x, { time: "query" }), wq, "model"), g), h, "dim")),
    ),
    factors: ["f(wq[head]) = 1 / (max|g| ||h||)"],
  },
  "constants that are no isometry": {
    part: model(qk(), xs, ({ wq, wk, x }: R) => {
      const [i, j] = sides(x);
      const stretch = grid({ dim: 4 }, ({ dim }: R) => (dim < 2 ? 3 : 0.5));
      return logits(dot(mul(dot(i, wq, "model"), stretch), dot(j, wk, "model"), "dim"));
    }),
    factors: ["f(wq[head]) = 1 / (max|constant1| ||wk[head]||)", "f(wk[head]) = 1 / (max|constant1| ||wq[head]||)"],
  },
  "a weight twice on a path": {
    part: model({ w: weight({ model: M }, head) }, xs, ({ w, x }: R) => logits(scale(dotted({ wq: w, wk: w, x }), 0.25))),
    factors: ["f(w[head]) = 2 / ||w[head]||"],
  },
  "a weight that two heads' sides share, and a power": {
    part: model({ d: weight({ model: M }, { c: 3 }), u: weight({ c: 3 }, head) }, xs, ({ d, u, x }: R) => {
      const [i, j] = sides(x);
      const up = (v: R) => dot(dot(v, d, "model"), u, "c");
      return logits(dot(up(i), up(j), "dim"));
    }),
    factors: ["f(d) = 1/2 / (||d|| max[head](||u[head]||^2))", "f(u[head]) = 1/2 / (||d||^2 ||u[head]||)"],
  },
  "masked, capped, convolved": {
    part: model({ ...qk(), theta: gain({ head: 3, a: 2, b: 2 }) }, xs, (w: R) => {
      const s = map({ s: dotted(w), c: 30 }, ({ s, c }: R, { query, key }: R) => (key <= query ? c * Math.tanh(s / c) : 0));
      return logits(dot(taps(taps(s, "query", { a: 2 }), "key", { b: 2 }), w.theta, "a", "b"));
    }),
    factors: ["f(wq[head]) = 1 / (||theta[head]|| ||wk[head]||)", "f(wk[head]) = 1 / (||theta[head]|| ||wq[head]||)"],
  },
  "the greatest over keys, of heads too": {
    part: model({ ...qk(), wl: weight({ model: M }, head), wm: weight({ model: M }, head) }, xs, ({ wq, wk, wl, wm, x }: R) =>
      logits(mul(max(max(dotted({ wq, wk, x }), "key"), "head"), min(dotted({ wq: wl, wk: wm, x }), "key"))),
    ),
    factors: [
      "f(wq[head]) = 1 / (||wk[head']|| max[head](||wl[head]|| ||wm[head]||))   where [head'] = [head]",
      "f(wk[head]) = 1 / (||wq[head']|| max[head](||wl[head]|| ||wm[head]||))   where [head'] = [head]",
      "f(wl[head]) = 1 / (||wm[head]|| max[head'](||wk[head']|| ||wq[head']||))",
      "f(wm[head]) = 1 / (||wl[head]|| max[head'](||wk[head']|| ||wq[head']||))",
    ],
  },
  "entries that pass a map on their own leave no operator": {
    part: model(
      { a: weight({ model: M }, { k: 4 }), b: weight({ k: 4 }, { dim: 6 }), wk: weight({ model: M }, { dim: 6 }) },
      xs,
      ({ a, b, wk, x }: R) => {
        const [i, j] = sides(x);
        const size = map(dot(a, b, "k"), (v: R) => Math.abs(v));
        return logits(dot(dot(i, size, "model"), dot(j, wk, "model"), "dim"));
      },
    ),
    factors: ["f(a) = 1 / (||b|| ||wk||)", "f(b) = 1 / (||a|| ||wk||)", "f(wk) = 1 / (||a|| ||b||)"],
  },
  "products of matrices that the rest connects again": {
    part: model(
      { a: weight({ model: M }, { k: 3 }), b: weight({ k: 3 }, { model: M }), t: weight({ k: 3 }, { l: 2 }), u: weight({ k: 3 }, { l: 2 }) },
      xs,
      ({ a, b, t, u, x }: R) => {
        const [i, j] = sides(x);
        return logits(mul(dot(dot(i, a, "model"), dot(j, b, "model"), "k"), dot(t, u, "k", "l")));
      },
    ),
    factors: ["f(a) = 1 / (||b|| ||t|| ||u||)", "f(b) = 1 / (||a|| ||t|| ||u||)", "f(t) = 1 / (||a|| ||b|| ||u||)", "f(u) = 1 / (||a|| ||b|| ||t||)"],
  },
  "talking heads: heads that are summed over separate nothing": {
    part: model({ ...qk(), mix: weight({ head: 3 }, { map: 2 }) }, xs, (w: R) => logits(dot(dotted(w), w.mix, "head"))),
    factors: ["f(wq) = 1 / (||wk|| max[map](||mix[map]||))", "f(wk) = 1 / (||wq|| max[map](||mix[map]||))", "f(mix[map]) = 1 / (||wk|| ||wq||)"],
  },
  "rows of an embedding": {
    part: model({ ...qk(), table: weight({ vocab: 7 }, { model: M }) }, { ids: { spec: "time", dtype: "i32" } }, ({ wq, wk, table, ids }: R) =>
      logits(dotted({ wq, wk, x: at(table, { vocab: ids }) })),
    ),
    factors: [
      "f(wq[head]) = 1 / (||table||^2 ||wk[head]||)",
      "f(wk[head]) = 1 / (||table||^2 ||wq[head]||)",
      "f(table) = 1/2 / (||table|| max[head](||wk[head]|| ||wq[head]||))",
    ],
  },
  "the paths of a weight added": {
    part: model(
      { d: weight({ model: M }, { c: 3 }), k1: weight({ model: M }, { head: 2, c: 3 }), k2: weight({ model: M }, { head: 2, c: 3 }) },
      xs,
      ({ d, k1, k2, x }: R) => {
        const [i, j] = sides(x);
        const q = dot(i, d, "model");
        return logits(add(dot(q, dot(j, k1, "model"), "c"), dot(q, dot(j, k2, "model"), "c")));
      },
    ),
    factors: ["f(d) = 1 / max[head](||k1[head]|| + ||k2[head]||)", "f(k1[head]) = 1 / ||d||", "f(k2[head]) = 1 / ||d||"],
    o: { combine: "sum" },
  },
  "layers in a loop, and loops in loops": {
    part: model(
      {
        outer: repeat(
          2,
          model(
            {
              inner: repeat(
                3,
                model(qk(), xs, (w: R) => add(w.x, scale(sum(logits(dotted(w)), "key", "head", "query"), 0))),
              ),
            },
            xs,
            ({ inner, x }: R) => inner.reduce((h: R, b: R) => b({ x: h }), x),
          ),
        ),
      },
      xs,
      ({ outer, x }: R) => outer.reduce((h: R, b: R) => b({ x: h }), x),
    ),
    factors: ["f(outer.*.inner.*.wq[head]) = 1 / ||outer.*.inner.*.wk[head]||", "f(outer.*.inner.*.wk[head]) = 1 / ||outer.*.inner.*.wq[head]||"],
  },
  "states of a loop, with a weight from outside and one a step": {
    part: model(
      {
        w: weight({ c: 4 }, { d: 4 }),
        u: weight({ step: 3 }, { c: 4, d: 4 }),
        wk: weight({ model: M }, { c: 4 }),
        d: weight({ model: M }, { c: 4 }),
      },
      xs,
      ({ w, u, wk, d, x }: R) => {
        const [i, j] = sides(x);
        const { h } = repeat(3, { state: { h: dot(i, d, "model") }, xs: { u } }, ({ h }: R, { u }: R) => ({
          h: rename(dot(rename(dot(h, w, "c"), { d: "c" }), u, "c"), { d: "c" }),
        }));
        return logits(dot(h, dot(j, wk, "model"), "c"));
      },
    ),
    factors: [
      "f(w) = 1/3 / (||d|| ||u[step = 0]|| ||u[step = 1]|| ||u[step = 2]|| ||w||^2 ||wk||)",
      "f(u[step = 0]) = 1 / (||d|| ||u[step = 1]|| ||u[step = 2]|| ||w||^3 ||wk||)",
      "f(u[step = 1]) = 1 / (||d|| ||u[step = 0]|| ||u[step = 2]|| ||w||^3 ||wk||)",
      "f(u[step = 2]) = 1 / (||d|| ||u[step = 0]|| ||u[step = 1]|| ||w||^3 ||wk||)",
      "f(wk) = 1 / (||d|| ||u[step = 0]|| ||u[step = 1]|| ||u[step = 2]|| ||w||^3)",
      "f(d) = 1 / (||u[step = 0]|| ||u[step = 1]|| ||u[step = 2]|| ||w||^3 ||wk||)",
    ],
  },
  "layers written out": {
    part: model(
      {
        layers: repeat(
          3,
          model(qk(), xs, (w: R) => logits(dotted(w))),
        ),
      },
      xs,
      ({ layers, x }: R) => stack("layer", ...[...layers].map((l: R) => l({ x }))),
    ),
    factors: ["f(layers.*.wq[head]) = 1 / ||layers.*.wk[head]||", "f(layers.*.wk[head]) = 1 / ||layers.*.wq[head]||"],
  },
  "one block's weights in three layers": {
    part: model({ block: model(qk(), xs, (w: R) => add(w.x, scale(sum(logits(dotted(w)), "key", "head", "query"), 0.1))) }, xs, ({ block, x }: R) =>
      block({ x: block({ x: block({ x }) }) }),
    ),
    factors: ["f(block.wq[head]) = 1 / ||block.wk[head]||", "f(block.wk[head]) = 1 / ||block.wq[head]||"],
  },
  "QK norm and norms of latents, as heuristics": {
    part: model(
      { dq: weight({ model: M }, { c: 3 }), uq: weight({ c: 3 }, head), wk: weight({ model: M }, head), g: gain({ dim: 4 }) },
      xs,
      ({ dq, uq, wk, g, x }: R) => {
        const [i, j] = sides(x);
        return logits(dot(mul(rms(dot(rms(dot(i, dq, "model"), "c"), uq, "c"), "dim"), g), rope(dot(j, wk, "model"), "key", "dim"), "dim"));
      },
    ),
    factors: [
      "f(dq) = 1 / (max|g| max[head](||uq[head]|| ||wk[head]||))",
      "f(uq[head]) = 1 / (||dq|| max|g| ||wk[head]||)",
      "f(wk[head]) = 1 / (||dq|| max|g| ||uq[head]||)",
    ],
    o: { heuristic: true },
  },
};

const random = numbers(3);
const normal = () => Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
function built(part: R, o: R = {}) {
  const inputs = Object.fromEntries(
    Object.entries(part.inputs as R).map(([name, spec]) => {
      const axes: Record<string, number> = name === "ids" ? { time: 3 } : { time: 3, model: M };
      return [name, input(axes, typeof spec === "string" ? "f32" : "i32")];
    }),
  );
  const y = part.apply(part.params, inputs);
  const found = boundsOf(y, o, part.params);
  if (!found || isLeft(found)) throw found?.left ?? new Error("no logits");
  return { y, inputs, bounds: found.right, params: flatten(part.params).map(({ node }) => node as Leaf) };
}
/** Numbers of all scales; now and then all the same, or few that are not 0, which is where norms are reached. */
function filled(leaves: readonly Leaf[]): Env {
  return new Map(
    leaves.map((l) => {
      if (l.dtype === "i32") return [l, Float64Array.from({ length: count(l.axes) }, () => Math.floor(7 * random()))];
      const kind = random();
      const size = 10 ** (4 * random() - 2);
      return [
        l,
        Float64Array.from({ length: count(l.axes) }, () => (kind < 0.3 ? size : kind < 0.5 ? (random() < 0.3 ? size : 0) : size * normal())),
      ];
    }),
  );
}

describe.each(Object.entries(forms))("%s", (_, { part, factors, o }) => {
  test("factors", () => {
    const { bounds, y } = built(part, o);
    expect(bounds.rates.map(rateText)).toEqual(factors);
    expect(Object.keys(deriveRates(find(y, "logits"), o))).toEqual([...new Set(bounds.rates.map((f) => f.weight))]);
  });
  if (o?.heuristic) return; // it promises none
  test("paths and norms bound the values", () => {
    const { y, inputs, params } = built(part, o);
    // Logits inside a loop have inputs that the loop carries: they are the same expression as outside.
    const outside: readonly Node[] = find(y, "logits").flatMap((l: R) => (l.value.op === "emit" ? [] : [l.value]));
    for (const root of outside) {
      const most = excess(root);
      for (let i = 0; i < 30; i++) expect(most(filled([...params, ...(Object.values(inputs) as Leaf[])]))).toBeLessThanOrEqual(1 + 1e-9);
    }
  });
});
/** The greatest value over the greatest bound of it, in either norm. */
function excess(of: Node): (env: Env) => number {
  const whole = right(read([of], { folder: null }));
  const root = whole.roots[0] as Node;
  const paths = pathsOfLogits(root, new Map(owners(order(whole.roots))));
  const made = new Map<string, Node>();
  const norms = (["frobenius", "spectral"] as const).map((kind) => paths.map((p) => p.factors.map((f) => normOf(f, kind, { made }))));
  const all = [...new Set(norms.flat(2))];
  const g = right(runGraphPasses([root.op === "label" ? root.args[0] : root, ...all], { last: "grad", capture: { folder: null } }));
  const run = evaluator(g.roots, new Map(), g.originals);
  return (env) => {
    const [got, ...sizes] = run(env).map((v) => v.reduce((m, x) => Math.max(m, Math.abs(x)), 0));
    const size = (n: Node) => sizes[all.indexOf(n)] as number;
    const bounds = norms.map((by) => by.reduce((s, ns, i) => s + ns.reduce((b, n) => b * size(n), Math.abs(paths[i]?.scale ?? 0)), 0));
    return (got as number) === 0 ? 0 : (got as number) / Math.min(...bounds);
  };
}

test("a spectral norm does not outlive a map of its entries: |H| has norm 4 where H has 2", () => {
  const { y, inputs, params } = built(forms["entries that pass a map on their own leave no operator"]?.part);
  const hadamard = (i: number, k: number) => ([0, 1, 2, 3].reduce((p, b) => p ^ ((i & k) >> b), 0) % 2 === 0 ? 1 : -1);
  const fills: Readonly<Record<string, (flat: number) => number>> = {
    a: (flat) => (flat < 16 ? hadamard(Math.floor(flat / 4), flat % 4) : 0),
    b: (flat) => (Math.floor(flat / 6) === flat % 6 ? 1 : 0),
    wk: (flat) => (flat % 6 < 4 ? 1 : 0),
  };
  const env: Env = new Map(params.map((l) => [l, Float64Array.from({ length: count(l.axes) }, (_, i) => fills[l.name]?.(i) ?? 0)]));
  env.set(inputs.x, new Float64Array(15).fill(1));
  const share = excess(find(y, "logits")[0].value)(env);
  expect(share).toBeGreaterThan(0.3);
  expect(share).toBeLessThanOrEqual(1);
});
