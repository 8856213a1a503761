// Certificate and budget of the change of labelled logits, against quack.md's formulas and against the change itself.
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import { runGraphPasses } from "../../compiler/pipeline.js";
import * as build from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { gqa, mha, mhaNormed, mla } from "../../models/blocks.js";
import { compute, type Env, input as leafOf, numbers } from "./harness.js";
import { loose, type R } from "./loose.js";

const { add, dot, find, gain, input, inputNorms, label, logitBudget, logitCertificate, map, merge, model, rename, repeat, taps, view, weight } =
  loose;
const c = { model: 6, layer: 2, head: 4, group: 2, dim: 4, ff: 8, vocab: 7, cq: 5, latent: 3, nope: 3, rope: 2, value: 4 };
const root = Math.sqrt;

interface Weight {
  readonly axes: Readonly<Record<string, number>>;
  readonly data: Float64Array;
}
type Weights = Readonly<Record<string, Weight>>;
const random = numbers(5);
const normal = () => root(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
/** A model applied to an input of these axes, with random weights. */
function applied(part: R, x: R = { batch: 2, time: 5, model: c.model }) {
  const leaf = input(x);
  const y = part.apply(part.params, { x: leaf });
  const env: Env = new Map();
  const weights: Record<string, Weight> = {};
  for (const { path, node } of flatten(part.params)) {
    const axes = (node as Node).axes as Weight["axes"];
    const data = Float64Array.from({ length: Object.values(axes).reduce((p, n) => p * n, 1) }, normal);
    env.set(node as Leaf, data);
    weights[path] = { axes, data };
  }
  env.set(leaf, Float64Array.from({ length: Object.values(x as Record<string, number>).reduce((p, n) => p * n, 1) }, normal));
  return { y, logits: find(y, "logits"), scores: find(y, "scores"), env, weights, x: env.get(leaf) as Float64Array };
}
/** Frobenius norms of the slices along `axes`, or of the whole. */
function norms(w: Weight | undefined, ...axes: readonly string[]): readonly number[] {
  if (!w) throw new Error("no such weight");
  const out: number[] = Array(axes.reduce((p, a) => p * (w.axes[a] as number), 1)).fill(0);
  w.data.forEach((v, flat) => {
    const slot = slotOf(w, flat, axes);
    out[slot] = (out[slot] as number) + v * v;
  });
  return out.map(root);
}
function slotOf(w: Weight, flat: number, axes: readonly string[]): number {
  let rest = flat;
  const at: Record<string, number> = {};
  for (const [a, n] of Object.entries(w.axes).reverse()) {
    at[a] = rest % n;
    rest = Math.floor(rest / n);
  }
  return axes.reduce((p, a) => p * (w.axes[a] as number) + (at[a] as number), 0);
}
/** Numbers as inputs of the program, each with some of the weight's axes. */
function given(env: Env, values: Readonly<Record<string, { readonly axes: R; readonly data: readonly number[] }>>): R {
  return Object.fromEntries(
    Object.entries(values).map(([path, { axes, data }]) => {
      const l = leafOf(axes);
      env.set(l, Float64Array.from(data));
      return [path, l];
    }),
  );
}
const values = (bounds: R, env: Env): readonly (readonly number[])[] =>
  compute(
    bounds.map((b: R) => b.value),
    env,
  ).map((v) => [...v]);
const close = (got: readonly number[] | undefined, expected: readonly number[], digits = 12) => {
  expect(got?.length).toBe(expected.length);
  expected.forEach((e, i) => {
    expect((got?.[i] as number) / e).toBeCloseTo(1, digits);
  });
};
const heads = { head: c.head };
const each = <T>(n: number, f: (i: number) => T): readonly T[] => Array.from({ length: n }, (_, i) => f(i));
const uniform = (n: number): readonly number[] => each(n, () => 0.1 + random());

/** Σ over the subsets of at least `least` steps of Π δ inside · Π norms outside. */
function subsets(factors: readonly { readonly norm: number; readonly step: number }[], least: number): number {
  let total = 0;
  for (let set = 0; set < 1 << factors.length; set++) {
    const inside = factors.map((_, i) => (set >> i) & 1);
    if (inside.reduce((p, q) => p + q, 0) < least) continue;
    total += factors.reduce((p, f, i) => p * (inside[i] ? f.step : f.norm), 1);
  }
  return total;
}

/** The three architectures by their weights: the axes that separate rates, the paths, and the scale. */
const architectures = {
  mha: { part: mha(c), axes: { wq: heads, wk: heads }, paths: [["wq", "wk"]], scale: 1 / root(c.dim), heads: c.head },
  gqa: {
    part: gqa(c),
    axes: { wq: { group: c.group, member: c.head / c.group }, wk: { group: c.group } },
    paths: [["wq", "wk"]],
    scale: 1 / root(c.dim),
    heads: c.head,
  },
  mla: {
    part: mla(c),
    axes: { dq: {}, uq: heads, qr: heads, dkv: {}, uk: heads, kr: {} },
    paths: [
      ["uq", "dq", "uk", "dkv"],
      ["qr", "dq", "kr"],
    ],
    scale: 1 / root(c.nope + c.rope),
    heads: c.head,
  },
} as const satisfies Record<string, { readonly part: R; readonly axes: R; readonly paths: R; readonly scale: number; readonly heads: number }>;
type Values = Readonly<Record<string, readonly number[]>>;
/** Of a value by some of the axes, the one for query head h (of all groups and members). */
const ofHead = (values: readonly number[], h: number): number => values[Math.floor((h * values.length) / c.head)] as number;
const size = (axes: R): number => Object.values(axes as Record<string, number>).reduce((p, n) => p * n, 1);

describe.each(Object.entries(architectures))("%s", (name, a) => {
  const paths: readonly (readonly string[])[] = a.paths;
  const axes: Readonly<Record<string, R>> = a.axes;
  const sizes = (of: (w: string) => readonly number[]): Values => Object.fromEntries(Object.keys(axes).map((w) => [w, of(w)]));
  const drawn = (): Values => sizes((w) => uniform(size(axes[w])));
  const tensors = (env: Env, v: Values): R => given(env, Object.fromEntries(Object.entries(v).map(([w, data]) => [w, { axes: axes[w], data }])));
  const normsOf = (weights: Weights): Values => sizes((w) => norms(weights[w], ...Object.keys(axes[w])));
  /** quack.md's tables: 1 / max over paths and heads of scale · the product of the others' norms. */
  const factorsOf = (n: Values, scale: number): Values =>
    sizes((w) =>
      each(size(axes[w]), (i) => {
        const mine = each(a.heads, (h) => h).filter((h) => Math.floor((h * size(axes[w])) / c.head) === i || size(axes[w]) === 1);
        return (
          1 /
          Math.max(
            ...paths.flatMap((p) => (p.includes(w) ? mine.map((h) => scale * p.reduce((q, v) => (v === w ? q : q * ofHead(n[v]!, h)), 1)) : [])),
          )
        );
      }),
    );
  const certificateOf = (n: Values, steps: Values, h: number): number =>
    paths.reduce(
      (p, path) =>
        p +
        a.scale *
          subsets(
            path.map((w) => ({ norm: ofHead(n[w]!, h), step: ofHead(steps[w]!, h) })),
            1,
          ),
      0,
    );

  it("the certificate is the printed formula, for any moves", () => {
    const { logits, env, weights } = applied(a.part);
    const moves = drawn();
    const expected = each(c.head, (h) => 12 ** 2 * certificateOf(normsOf(weights), moves, h));
    close(values(logitCertificate(logits, tensors(env, moves), { inputs: 12 }), env)[0], expected);
  });

  it("the budget is the printed formula: first order from step 0, higher orders from the present norms", () => {
    const { logits, env, weights } = applied(a.part);
    const [f0, steps, rate] = [drawn(), drawn(), 0.3];
    const n = normsOf(weights);
    const f = factorsOf(n, a.scale);
    const delta = sizes((w) => each(size(axes[w]), (i) => (rate * steps[w]![i]! * f[w]![i]!) / f0[w]![i]!));
    const expected = each(c.head, (h) =>
      paths.reduce(
        (p, path) =>
          p +
          path.reduce((q, w) => q + (rate * ofHead(steps[w]!, h)) / ofHead(f0[w]!, h), 0) +
          a.scale *
            subsets(
              path.map((w) => ({ norm: ofHead(n[w]!, h), step: ofHead(delta[w]!, h) })),
              2,
            ),
        0,
      ),
    );
    close(values(logitBudget(logits, { f0: tensors(env, f0), steps: tensors(env, steps), rate }), env)[0], expected);
    // Rates of the paths' sum keep the first order of a weight on several paths once.
    const summed = values(logitBudget(logits, { f0: tensors(env, f0), steps: tensors(env, steps), rate }, { combine: "sum" }), env)[0]!;
    each(c.head, (h) => (name === "mla" ? expect(summed[h]).toBeLessThan(expected[h]!) : expect(summed[h]! / expected[h]!).toBeCloseTo(1, 12)));
  });

  it.each(["frobenius", "spectral"] as const)(
    "%s: steps along the partner and the inputs reach it; random ones stay below; the budget fails for stale rates alone",
    (norm) => {
      const { logits, env, weights, x } = applied(a.part, { time: 1, model: c.model });
      const length = Math.hypot(...x);
      // At position 0 nothing is turned: with all weights and steps along the inputs and one direction each of the axes
      // between, every path has the sign +.
      const along: Readonly<Record<string, readonly number[]>> = {
        model: [...x].map((v) => v / length),
        ...Object.fromEntries(
          (["dim", "cq", "latent", "nope", "rope"] as const).map((axis) => {
            const v = each(c[axis], normal);
            return [axis, v.map((e) => e / Math.hypot(...v))];
          }),
        ),
      };
      const aligned = (w: string, sizes: readonly number[]): Float64Array => {
        const { axes: all, data } = weights[w]!;
        const separate = Object.keys(axes[w]);
        return data.map((_, flat) =>
          Object.keys(all)
            .filter((b) => !separate.includes(b))
            .reduce((p, b) => p * along[b]![slotOf(weights[w]!, flat, [b])]!, sizes[slotOf(weights[w]!, flat, separate)]!),
        );
      };
      const set = (steps: Readonly<Record<string, Float64Array>>, by: number) => {
        for (const { path, node } of flatten(a.part.params))
          if (steps[path])
            env.set(
              node as Leaf,
              (env.get(node as Leaf) as Float64Array).map((v, i) => v + by * steps[path]![i]!),
            );
      };
      const change = (steps: Readonly<Record<string, Float64Array>>): readonly number[] => {
        const [before] = values(logits, env);
        set(steps, 1);
        const [after] = values(logits, env);
        set(steps, -1);
        return after!.map((v, i) => Math.abs(v - before![i]!));
      };
      const [start, grown] = [drawn(), drawn()];
      for (const w of Object.keys(axes))
        env.set(
          flatten(a.part.params).find((p) => p.path === w)!.node as Leaf,
          aligned(
            w,
            grown[w]!.map((v) => 40 * v),
          ),
        );
      const n = sizes((w) => grown[w]!.map((v) => 40 * v));
      const [f0, f] = [factorsOf(start, a.scale), factorsOf(n, a.scale)];
      const D = drawn();
      const rate = 0.2;
      for (const stale of [false, true]) {
        // QuacK's steps, or steps at the rates of step 0.
        const delta = sizes((w) => D[w]!.map((d, i) => rate * d * (stale ? 1 : f[w]![i]! / f0[w]![i]!)));
        const options = { norm, inputs: length };
        const [certificate] = values(logitCertificate(logits, tensors(env, delta), options), env);
        const [budget] = values(logitBudget(logits, { f0: tensors(env, f0), steps: tensors(env, D), rate }, options), env);
        const steps = Object.fromEntries(Object.keys(axes).map((w) => [w, aligned(w, delta[w]!)]));
        const reached = change(steps);
        const [measured] = values(
          logitCertificate(
            logits,
            given(env, Object.fromEntries(Object.entries(steps).map(([w, data]) => [w, { axes: weights[w]!.axes, data: [...data] }]))),
            { ...options, of: "changes" },
          ),
          env,
        );
        each(c.head, (h) => {
          expect(reached[h]).toBeLessThanOrEqual(certificate![h]! * (1 + 1e-9));
          expect(reached[h]! / certificate![h]!).toBeGreaterThan(0.99);
          expect(measured![h]! / certificate![h]!).toBeCloseTo(1, norm === "frobenius" ? 9 : 2);
          if (!stale) expect(reached[h]).toBeLessThanOrEqual(budget![h]! * (1 + 1e-9));
          else expect(reached[h]).toBeGreaterThan(budget![h]!);
        });
        // Any other steps of these norms.
        const other = Object.fromEntries(
          Object.keys(axes).map((w) => {
            const drawn = { axes: weights[w]!.axes, data: weights[w]!.data.map(normal) };
            const lengths = norms(drawn, ...Object.keys(axes[w]));
            return [
              w,
              drawn.data.map((v, i) => (v * delta[w]![slotOf(drawn, i, Object.keys(axes[w]))]!) / lengths[slotOf(drawn, i, Object.keys(axes[w]))]!),
            ];
          }),
        );
        change(other).forEach((v, h) => {
          expect(v).toBeLessThan(certificate![h]!);
        });
      }
    },
  );
});

describe("certificate", () => {
  it("of layers in a loop, each with the norm of its own inputs where they are measured", () => {
    const stack = model({ blocks: repeat(3, mha(c)) }, { x: "time model" }, ({ blocks, x }: R) =>
      blocks.reduce((h: R, b: R) => add(h, b({ x: h })), x),
    );
    const { logits, env, weights } = applied(stack);
    const path = (w: string) => Object.keys(weights).find((p) => p.endsWith(w)) as string;
    const [q, k] = [norms(weights[path("wq")], "blocks", "head"), norms(weights[path("wk")], "blocks", "head")];
    const [dq, dk] = [uniform(12), uniform(12)];
    const by = { blocks: 3, head: c.head };
    const moves = given(env, { [path("wq")]: { axes: by, data: dq }, [path("wk")]: { axes: by, data: dk } });
    const inputs = compute([emitted(logits[0].value)], env)[0]!;
    const longest = each(3, (l) =>
      Math.max(
        ...each(inputs.length / 3 / c.model, (t) =>
          Math.hypot(...inputs.subarray((l * inputs.length) / 3 + t * c.model, (l * inputs.length) / 3 + (t + 1) * c.model)),
        ),
      ),
    );
    const expected = q.map((n, i) => (longest[Math.floor(i / c.head)]! ** 2 / root(c.dim)) * (n * dk[i]! + k[i]! * dq[i]! + dq[i]! * dk[i]!));
    close(values(logitCertificate(logits, moves, { inputs: "measured" }), env)[0], expected);
    const measured = inputNorms(logits);
    close(values(measured, env)[0], longest);
    close(values(logitCertificate(logits, moves, { inputs: measured.map((m: R) => m.value) }), env)[0], expected);
  });

  it("does not cancel: steps of 1e-12 times the norms keep twelve digits", () => {
    const { logits, env, weights } = applied(mla(c));
    const paths = architectures.mla.paths;
    const n = (w: string, h: number) => ofHead(norms(weights[w], ...Object.keys(architectures.mla.axes[w as "dq"])), h);
    const moves = Object.fromEntries(
      Object.entries(architectures.mla.axes).map(([w, axes]) => [w, { axes, data: uniform(size(axes)).map((v) => 1e-12 * v) }]),
    );
    const expected = each(c.head, (h) =>
      paths.reduce((p, path) => {
        const whole = path.reduce((q, w) => q * n(w, h), 1);
        return p + (whole * Math.expm1(path.reduce((q, w) => q + Math.log1p(ofHead(moves[w]!.data, h) / n(w, h)), 0))) / root(c.nope + c.rope);
      }, 0),
    );
    close(values(logitCertificate(logits, given(env, moves)), env)[0], expected);
  });

  it("a shared weight counts each time, and so do a bias, a convolution's positions and a fixed factor", () => {
    const part = model(
      { w: weight({ model: c.model }, { dim: c.dim }), b: gain({ dim: c.dim }), r: weight({ tap: 2, model: c.model }, { dim: c.dim }) },
      { x: "time model" },
      ({ w, b, r, x }: R) => {
        const q = add(dot(rename(x, { time: "query" }), w, "model"), b);
        const window = taps(rename(x, { time: "key" }), "key", { tap: 2 });
        const k = add(dot(rename(x, { time: "key" }), w, "model"), dot(window, r, "tap", "model"));
        return label(
          map(dot(q, k, "dim"), (s: number, { query, key }: R) => s * (1 + 2 / (1 + query + key))),
          "logits",
        );
      },
    );
    const { logits, env, weights } = applied(part);
    const [w, b, r] = (["w", "b", "r"] as const).map((k) => norms(weights[k])[0]!) as [number, number, number];
    const [dw, db, dr] = uniform(3) as [number, number, number];
    const moves = given(env, { w: { axes: {}, data: [dw] }, b: { axes: {}, data: [db] }, r: { axes: {}, data: [dr] } });
    const pair = (a: number, da: number, b: number, db: number) => (a + da) * (b + db) - a * b;
    const X = 2;
    const expected = 3 * (X ** 2 * pair(w, dw, w, dw) + X * pair(b, db, w, dw) + X * root(2) * (X * pair(w, dw, r, dr) + pair(b, db, r, dr)));
    close(values(logitCertificate(logits, moves, { inputs: X }), env)[0], [expected]);
    const { w: _, ...without } = moves;
    expect(refused(logitCertificate(logits, without))).toMatch(/how far "w" moves is not given[\s\S]*0 for one that stands still/);
  });

  it("heads cut and joined under other names, and a table beside the product", () => {
    const part = model(
      {
        wq: weight({ model: c.model }, { group: 2, member: 2, dim: c.dim }),
        wk: weight({ model: c.model }, { row: 2, half: c.dim / 2, column: 2 }),
        b: gain({ head: 4, bucket: 3 }),
      },
      { x: "time model" },
      ({ wq, wk, b, x }: R) => {
        const q = merge(dot(rename(x, { time: "query" }), wq, "model"), ["group", "member"], "head");
        const k = rename(merge(dot(rename(x, { time: "key" }), wk, "model"), ["half", "column"], "dim"), { row: "pair" });
        const bias = view(b, { query: 5, key: 5 }, ({ query, key }: R, { bucket }: R) => ({ bucket: Math.min(bucket - 1, Math.abs(query - key)) }));
        return label(add(dot(q, k, "dim"), bias), "logits");
      },
    );
    const { logits, env, weights } = applied(part);
    const [q, k] = [norms(weights.wq, "group", "member"), norms(weights.wk, "row")];
    const [dq, dk, db] = [uniform(4), uniform(2), uniform(4)];
    const moves = given(env, {
      wq: { axes: { group: 2, member: 2 }, data: dq },
      wk: { axes: { row: 2 }, data: dk },
      b: { axes: { head: 4 }, data: db },
    });
    const [bound] = logitCertificate(logits, moves, { inputs: 2 });
    expect(Object.entries(bound.value.axes).sort()).toEqual([
      ["head", 4],
      ["pair", 2],
    ]);
    const headFirst = Object.keys(bound.value.axes)[0] === "head";
    const expected = each(8, (i) => {
      const [h, p] = headFirst ? [Math.floor(i / 2), i % 2] : [i % 4, Math.floor(i / 4)];
      return 4 * ((q[h]! + dq[h]!) * (k[p]! + dk[p]!) - q[h]! * k[p]!) + db[h]!;
    });
    close(values([bound], env)[0], expected);
    // In the budget the table stays what it is: it has no rate of QuacK's.
    const f0 = given(env, { wq: { axes: { group: 2, member: 2 }, data: uniform(4) }, wk: { axes: { row: 2 }, data: uniform(2) } });
    const budget = { f0, steps: moves, rate: 0.5 };
    const [zero] = values(logitBudget(logits, { ...budget, others: { b: loose.constant(0) } }), env);
    const [moving] = values(logitBudget(logits, { ...budget, others: moves }), env);
    each(8, (i) => expect(moving![i]! - zero![i]!).toBeCloseTo(db[headFirst ? Math.floor(i / 2) : i % 4]!, 12));
    // And spectral norms are those of the heads' matrices: no greater, and at least the norm over √4.
    const [spectral] = values(logitCertificate(logits, moves, { inputs: 2, norm: "spectral" }), env);
    each(8, (i) => {
      expect(spectral![i]!).toBeLessThan(expected[i]! * 1.0004);
      expect(spectral![i]!).toBeGreaterThan(expected[i]! / 4);
    });
  });

  it("refuses what has no bound, and inputs whose norm does not tell what the logits take of them", () => {
    const normed = applied(mhaNormed(c));
    const zero = given(normed.env, {
      wq: { axes: {}, data: [0] },
      wk: { axes: {}, data: [0] },
      gq: { axes: {}, data: [0] },
      gk: { axes: {}, data: [0] },
    });
    expect(refused(logitCertificate(normed.logits, zero))).toMatch(/logitCertificate: .*normalisation/);
    expect(refused(logitCertificate(normed.logits, zero))).not.toMatch(/heuristic/);
    const gated = model({ w: weight({ model: c.model }, { model2: c.model }) }, { x: "time model" }, ({ w, x }: R) =>
      label(
        dot(
          dot(rename(x, { time: "query" }), w, "model"),
          rename(
            map(x, (v: number) => Math.exp(v)),
            { time: "key", model: "model2" },
          ),
          "model2",
        ),
        "logits",
      ),
    );
    const { logits, env } = applied(gated);
    const moves = given(env, { w: { axes: {}, data: [1] } });
    expect(refused(logitCertificate(logits, moves))).toMatch(/computed from the inputs[\s\S]*measured/);
    expect(values(logitCertificate(logits, moves, { inputs: "measured" }), env)[0]![0]).toBeGreaterThan(0);
    expect(() => logitCertificate([], moves)).toThrow(/no logits/);
    expect(() => logitCertificate(logits, moves, { inputs: -1 })).toThrow(/at least 0/);
    expect(() => logitCertificate(logits, given(env, { w: { axes: { head: 3 }, data: [1, 1, 1] } }))).toThrow(/"head"/);
  });

  it("a spectral norm is never below the true one, and little above it", () => {
    const one = model({ w: weight({ model: 7 }, { dim: 5 }) }, { x: "time model", y: "key dim" }, ({ w, x, y }: R) =>
      label(dot(dot(x, w, "model"), y, "dim"), "logits"),
    );
    const leaf = flatten(one.params)[0]!.node as Leaf;
    const logits = find(one.apply(one.params, { x: input({ time: 2, model: 7 }), y: input({ key: 2, dim: 5 }) }), "logits");
    for (const [rank, spread] of [
      [5, 1],
      [5, 1e-9],
      [2, 1e-3],
      [1, 1],
      [5, 1e5],
      [0, 1],
    ] as const) {
      const env: Env = new Map();
      const data = new Float64Array(35);
      const basis = (n: number) => {
        const out: number[][] = [];
        while (out.length < rank) {
          const v = [...each(n, normal)];
          for (const b of out) {
            const p = v.reduce((s, e, i) => s + e * b[i]!, 0);
            v.forEach((_, i) => {
              v[i] = v[i]! - p * b[i]!;
            });
          }
          out.push(v.map((e) => e / Math.hypot(...v)));
        }
        return out;
      };
      const [u, v] = [basis(7), basis(5)];
      // Singular values 1, 1 − spread, …: close together or far apart.
      const sigma = each(rank, (r) => (spread < 1 ? 1 - r * spread : spread ** -r));
      sigma.forEach((s, r) => {
        for (let i = 0; i < 7; i++) for (let j = 0; j < 5; j++) data[i * 5 + j] = data[i * 5 + j]! + s * u[r]![i]! * v[r]![j]!;
      });
      env.set(leaf, data);
      const changes = given(env, { w: { axes: leaf.axes, data: [...data] } });
      const [got] = values(logitCertificate(logits, changes, { norm: "spectral", of: "changes" }), env);
      const truth = rank === 0 ? 0 : 1;
      expect(got![0]).toBeGreaterThanOrEqual(truth);
      expect(got![0]).toBeLessThanOrEqual(truth * 1.0004);
    }
  });
});

/** The label's input, seen outside the loop. */
function emitted(value: R): Node {
  return build.emit(value.loop, value.of.inputs[0]);
}
function refused(bounds: R): string {
  const out = runGraphPasses(
    bounds.map((b: R) => b.value),
    { capture: { folder: null } },
  );
  return isLeft(out) ? out.left.map((e) => e.message).join("\n") : "";
}
