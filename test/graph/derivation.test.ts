// The derivation against the paper's tables: as formulas after simplification, and in numbers on random weights of random
// shapes and scales over twelve orders of magnitude, with norms computed here.
import { describe, expect, it } from "vitest";
import { equal, type Greatest, type Norm, type RateFormula } from "../../compiler/explain/formulas.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { gqa, mha, mla } from "../../models/blocks.js";
import { boundsOf } from "../../runtime/derived.js";
import { evaluator } from "../../runtime/devices/js/oracle.js";
import { numbers, right } from "./harness.js";
import { loose, type R } from "./loose.js";

const { deriveRates, find, input } = loose;

// ── quack.md's tables, typed in ──────────────────────────────────────────────────────────────────────
const norm = (of: string, ...index: readonly string[]): Norm => ({ kind: "norm", of, index, power: 1 });
const most = (over: readonly string[], ...norms: readonly Norm[]): Greatest => ({ over, sum: [{ coefficient: 1, norms }] });
/** f(weight[index]) = 1 / (scale · max of the bounds) */
const factor = (scale: number, weight: string, index: readonly string[], ...bounds: readonly Greatest[]): RateFormula => ({
  weight,
  index,
  bounds: bounds.map((g) => ({ ...g, sum: g.sum.map((p) => ({ ...p, coefficient: p.coefficient * scale })) })),
  where: {},
});
type Sizes = Readonly<Record<"model" | "layer" | "head" | "group" | "dim" | "ff" | "vocab" | "cq" | "latent" | "nope" | "rope" | "value", number>>;
type Sigma = (weight: string, ...axes: readonly string[]) => readonly number[];
interface Table {
  readonly part: (c: Sizes) => R;
  readonly formulas: (c: Sizes) => readonly RateFormula[];
  /** By weight, from the norms of slices along the axes named. */
  readonly factors: (c: Sizes, s: Sigma) => Readonly<Record<string, readonly number[]>>;
}
const h = ["head"];
const top = (xs: readonly number[]): number => Math.max(...xs);
const all = (n: number, f: (i: number) => number): readonly number[] => Array.from({ length: n }, (_, i) => f(i));
const at = (xs: readonly number[], i = 0): number => xs[i] as number;
const tables: Readonly<Record<string, Table>> = {
  "multi-head (Algorithm 1)": {
    part: mha,
    formulas: (c) => [factor(c.dim ** -0.5, "wq", h, most([], norm("wk", "head"))), factor(c.dim ** -0.5, "wk", h, most([], norm("wq", "head")))],
    factors: (c, s) => ({
      wq: s("wk", "head").map((n) => Math.sqrt(c.dim) / n),
      wk: s("wq", "head").map((n) => Math.sqrt(c.dim) / n),
    }),
  },
  "grouped queries": {
    part: gqa,
    formulas: (c) => [
      factor(c.dim ** -0.5, "wq", ["group", "member"], most([], norm("wk", "group"))),
      factor(c.dim ** -0.5, "wk", ["group"], most(["member"], norm("wq", "group", "member"))),
    ],
    factors: (c, s) => {
      const [q, k] = [s("wq", "group", "member"), s("wk", "group")];
      const members = c.head / c.group;
      return {
        wq: all(c.head, (i) => Math.sqrt(c.dim) / at(k, Math.floor(i / members))),
        wk: all(c.group, (g) => Math.sqrt(c.dim) / top(q.slice(g * members, (g + 1) * members))),
      };
    },
  },
  "latent attention (Algorithm 2)": {
    part: mla,
    formulas: (c) => {
      const f = (weight: string, index: readonly string[], ...bounds: readonly Greatest[]) =>
        factor((c.nope + c.rope) ** -0.5, weight, index, ...bounds);
      const [dq, dkv, kr] = [norm("dq"), norm("dkv"), norm("kr")];
      const [uq, uk, qr] = [norm("uq", "head"), norm("uk", "head"), norm("qr", "head")];
      return [
        f("dq", [], most(h, uq, uk, dkv), most(h, qr, kr)),
        f("uq", h, most([], dq, uk, dkv)),
        f("qr", h, most([], dq, kr)),
        f("dkv", [], most(h, uq, dq, uk)),
        f("uk", h, most([], uq, dq, dkv)),
        f("kr", [], most(h, qr, dq)),
      ];
    },
    factors: (c, s) => {
      const root = Math.sqrt(c.nope + c.rope);
      const [dq, dkv, kr] = [at(s("dq")), at(s("dkv")), at(s("kr"))];
      const [uq, uk, qr] = [s("uq", "head"), s("uk", "head"), s("qr", "head")];
      return {
        dq: [root / Math.max(top(uq.map((q, i) => q * at(uk, i) * dkv)), top(qr.map((q) => q * kr)))],
        uq: uk.map((k) => root / (dq * k * dkv)),
        qr: qr.map(() => root / (dq * kr)),
        dkv: [root / top(uq.map((q, i) => q * dq * at(uk, i)))],
        uk: uq.map((q) => root / (q * dq * dkv)),
        kr: [root / top(qr.map((q) => q * dq))],
      };
    },
  },
};

