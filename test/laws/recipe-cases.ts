// What the recipes are tried on: for every form of nest (a total record: a new form does not compile without) programs whose
// kernels have that form, in each way that its recipe treats apart. Sizes are drawn around what blocks and chunks hold.
import type { Nest } from "../../compiler/lower/nest.js";
import * as build from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { loose as l, type R } from "../graph/loose.js";
import { monoids } from "./arrows.js";
import { fixedSize, outputsOf, weighed } from "./cases.js";
import { Draw } from "./draw.js";
import type { Case } from "./judge.js";

type Form = Nest["form"];
type Of<F extends Form> = Extract<Nest, { form: F }>;
interface Recipe<F extends Form> {
  readonly make: (d: Draw) => Node | Readonly<Record<string, Node>>;
  /** What the case is for: some kernel of the form is so. */
  readonly shows?: (nest: Of<F>) => boolean;
  /** Instead of the outputs themselves, the gradients of their weighed sum. */
  readonly gradients?: true;
}
type Recipes = { readonly [F in Form]: Readonly<Record<string, Recipe<F>>> };

const size = (axes: readonly { readonly extent: unknown }[]): number => axes.reduce((n, a) => n * Number(a.extent), 1);
/** A size near this one, not always a multiple of anything. */
const near = (d: Draw, about: number): number => about + d.pick([-3, -1, 0, 1, 5]);
const [linear, online] = [monoids.linear, monoids.online].map((m) => l.monoid(m.empty, m.concat)) as [R, R];
const f32 = (d: Draw, axes: Readonly<Record<string, number>>): Leaf => d.real(axes, [-2, 2], "f32");
const CHUNK = 256;

const product = (d: Draw, m: number, n: number, k: number): Node => l.dot(f32(d, { m, k }), f32(d, { k, n }), "k");
const contract: Recipes["contract"] = {
  plain: { make: (d) => product(d, near(d, 40), near(d, 70), near(d, 60)) },
  "several chunks, bare": { make: (d) => product(d, near(d, 40), near(d, 70), near(d, 600)), shows: (p) => size(p.k) > 2 * CHUNK },
  "several chunks, of which something is made": {
    make: (d) => {
      const n = near(d, 70);
      return l.map({ y: product(d, near(d, 40), n, near(d, 600)), b: f32(d, { n }) }, ({ y, b }: R) => Math.tanh(0.05 * y) + b);
    },
    shows: (p) => size(p.k) > 2 * CHUNK,
  },
  "few results of many terms": { make: (d) => product(d, 5, 7, near(d, 5000)), shows: (p) => size(p.k) > 16 * CHUNK },
  "few results of many terms, divided along the sum": {
    make: (d) => l.map({ y: product(d, near(d, 40), near(d, 60), 4096) }, ({ y }: R) => 0.5 * y),
    shows: (p) => p.batch.length === 1 && size(p.batch) === 16 && size(p.k) === CHUNK,
  },
  tall: { make: (d) => product(d, near(d, 1500), 3, near(d, 40)) },
  wide: { make: (d) => product(d, 3, near(d, 1500), near(d, 40)) },
  batched: {
    make: (d) => {
      const [b, k] = [near(d, 9), near(d, 20)];
      return l.dot(f32(d, { b, m: near(d, 15), k }), f32(d, { b, n: near(d, 35), k }), "k");
    },
    shows: (p) => p.batch.length > 0,
  },
  "turned operands": {
    make: (d) => {
      const k = near(d, 300);
      return l.dot(f32(d, { k, m: near(d, 30) }), f32(d, { n: near(d, 50), k }), "k");
    },
  },
  "several axes each way, operands made while packing": {
    make: (d) => {
      const [h, k, c] = [near(d, 9), 7, near(d, 9)];
      const x = l.map(f32(d, { t: near(d, 11), k, c, u: 5 }), (x: number) => Math.sin(x));
      return l.dot(x, d.real({ c, h, k, e: 17 }), "k", "c");
    },
  },
};

const row: Recipes["row"] = {
  "several stages": { make: (d) => l.softmax(f32(d, { t: near(d, 30), i: near(d, 300) }), "i"), shows: (r) => r.stages.length > 1 },
  "one row": {
    make: (d) =>
      l.sum(
        l.map(f32(d, { i: near(d, 9000) }), (x: number) => x * x),
        "i",
      ),
  },
  "neighbouring rows side by side": { make: (d) => l.mean(f32(d, { t: near(d, 300), i: near(d, 100) }), "t") },
  "no commutative sum": {
    make: (d) => {
      const s = f32(d, { t: near(d, 20), i: near(d, 600) });
      const { l: weight, o } = l.fold({ m: s, l: l.map(s, () => 1), o: s }, online, "i");
      return l.map({ weight, o }, ({ weight, o }: R) => o / weight);
    },
  },
  "prefix sums": {
    make: (d) => l.cumsum(f32(d, { t: near(d, 20), i: near(d, 300) }), "i", { reverse: true }),
    shows: (r) => r.stages.some((s) => s.stage === "scan"),
  },
  "scans side by side": {
    make: (d) => {
      const b = f32(d, { i: near(d, 100), t: near(d, 30) });
      return l.scan({ a: l.map(b, (x: number) => 0.5 + 0.25 * Math.sin(x)), b }, linear, "i").b;
    },
    shows: (r) => r.stages.some((s) => s.stage === "scan"),
  },
};