// ── norms of their own ───────────────────────────────────────────────────────────────────────────────
interface Weight {
  readonly node: Leaf;
  readonly axes: Readonly<Record<string, number>>;
  readonly data: Float64Array;
}
/** The slices along `axes`, each as rows over the weight's other "from" axes and columns over its other "to" axes. */
function slices(w: Weight, axes: readonly string[]): readonly number[][][] {
  const names = Object.keys(w.axes);
  const side = (of: readonly string[]) => of.filter((a) => !axes.includes(a));
  const [from, to] = [side(w.node.param?.from ?? []), side(w.node.param?.to ?? [])];
  const count = (of: readonly string[]) => of.reduce((p, a) => p * (w.axes[a] as number), 1);
  const out = Array.from({ length: count(axes) }, () => Array.from({ length: count(from) }, () => new Array<number>(count(to)).fill(0)));
  w.data.forEach((v, flat) => {
    let rest = flat;
    const index: Record<string, number> = {};
    for (const a of [...names].reverse()) {
      index[a] = rest % (w.axes[a] as number);
      rest = Math.floor(rest / (w.axes[a] as number));
    }
    const place = (of: readonly string[]) => of.reduce((p, a) => p * (w.axes[a] as number) + (index[a] as number), 0);
    ((out[place(axes)] as number[][])[place(from)] as number[])[place(to)] = v;
  });
  return out;
}
const frobenius = (m: readonly (readonly number[])[]): number => Math.hypot(...m.flat());
/** One-sided Jacobi: rotations until all columns are orthogonal; their greatest length (Golub and Van Loan, 8.6.3). */
function spectral(m: readonly (readonly number[])[]): number {
  const scale = Math.max(...m.flat().map(Math.abs));
  if (scale === 0) return 0;
  const columns = (m[0] as readonly number[]).map((_, j) => m.map((row) => (row[j] as number) / scale));
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((p, x, i) => p + x * (b[i] as number), 0);
  for (let sweep = 0; sweep < 60; sweep++) {
    let turned = false;
    for (let i = 0; i < columns.length; i++)
      for (let j = i + 1; j < columns.length; j++) {
        const [a, b] = [columns[i] as number[], columns[j] as number[]];
        const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.abs(ab) <= 1e-15 * Math.sqrt(aa * bb)) continue;
        turned = true;
        const zeta = (bb - aa) / (2 * ab);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        for (let k = 0; k < a.length; k++) {
          const [x, y] = [a[k] as number, b[k] as number];
          a[k] = c * (x - t * y);
          b[k] = c * (t * x + y);
        }
      }
    if (!turned) break;
  }
  return scale * Math.max(...columns.map((col) => Math.hypot(...col)));
}

const random = numbers(23);
const whole = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
const normal = () => Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
function drawn(): Sizes {
  const group = whole(1, 3);
  return {
    ...{ model: whole(2, 7), layer: 1, head: group * whole(1, 3), group, dim: 2 * whole(1, 2), ff: 2, vocab: 3 },
    ...{ cq: whole(1, 5), latent: whole(1, 5), nope: whole(1, 4), rope: 2 * whole(1, 2), value: 2 },
  };
}
/** Every slice along a weight's "to" axis heads, groups and members has a scale of its own; some are of rank one. */
function refill(w: Weight): void {
  const own = Object.keys(w.axes).filter((a) => ["head", "group", "member"].includes(a));
  const scales = new Map<string, number>();
  const rank = random() < 0.2;
  const rows = new Map<string, number>();
  const between = 12 * random() - 6;
  w.data.forEach((_, flat) => {
    let rest = flat;
    const index: Record<string, number> = {};
    for (const [a, n] of Object.entries(w.axes).reverse()) {
      index[a] = rest % n;
      rest = Math.floor(rest / n);
    }
    const memo = (map: Map<string, number>, key: string, make: () => number) => {
      const v = map.get(key) ?? make();
      map.set(key, v);
      return v;
    };
    const slice = own.map((a) => index[a]).join();
    const scale = memo(scales, slice, () => 10 ** Math.max(-6, Math.min(6, between + 4 * random() - 2)));
    const [from, to] = [w.node.param?.from ?? [], w.node.param?.to ?? []].map((axes) => axes.map((a) => index[a]).join());
    const value = rank ? memo(rows, `r${from} ${slice}`, normal) * memo(rows, `c${to}`, normal) : normal();
    w.data[flat] = scale * value;
  });
}