const map: Recipes["map"] = {
  "several axes": {
    make: (d) => {
      const [i, j] = [near(d, 40), near(d, 130)];
      return l.map({ x: f32(d, { i, j }), y: f32(d, { j, i, k: 5 }) }, ({ x, y }: R) => Math.exp(0.1 * x) * y + 1);
    },
  },
  "one long axis": { make: (d) => l.map(d.real({ i: near(d, 5000) }), (x: number) => Math.tanh(x) + 0.5 * x) },
  "one element": { make: (d) => l.map(f32(d, {}), (x: number) => Math.exp(x)) },
};

const embedded = (d: Draw, m: number): Node => {
  const v = near(d, 40);
  return l.at(f32(d, { v, m }), { v: d.whole({ t: near(d, 300) }, -1, v) });
};
/** What is scattered, the gradient of an embedding, and a sum of it and a product. */
const onto = (d: Draw, factors: (scattered: Node, v: number, m: number) => readonly [Node, Node]): Node => {
  const [v, m, t] = [near(d, 40), near(d, 60), near(d, 300)];
  const table = f32(d, { v, m });
  const scattered = l.grad(l.sum(l.mul(l.at(table, { v: d.whole({ t }, 0, v) }), f32(d, { t, m })), "t", "m"), table);
  const [a, b] = factors(scattered, v, m);
  return l.add(scattered, l.dot(a, b, "k"));
};
const scatter: Recipes["scatter"] = {
  "onto a product": { make: (d) => onto(d, (_, v, m) => [f32(d, { v, k: 50 }), f32(d, { k: 50, m })]), shows: (s) => s.onto === true },
  "beside a product that is made of it": { make: (d) => onto(d, (x, v) => [f32(d, { v, k: v }), l.rename(x, { v: "k" })]), shows: (s) => !s.onto },
  "columns divided": { make: (d) => embedded(d, near(d, 200)), gradients: true, shows: (s) => size(s.rows) >= 128 },
  "targets divided": { make: (d) => embedded(d, 5), gradients: true, shows: (s) => size(s.rows) < 8 },
};

const top: Recipes["top"] = {
  "few of many": { make: (d) => l.top(d.distinct({ t: near(d, 20), i: near(d, 300) }), "i", { slot: 9 }) },
  "with what was chosen": {
    make: (d) => {
      const [t, i] = [near(d, 20), near(d, 100)];
      const x = d.distinct({ t, i });
      const { chosen } = l.top(x, "i", { slot: 3 });
      return l.map({ p: chosen, x }, ({ p, x }: { p: boolean; x: number }) => (p ? 2 * x : -x));
    },
    shows: (t) => t.chosen !== null,
  },
};

const attention = (d: Draw, head: number, t: number, mask: R): Node =>
  l.attention({ q: f32(d, { head, query: t, dim: 8 }), k: f32(d, { head, key: t, dim: 8 }), v: f32(d, { head, key: t, value: 9 }) }, mask);
const causal: R = ({ s }: R, { query, key }: R) => (key <= query ? s : -Infinity);
const window: R = ({ s }: R, { query, key }: R) => (key <= query && query - key < 70 ? s : -Infinity);
const tiles: Recipes["tiles"] = {
  forward: { make: (d) => attention(d, 3, near(d, 200), causal) },
  "a window": { make: (d) => attention(d, 2, near(d, 260), window) },
  "gradients, each side in its own kernel": {
    make: (d) => attention(d, 2, near(d, 200), causal),
    gradients: true,
    shows: (t) => t.columns.length === 0,
  },
  "gradients, columns joined": { make: (d) => attention(d, 9, near(d, 140), causal), gradients: true, shows: (t) => t.columns.length > 0 },
};

const recipes: Recipes = { contract, row, map, scatter, top, tiles };

export interface RecipeCase extends Case {
  readonly form: Form;
  readonly shows: (nest: Nest) => boolean;
}
function caseOf<F extends Form>(form: F, name: string, r: Recipe<F>, seed: number): RecipeCase {
  const d = new Draw({ kind: "prime", storage: seed % 2 ? "bf16" : "f32", seed });
  const made = outputsOf(r.make(d));
  const given = [...d.env.keys()];
  const loss = r.gradients ? weighed(Object.values(made), d.env, d.next, fixedSize) : undefined;
  const outputs = loss ? Object.fromEntries(given.flatMap((x, i) => (x.dtype === "f32" ? [[`gradient ${i}`, build.grad(loss, x)]] : []))) : made;
  const { shows } = r;
  return {
    name: `${form}: ${name}`,
    inputs: d.env,
    outputs,
    gradients: {},
    extents: new Map(),
    form,
    shows: (nest) => nest.form === form && (!shows || shows(nest as Of<F>)), // its form says which it is
  };
}
/** Each case, drawn. */
export const recipeCases = (seed: number): readonly RecipeCase[] =>
  Object.entries(recipes).flatMap(([form, cases], f) =>
    // The record's key is the form of its cases.
    Object.entries(cases as Readonly<Record<string, Recipe<Form>>>).map(([name, r], i) => caseOf(form as Form, name, r, seed + 100 * f + i)),
  );