describe.each(Object.entries(tables))("%s", (_, { part, formulas, factors }) => {
  const built = (c: Sizes) => {
    const m = part(c);
    return { m, y: m.apply(m.params, { x: input({ time: 3, model: c.model }) }) };
  };
  it("as formulas, whatever the sizes and the norm", () => {
    for (let i = 0; i < 20; i++) {
      const c = drawn();
      const { m, y } = built(c);
      const found = boundsOf(y, { norm: i % 2 === 0 ? "frobenius" : "spectral" }, m.params);
      if (!found || found._tag === "Left") throw found?.left ?? new Error("no logits");
      const expected = formulas(c);
      expect(found.right.rates.map((f) => f.weight)).toEqual(expected.map((f) => f.weight));
      for (const [k, f] of found.right.rates.entries()) expect([f, equal(f, expected[k] as RateFormula)]).toEqual([f, true]);
      // A changed table is another one.
      for (const [k, f] of expected.entries()) {
        const other = (of: string) => expected.find((e) => e.weight !== of)?.weight as string;
        const [first, ...rest] = f.bounds as [(typeof f.bounds)[0], ...typeof f.bounds];
        const renamed = first.sum.map((p) => ({ ...p, norms: p.norms.map((x, i) => (i === 0 ? { ...x, of: other(x.of) } : x)) }));
        expect(equal(found.right.rates[k] as RateFormula, { ...f, bounds: [{ ...first, sum: renamed }, ...rest] }), f.weight).toBe(false);
        const unmaximised = f.bounds.map((g) => ({ ...g, over: [] }));
        if (f.bounds.some((g) => g.over.length > 0)) expect(equal(found.right.rates[k] as RateFormula, { ...f, bounds: unmaximised })).toBe(false);
      }
    }
  });
  it("in numbers, on 1,000 sets of weights", () => {
    const worst = [0, 0];
    for (let shape = 0; shape < 20; shape++) {
      const c = drawn();
      const { m, y } = built(c);
      const env = new Map<Leaf, Float64Array>();
      const weights: Record<string, Weight> = {};
      for (const { path, node } of flatten(m.params)) {
        const axes = (node as Node).axes as Weight["axes"];
        weights[path] = { node: node as Leaf, axes, data: new Float64Array(Object.values(axes).reduce((p, n) => p * n, 1)) };
        env.set(node as Leaf, (weights[path] as Weight).data);
      }
      const rules = [
        { norm: "frobenius", of: frobenius },
        { norm: "spectral", of: spectral },
      ];
      const rates = rules.map(({ norm }) => deriveRates(find(y, "logits"), { norm }));
      const roots: readonly Node[] = rates.flatMap((r: R) => Object.values(r));
      const g = right(runGraphPasses(roots, { last: "grad", capture: { folder: null } }));
      const run = evaluator(g.roots, new Map(), g.originals);
      for (let set = 0; set < 50; set++) {
        for (const w of Object.values(weights)) refill(w);
        const values = run(env);
        rules.forEach(({ of }, k) => {
          const expected = factors(c, (name, ...axes) => slices(weights[name] as Weight, axes).map(of));
          const names = Object.keys(rates[k]);
          expect(names.sort()).toEqual(Object.keys(expected).sort());
          Object.keys(rates[k]).forEach((name, i) => {
            const got = values[k * names.length + i] as Float64Array;
            const want = expected[name] as readonly number[];
            // Where no axis of its own separates it, the table's entries are equal.
            want.forEach((v, j) => {
              worst[k] = Math.max(worst[k] as number, Math.abs(at([...got], got.length === want.length ? j : 0) / v - 1));
            });
          });
        });
      }
    }
    expect(worst[0]).toBeLessThan(1e-13);
    expect(worst[1]).toBeLessThan(1e-8);
  });
});
