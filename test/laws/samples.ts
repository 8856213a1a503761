// The samples of every operation: one total record, so that an operation without samples does not compile. A sample draws
// its inputs at the sizes of a round and gives the outputs to compare; what is differentiable is, unless it says otherwise.
import * as build from "../../dsl/build.js";
import type { Node, Op } from "../../dsl/node.js";
import { type Primitive, primitiveNames } from "../../dsl/primitives.js";
import { arg, call } from "../../dsl/scalar.js";
import { parametersOf } from "../capture/scalars.js";
import { loose, type R } from "../graph/loose.js";
import { choose, cut, exact, keep, logic, monoids, smooth, tests } from "./arrows.js";
import type { Draw } from "./draw.js";

export type Outputs = Node | Readonly<Record<string, Node>>;
export interface Sample {
  readonly make: (d: Draw) => Outputs;
  /** false: it has no derivative to compare, or none that central differences see (a cast is a staircase). */
  readonly differences?: false;
  readonly gradients?: false;
}
type Samples = Readonly<Record<string, Sample | ((d: Draw) => Outputs)>>;

const l = loose;
const { linear, matrix, online, moments } = Object.fromEntries(Object.entries(monoids).map(([name, m]) => [name, l.monoid(m.empty, m.concat)])) as R;

// ── map: every scalar primitive ──────────────────────────────────────────────────────────────────────
type Range = readonly [number, number];
/** Where each parameter is drawn; "exact" ones are multiples of 1/4, for what has jumps. Truth values are masks. */
const wide: Range = [-3, 3];
const domains: { readonly [P in Primitive]: readonly (Range | "exact")[] } = {
  neg: [wide],
  add: [wide, wide],
  sub: [wide, wide],
  mul: [wide, wide],
  div: [wide, [0.5, 3]],
  mod: ["exact", [1.5, 1.5]],
  pow: [[0.25, 3], wide],
  min: [wide, wide],
  max: [wide, wide],
  abs: [wide],
  sign: ["exact"],
  floor: ["exact"],
  ceil: ["exact"],
  round: ["exact"],
  trunc: ["exact"],
  sqrt: [[0.1, 9]],
  cbrt: [[0.1, 9]],
  exp: [[-20, 9]],
  expm1: [wide],
  log: [[0.01, 90]],
  log1p: [[-0.9, 9]],
  log2: [[0.01, 90]],
  log10: [[0.01, 90]],
  sin: [[-40, 40]],
  cos: [[-40, 40]],
  tan: [[-1.4, 1.4]],
  asin: [[-0.95, 0.95]],
  acos: [[-0.95, 0.95]],
  atan: [wide],
  atan2: [
    [0.5, 3],
    [-3, -0.5],
  ],
  sinh: [wide],
  cosh: [wide],
  tanh: [wide],
  asinh: [wide],
  acosh: [[1.1, 9]],
  atanh: [[-0.9, 0.9]],
  hypot: [
    [0.5, 3],
    [0.5, 3],
  ],
  recip0: [[0.5, 3]],
  fma: [wide, wide, wide],
  lt: ["exact", "exact"],
  le: ["exact", "exact"],
  gt: ["exact", "exact"],
  ge: ["exact", "exact"],
  eq: ["exact", "exact"],
  ne: ["exact", "exact"],
  and: [],
  or: [],
  not: [],
  select: [wide, wide, wide],
  toF32: [wide],
  toBf16: ["exact"],
  toF16: ["exact"],
  toI32: ["exact"],
  toBool: ["exact"],
  toReal: [wide],
};
const yieldsBool: readonly Primitive[] = ["lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "toBool"];
const stairs: readonly Primitive[] = ["sign", "floor", "ceil", "round", "trunc", "mod", "toF32", "toBf16", "toF16", "toI32", "toBool"];
const primitive = (prim: Primitive): Sample => ({
  ...(stairs.includes(prim) ? { differences: false as const } : {}),
  make: (d) => {
    const axes = { i: d.size([8, 96, 256]), j: d.size() };
    const names = parametersOf(prim).map((_, k) => `x${k}`);
    const args = parametersOf(prim).map((type, k) => {
      // The last parameter is broadcast: alignment by name is part of every map.
      const own = names.length > 1 && k === names.length - 1 ? { j: axes.j } : axes;
      const domain = domains[prim][k] ?? wide;
      return type === "boolean"
        ? d.mask(own)
        : domain === "exact"
          ? d.exact(own)
          : domain[0] === domain[1]
            ? l.constant(domain[0])
            : d.real(own, domain);
    });
    const dtype = yieldsBool.includes(prim) ? "bool" : prim === "toI32" ? "i32" : "f32";
    return build.map(Object.fromEntries(names.map((n, k) => [n, args[k] as Node])), { kind: "scalar", body: call(prim, ...names.map(arg)) }, dtype);
  },
});
const applied =
  (table: Readonly<Record<string, (x: never) => number | boolean>>, inputs: (d: Draw, axes: R) => R) =>
  (d: Draw): Outputs => {
    const axes = { i: d.size([16, 96, 256]), j: d.size() };
    const x = inputs(d, axes);
    return Object.fromEntries(
      Object.entries(table).map(([name, f]) => [name, l.map(Object.fromEntries(Object.entries(x).filter(([k]) => reads(f, k))), f)]),
    );
  };
/** Arrows name what they read in braces. */
const reads = (f: (x: never) => unknown, name: string): boolean => new RegExp(`\\b${name}\\b`).test(/\{([^}]*)\}/.exec(f.toString())?.[1] ?? "");

const maps: Samples = {
  ...Object.fromEntries(primitiveNames.map((p) => [p, primitive(p)])),
  smooth: applied(smooth, (d, { i, j }) => ({ a: d.real({ i, j }), b: d.real({ j }), c: d.real({}) })),
  exactly: { make: applied(exact, (d, { i, j }) => ({ a: d.exact({ i, j }), b: d.exact({ j, i }), c: d.exact({ i }) })), differences: false },
  compared: applied(tests, (d, { i, j }) => ({ a: d.exact({ i, j }), b: d.exact({ j }) })),
  logical: applied(logic, (d, { i, j }) => ({ p: d.mask({ i, j }), q: d.mask({ j }) })),
  masked: (d) => {
    const [i, j] = [d.size([8, 96]), d.size()];
    const [p, a, b] = [d.mask({ j, i }), d.real({ i }), d.real({ i, j })];
    return { keep: l.map({ p, a }, keep), choose: l.map({ p, a, b }, choose) };
  },
  /** −∞ is a value like others where nothing is made of it. */
  infinite: { make: (d) => l.map({ p: d.mask({ i: d.size([8, 96]) }), a: d.real({ j: d.size() }) }, cut), gradients: false },
  indices: (d) => {
    const [i, j] = [d.size([16, 96]), d.size()];
    return l.map({ x: d.real({ j, i }), s: 0.25 }, ({ x, s }: R, { i, j }: R, { i: n, j: m }: R) =>
      i <= j + 1 ? x * (n - i) * s : (j - x) / (m + 1),
    );
  },
  record: (d) => l.map({ x: d.real({ i: d.size([8, 256]) }), y: d.real({}) }, ({ x, y }: R) => ({ up: x * y, down: y - x, is: x > 1e9 })),
  grid: (d) => l.grid({ i: d.size(), j: d.size() }, ({ i, j }: R, { j: m }: R) => (i * m + j) / 8),
  /** Names that code generators like for themselves. */
  names: (d) => {
    const [s, g, it] = [d.size([8]), d.size([16]), d.size()];
    const [x, w] = [d.real({ s, g }, [-1, 1], "f32"), d.real({ it, g, x: g }, [-0.5, 0.5], "f32")];
    return l.repeat(it, { axis: "it", state: { x }, xs: { w } }, ({ x }: R, { w }: R) => ({
      x: l.map({ e: l.softmax(x, "g"), f: l.rename(l.dot(x, w, "g"), { x: "g" }) }, ({ e, f }: R) => Math.tanh(e) * Math.sin(e + f) + Math.tanh(f)),
    })).x;
  },
  rope: (d) => l.rope(d.real({ t: d.size(), p: 2 * d.size([3, 8]) }), "t", "p"),
};

// ── the view family ──────────────────────────────────────────────────────────────────────────────────
const views: Samples = {
  rename: (d) => l.rename(d.real({ i: d.size([96]), j: d.size() }), { i: "k" }),
  swapped: (d) => l.rename(d.real({ i: d.size([8]), j: d.size([16]) }), { i: "j", j: "i" }),
  split: (d) => {
    const [p, q] = [d.size([6, 8]), d.size([6, 16])];
    return l.split(d.real({ b: d.size(), i: p * q }), "i", { p, q });
  },
  merge: (d) => l.merge(d.real({ i: d.size([6, 16]), b: d.size(), j: d.size([8]) }), ["i", "j"], "m"),
  mergeThree: (d) => l.merge(d.real({ i: d.size(), j: d.size(), k: d.size() }), ["k", "i", "j"], "m"),
  slice: (d) => {
    const n = d.size([8, 96], 1);
    return l.slice(d.real({ i: n, j: d.size() }), "i", { from: 1, size: n - 1 });
  },
  pad: (d) => {
    const n = d.size([8, 96]);
    return l.pad(d.real({ i: n, j: d.size() }), "i", { before: 2, size: n + 3 });
  },
  concat: (d) => {
    const j = d.size();
    return l.concat(d.real({ i: d.size([8, 16]), j }, wide, "f32"), d.real({ j, i: d.size() }, wide, "f32"), "i");
  },
  concatMasks: (d) => l.concat(d.mask({ i: d.size([8]) }), d.mask({ i: d.size() }), "i"),
  stack: (d) => {
    const axes = { i: d.size([8, 96]), j: d.size() };
    return l.stack("k", d.real(axes), d.real(axes), d.real(axes));
  },
  taps: (d) => l.taps(d.real({ i: d.size([8, 96]), j: d.size() }), "i", { tap: 3 }),
  tapsCentred: (d) => l.taps(d.real({ i: d.size([8, 16]) }), "i", { tap: 4 }, { centre: true, dilate: 2 }),
  rotate: (d) => {
    const n = d.size([8, 96], 1);
    return l.view(d.real({ i: n, j: d.size() }), { i: n }, ({ i }: R, { i: n }: R) => ({ i: (i + 1) % n }));
  },
  flip: (d) => {
    const n = d.size([8, 96]);
    return l.view(d.real({ j: d.size(), i: n }), { k: n }, ({ k }: R, { i: n }: R) => ({ i: n - 1 - k }));
  },
  diagonal: (d) => {
    const n = d.size([8, 96]);
    return l.view(d.real({ i: n, j: n, b: d.size() }), { i: n }, ({ i }: R) => ({ i, j: i }));
  },
  window: (d) => l.view(d.real({ i: d.size([16]) }), { p: d.size(), q: 3 }, ({ p, q }: R) => ({ i: 2 * p + q - 1 })),
  skew: (d) => l.view(d.real({ i: d.size([8]), j: d.size([8]) }), { p: d.size([8]), q: d.size() }, ({ p, q }: R) => ({ i: p + q, j: q - p })),
  bucket: (d) =>
    l.view(d.real({ b: d.size([8]), h: d.size() }), { p: d.size([8]), q: d.size() }, ({ p, q }: R, { b: n }: R) => ({
      b: Math.min(n - 1, Math.max(p - q, 0) + Math.floor(Math.log2(1 + q))),
    })),
  repeated: (d) => l.view(d.real({ i: d.size([8]) }), { i: d.size([16]) }, ({ i }: R) => ({ i: Math.floor(i / 2) })),
  negativeRemainder: (d) => l.view(d.real({ i: 3 }), { p: d.size([8]) }, ({ p }: R) => ({ i: (p - 2) % 3 })),
  integers: (d) => l.view(d.whole({ i: d.size([8]) }, -9, 9), { k: d.size([8]) }, ({ k }: R) => ({ i: k - 1 })),
  ofComputed: (d) => {
    const n = d.size([8, 16]);
    const x = l.map(d.real({ i: n, j: n }), (x: number) => Math.sin(x));
    return {
      there: l.rename(x, { i: "j", j: "i" }),
      shifted: l.view(x, { i: n }, ({ i }: R) => ({ i: i - 1 })),
      both: l.mul(x, l.rename(x, { i: "j", j: "i" })),
    };
  },
};

// ── folds ────────────────────────────────────────────────────────────────────────────────────────────
const row: readonly number[] = [16, 96, 256];
const one =
  (f: (x: R, ...over: string[]) => Node, draw: (d: Draw, axes: R) => R): Sample["make"] =>
  (d) => {
    const axes = { b: d.size([6]), i: d.size(row), j: d.size([3]) };
    const x = draw(d, axes);
    return { last: f(x, "j"), middle: f(x, "i"), first: f(x, "b"), two: f(x, "b", "i"), apart: f(x, "j", "b") };
  };
const real = (d: Draw, axes: R) => d.real(axes);
/** m, n and k near the tiles of the contraction, operands laid out either way. */
const products = (d: Draw): R => {
  const [m, k, n] = [d.size([6, 96]), d.size([16, 256]), d.size([16, 8])];
  return {
    m,
    k,
    n,
    mk: d.real({ m, k }),
    km: d.real({ k, m }),
    kn: d.real({ k, n }),
    nk: d.real({ n, k }),
    row: d.real({ n }),
    mn: d.real({ m, n }),
  };
};
const folds: Samples = {
  sum: one(l.sum, real),
  mean: (d) => {
    const x = d.real({ b: d.size([6], 1), i: d.size(row, 1) });
    return { one: l.mean(x, "i"), two: l.mean(x, "i", "b") };
  },
  max: one(l.max, (d, axes) => d.distinct(axes)),
  min: one(l.min, (d, axes) => d.distinct(axes)),
  maxTies: { make: one(l.max, (d, axes) => d.exact(axes)), differences: false },
  prod: (d) => {
    const x = d.real({ b: d.size([6]), i: d.size([8, 16]) }, [0.5, 1.5]);
    return { one: l.prod(x, "i"), other: l.prod(x, "b"), two: l.prod(x, "b", "i") };
  },
  prodZeros: { make: (d) => l.prod(d.exact({ b: d.size([6]), i: d.size([3]) }), "i"), differences: false },
  logSumExp: one(l.logSumExp, real),
  norm: (d) => l.norm(d.real({ b: d.size([6]), i: d.size(row, 1) }, [0.5, 2]), "i"),
  argMax: (d) => ({
    ties: l.argMax(d.exact({ b: d.size([6]), i: d.size(row) }), "i"),
    apart: l.argMax(d.distinct({ i: d.size(row), b: d.size() }), "i"),
  }),
  softmax: (d) => {
    const x = d.real({ b: d.size([6]), i: d.size(row) });
    return { one: l.softmax(x, "i"), two: l.softmax(x, "i", "b"), column: l.softmax(x, "b") };
  },
  softmaxMasked: (d) => {
    const [i, j] = [d.size([6]), d.size(row)];
    const x = l.map({ a: d.real({ i, j }), p: d.mask({ i, j }, 0.4) }, cut);
    return { share: l.softmax(x, "j"), none: l.map(l.logSumExp(x, "j"), (x: number) => (x > -1e30 ? x : 0)) };
  },
  norms: (d) => {
    const x = d.real({ b: d.size([6]), i: d.size(row, 2) });
    return { rms: l.rms(x, "i"), layer: l.layerNorm(x, "i", { eps: 1e-2 }) };
  },
  crossEntropy: (d) => {
    const [b, v] = [d.size([6]), d.size([16, 96], 1)];
    return l.crossEntropy(d.real({ b, v }), d.whole({ b }, 0, v - 1), "v", { z: 0.01 });
  },
  ofMap: (d) => {
    const [i, j] = [d.size([6]), d.size(row)];
    return l.sum(l.map({ a: d.real({ i, j }), b: d.real({ j }) }, smooth.gate), "j");
  },
  moments: (d) => {
    const x = d.real({ b: d.size(), i: d.size(row) });
    return l.fold({ n: l.map(x, () => 1), s: x, q: l.mul(x, x) }, moments, "i");
  },
  momentsOfAll: (d) => {
    const x = d.real({ b: d.size([6]), i: d.size([16, 96]) });
    return l.fold({ n: l.map(x, () => 1), s: x, q: l.mul(x, x) }, moments, "i", "b");
  },
  online: (d) => {
    const [q, k, v] = [d.size([6]), d.size([16, 96]), d.size([8])];
    // At ties the gradient of an author's own maximum goes as the fold's tree does, which fusion changes.
    const [s, x] = [l.map(d.distinct({ q, k }), (s: number) => s / 8), d.real({ k, v })];
    const { l: sum, o } = l.fold({ m: s, l: l.map(s, () => 1), o: l.map({ s, x }, ({ x }: R) => x) }, online, "k");
    return { l: sum, o: l.map({ sum, o }, ({ sum, o }: R) => (sum > 0 ? o / sum : 0)) };
  },
  linear: (d) => {
    const i = d.size([8, 16]);
    return l.fold({ a: d.real({ i }, [0.5, 1]), b: d.real({ j: d.size(), i }) }, linear, "i");
  },
  matrix: (d) => {
    const axes = { i: d.size([8, 16]), b: d.size() };
    const part = (at: number) => d.real(axes, [at - 0.4, at + 0.4], "f32");
    return l.fold({ a: part(1), b: part(0), c: part(0), d: part(1) }, matrix, "i");
  },
  dot: (d) => {
    const { mk, km, kn, nk } = products(d);
    return { nn: l.dot(mk, kn, "k"), tn: l.dot(km, kn, "k"), nt: l.dot(mk, nk, "k"), tt: l.dot(km, nk, "k") };
  },
  dotEpilogue: (d) => {
    const { mk, kn, row, mn } = products(d);
    return {
      bias: l.map({ a: l.dot(mk, kn, "k"), b: row }, ({ a, b }: R) => Math.tanh(0.25 * a + b)),
      residual: l.add(l.dot(mk, kn, "k"), mn),
      scaled: l.scale(l.dot(mk, kn, "k"), 0.125),
    };
  },
  dotOfMaps: (d) => {
    const { mk, nk, kn } = products(d);
    return {
      left: l.dot(l.silu(mk), kn, "k"),
      both: l.dot(
        l.gelu(mk),
        l.map(nk, (x: number) => x * x),
        "k",
      ),
    };
  },
  dotMasked: (d) => {
    const [t, n] = [d.size([6, 96]), d.size([16])];
    const causal = l.map(d.real({ t, s: t }), (x: number, { t, s }: R) => (s <= t ? x : 0));
    return l.dot(causal, d.real({ s: t, n }), "s");
  },
  dotBatched: (d) => {
    const [b, m, k, n] = [d.size([3]), d.size([6, 8]), d.size([16]), d.size([16])];
    return {
      both: l.dot(d.real({ b, m, k }), d.real({ k, b, n }), "k"),
      shared: l.dot(d.real({ m, b, k }), d.real({ k, n }), "k"),
      inner: l.dot(d.real({ m, b, k }), d.real({ k, n, b }), "k", "b"),
    };
  },
  dotTwoAxes: (d) => {
    const [k, h] = [d.size([16]), d.size([6])];
    return l.dot(d.real({ m: d.size([6, 96]), k, h }), d.real({ h, n: d.size([8]), k }), "k", "h");
  },
  dotManyAxes: (d) => {
    const [k, b] = [d.size([8]), d.size()];
    return l.dot(d.real({ b, h: d.size(), t: d.size([6]), k }), d.real({ k, p: d.size(), q: d.size([8]) }), "k");
  },
  dotVector: (d) => {
    const k = d.size([96, 256]);
    const [x, y] = [d.real({ k }), d.real({ k })];
    return {
      inner: l.dot(x, y, "k"),
      matrixVector: l.dot(d.real({ m: d.size([6, 96]), k }), x, "k"),
      vectorMatrix: l.dot(x, d.real({ k, n: d.size([16]) }), "k"),
    };
  },
  outer: (d) => l.mul(d.real({ m: d.size([96]) }), d.real({ n: d.size([16]) })),
  ofItself: (d) => {
    const x = d.real({ m: d.size([6]), k: d.size([16]) });
    return l.dot(x, l.rename(x, { m: "n" }), "k");
  },
  attention: (d) => {
    const [h, t, dim] = [d.size([3]), d.size([6, 16]), d.size([8], 1)];
    const part = (axes: R) => d.real(axes, [-2, 2], "f32");
    return l.attention({ q: part({ h, query: t, dim }), k: part({ h, key: t, dim }), v: part({ h, key: t, dim }) }, ({ s }: R, { query, key }: R) =>
      key <= query ? s : -Infinity,
    );
  },
};

const prefixes = [{}, { exclusive: true }, { reverse: true }, { exclusive: true, reverse: true }];
const eachPrefix = (f: (o: R) => R): Outputs =>
  Object.fromEntries(
    prefixes.flatMap((o, k) => {
      const made = f(o);
      return "op" in made ? [[`p${k}`, made]] : Object.entries(made).map(([c, n]) => [`p${k}${c}`, n]);
    }),
  );
const scans: Samples = {
  cumsum: (d) => {
    const x = d.real({ b: d.size([6]), i: d.size([16, 96]) });
    return { ...eachPrefix((o) => l.cumsum(x, "i", o)), along: l.cumsum(x, "b") } as Outputs;
  },
  cumsumLong: { make: (d) => l.cumsum(d.real({ i: d.size([256, 512]) }), "i"), differences: false },
  cumprod: (d) => {
    const x = d.real({ i: d.size([8, 16]), b: d.size() }, [0.6, 1.4]);
    return eachPrefix((o) => l.cumprod(x, "i", o));
  },
  linear: (d) => {
    const i = d.size([8, 16]);
    const [a, b] = [d.real({ i }, [0.5, 1]), d.real({ i, j: d.size() })];
    return eachPrefix((o) => l.scan({ a, b }, linear, "i", o));
  },
  matrix: (d) => {
    const axes = { i: d.size([8]) };
    const part = (at: number) => d.real(axes, [at - 0.4, at + 0.4], "f32");
    const x = { a: part(1), b: part(0), c: part(0), d: part(1) };
    return eachPrefix((o) => l.scan(x, matrix, "i", o).b);
  },
  online: (d) => {
    const k = d.size([8, 16]);
    const [s, x] = [d.real({ k, q: d.size() }), d.real({ k, v: d.size([8]) })];
    const { l: sum, o } = l.scan({ m: s, l: l.map(s, () => 1), o: l.map({ s, x }, ({ x }: R) => x) }, online, "k");
    return l.map({ sum, o }, ({ sum, o }: R) => o / sum);
  },
};

const gathers: Samples = {
  embedding: (d) => {
    const v = d.size([16, 96]);
    return l.at(d.real({ v, m: d.size([16]) }), { v: d.whole({ t: d.size([6]) }, -1, v + 1) });
  },
  inner: (d) => {
    const v = d.size([8]);
    return l.at(d.real({ m: d.size([6]), v }), { v: d.whole({ t: d.size([16]) }, 0, v) });
  },
  shared: (d) => {
    const [i, j] = [d.size([6, 16]), d.size([8])];
    return l.at(d.real({ i, j }), { j: d.whole({ i }, -1, j) });
  },
  several: (d) => {
    const [i, j, k] = [d.size(), d.size(), d.size([8])];
    return l.at(d.real({ i, b: d.size(), j }), { i: d.whole({ k }, -1, i), j: d.whole({ k, t: d.size() }, 0, j) });
  },
  itself: (d) => {
    const [i, j] = [d.size([6]), d.size()];
    return l.at(d.real({ i, j }), { i: d.whole({ i, j }, -1, i) });
  },
  number: (d) => {
    const i = d.size([8], 1);
    return { first: l.at(d.real({ i, j: d.size() }), { i: 0 }), last: l.at(d.real({ j: d.size(), i }), { i: i - 1 }) };
  },
  scalarIndex: (d) => l.at(d.real({ i: d.size([8]), j: d.size() }), { i: d.whole({}, -1, 4) }),
  ofComputed: (d) => {
    const [v, t] = [d.size([8]), d.size([6])];
    const x = l.map(d.real({ v, m: d.size() }), (x: number) => Math.tanh(x));
    return l.at(x, { v: l.argMax(d.distinct({ t, v }), "v") });
  },
  integers: (d) => l.at(d.whole({ v: d.size([8]) }, -5, 5), { v: d.whole({ t: d.size() }, -1, 8) }),
  masks: (d) => l.at(d.mask({ v: d.size([8]) }), { v: d.whole({ t: d.size() }, -1, 8) }),
};

const tops: Samples = {
  distinct: (d) => {
    const i = d.size([16, 96]);
    return l.top(d.distinct({ b: d.size([6]), i }), "i", { slot: Math.min(3, i) });
  },
  ties: { make: (d) => l.top(d.exact({ i: d.size([16, 96], 2), b: d.size([6]) }), "i", { slot: 2 }), differences: false },
  whole: (d) => {
    const i = d.size([8]);
    return l.top(d.distinct({ i, b: d.size() }), "i", { i });
  },
  gathered: (d) => {
    const i = d.size([8, 16], 2);
    const { index, value } = l.top(d.distinct({ b: d.size(), i }), "i", { slot: 2 });
    return l.mul(l.at(d.real({ i, m: d.size() }), { i: index }), value);
  },
  masked: (d) => {
    const [b, i] = [d.size(), d.size([8, 16], 2)];
    const { chosen } = l.top(d.distinct({ b, i }), "i", { slot: 2 });
    return l.softmax(l.map({ p: chosen, a: d.real({ b, i }) }, cut), "i");
  },
};

const dtypes = ["f32", "bf16", "f16", "i32", "bool"] as const;
const casts: Samples = {
  every: {
    make: (d) => {
      const axes = { i: d.size([8, 96]), j: d.size() };
      const from = {
        f32: d.real(axes, [-9, 9], "f32"),
        bf16: d.real(axes, wide, "bf16"),
        f16: d.real(axes, wide, "f16"),
        i32: d.whole(axes, -300, 300),
        bool: d.mask(axes),
        quarters: d.exact(axes),
      };
      return Object.fromEntries(Object.entries(from).flatMap(([a, x]) => dtypes.map((b) => [`${a} to ${b}`, l.cast(x, b)])));
    },
    differences: false,
  },
  between: {
    // Storage in the middle of a computation: what follows reads the rounded value.
    make: (d) => {
      const x = d.exact({ i: d.size([8, 96]) });
      const s = l.map(x, (x: number) => x * 37 + 0.125);
      return {
        bf16: l.map(l.cast(s, "bf16"), (x: number) => x * 2),
        f16: l.sum(l.cast(s, "f16"), "i"),
        i32: l.map(l.cast(s, "i32"), (x: number) => x / 8),
      };
    },
    differences: false,
  },
};

const randoms: Samples = {
  uniform: (d) => l.uniform(l.keys("laws"), { i: d.size([96, 256]), j: d.size() }),
  normal: (d) => l.normal(l.keys(7), { i: d.size([96, 256]), j: d.size() }),
  extended: (d) => {
    const [k, e] = [l.keys("seed")("layer"), d.whole({}, 0, 1000)];
    const axes = { i: d.size([16]) };
    return { by: l.uniform(k(e), axes), after: l.uniform(k(e)("x"), axes), again: l.normal(k(e)(d.whole({}, -9, 9)), axes) };
  },
  inside: (d) => {
    const i = d.size([96]);
    return l.mul(d.real({ i }), l.normal(l.keys("x"), { i }));
  },
  dropout: (d) => l.dropout(d.real({ i: d.size([96]), j: d.size() }), 0.25, l.keys("drop")),
};

// ── loops ────────────────────────────────────────────────────────────────────────────────────────────
const loops: Samples = {
  layers: (d) => {
    const [layer, m] = [d.size([3]), d.size([6, 16])];
    const [x, w] = [d.real({ t: d.size(), m }, wide, "f32"), d.real({ layer, m, n: m }, [-0.5, 0.5])];
    return l.repeat(layer, { axis: "layer", state: { x }, xs: { w } }, ({ x }: R, { w }: R) => ({
      x: l.map({ x, y: l.rename(l.dot(x, w, "m"), { n: "m" }) }, ({ x, y }: R) => 0.5 * x + Math.tanh(y)),
    }));
  },
  counter: (d) => {
    const x = d.real({ m: d.size([8]) }, wide, "f32");
    return l.repeat(3, { state: { x, n: l.cast(l.constant(2), "i32") } }, ({ x, n }: R, _: R, step: R) => ({
      x: l.map({ x, step, n }, ({ x, step, n }: R) => Math.sin(x) + 0.25 * step * n),
      n: l.cast(
        l.map({ n, step }, ({ n, step }: R) => n + step),
        "i32",
      ),
    }));
  },
  swap: (d) => {
    const axes = { m: d.size([8]), n: d.size() };
    const state = { a: d.real(axes, wide, "f32"), b: d.real(axes, wide, "f32") };
    return l.repeat(5, { state }, ({ a, b }: R) => ({ a: b, b: l.map({ a, b }, ({ a, b }: R) => Math.tanh(a + 0.5 * b)) }));
  },
  nested: (d) => {
    const [m, k] = [d.size([6]), d.size([3])];
    const [x, w, v] = [d.real({ m }, wide, "f32"), d.real({ k, m }), d.real({ step: 2, m })];
    return l.repeat(k, { axis: "k", state: { x }, xs: { w } }, ({ x }: R, { w }: R) => {
      const h = l.map({ x, w }, ({ x, w }: R) => Math.sin(x * w));
      const inner = l.repeat(2, { axis: "step", state: { z: h }, xs: { v } }, ({ z }: R, { v }: R) => ({
        z: l.map({ z, v, h, s: l.sum(z, "m") }, ({ z, v, h, s }: R) => Math.tanh(z * v + h) + 0.1 * Math.sin(s)),
      }));
      return { x: l.add(inner.z, x) };
    });
  },
  /** An inner loop depends on the outer one by what it slices alone; its start and all else come from outside. */
  slicesOfSlices: (d) => {
    const [i, j] = [d.size([3]), d.size([3])];
    const [x, z, w] = [d.real({}, wide, "f32"), d.real({}, wide, "f32"), d.real({ i, j }, wide, "f32")];
    return l.repeat(i, { axis: "i", state: { x }, xs: { w } }, ({ x }: R, { w }: R) => {
      const inner = l.repeat(j, { axis: "j", state: { z }, xs: { w } }, ({ z }: R, { w }: R) => ({
        z: l.map({ z, w }, ({ z, w }: R) => Math.tanh(0.5 * z + w)),
      })).z;
      return { x: l.map({ x, inner }, ({ x, inner }: R) => 0.5 * x + inner) };
    });
  },
  /** The body gives the state back with its axes in another order. */
  turned: (d) => {
    const x = d.real({ i: d.size([6]), j: d.size([8]) }, wide, "f32");
    return l.repeat(2, { state: { x } }, ({ x }: R) => ({ x: l.map({ y: l.sum(x, "i"), x }, ({ y, x }: R) => Math.sin(x) + 0.1 * y) }));
  },
  /** A value inside has an axis of the loop's name, and a loop may have no turns. */
  sameName: (d) => {
    const i = d.size([3]);
    const [x, w] = [d.real({}, wide, "f32"), d.real({ i }, wide, "f32")];
    return l.repeat(i, { axis: "i", state: { x }, xs: { w } }, ({ x }: R, { w: one }: R, counter: R) => ({
      x: l.map(
        {
          x,
          one,
          y: l.sum(
            l.map({ w, x, counter }, ({ w, x, counter }: R) => Math.sin(w * x + counter)),
            "i",
          ),
        },
        ({ x, one, y }: R) => Math.tanh(x + one) + 0.1 * y,
      ),
    }));
  },
  unused: (d) => {
    // A state that stays what it is, and one that nobody reads before it is replaced.
    const x = d.real({ m: d.size([8]) }, wide, "f32");
    return l.repeat(2, { state: { x, y: l.map(x, () => 3), z: x } }, ({ x, y }: R) => ({ x, y: l.scale(y, 0.5), z: l.add(x, y) }));
  },
  captured: (d) => {
    const [m, n] = [d.size([6]), d.size([8])];
    const [x, w] = [d.real({ m }, wide, "f32"), d.real({ m, n }, [-1, 1])];
    const g = l.softmax(w, "n");
    return l.repeat(3, { state: { x } }, ({ x }: R) => ({ x: l.dot(l.dot(x, g, "m"), g, "n") }));
  },
  microBatches: (d) => {
    const [w, x] = [d.real({ m: d.size([6]) }, wide, "f32"), d.real({ micro: 3, b: d.size([8]), m: 1 }, wide)];
    const loss = (x: R) =>
      l.sum(
        l.map({ x: l.sum(x, "m"), w }, ({ x, w }: R) => Math.tanh(x * w)),
        "b",
        "m",
      );
    return l.repeat(3, { axis: "micro", state: { g: l.map(w, () => 0) }, xs: { x } }, ({ g }: R, { x }: R) => ({ g: l.add(g, l.grad(loss(x), w)) }))
      .g;
  },
};
const emits: Samples = Object.fromEntries(
  [false, true].map((reverse) => [
    reverse ? "reversed" : "stacked",
    (d: Draw) => {
      const [layer, m] = [d.size([3]), d.size([8, 16])];
      const [x, w] = [d.real({ m }, wide, "f32"), d.real({ layer, m }, wide)];
      let inside: R;
      const loop = build.loop({ axis: "layer", count: layer, reverse, init: [x], xs: [w] }, ([c], [w], i) => {
        inside = l.map({ c, w, i }, ({ c, w, i }: R) => Math.tanh(c * w) + 0.125 * i);
        return [l.add(inside, l.scale(c as R, 0.5))];
      });
      return {
        values: build.emit(loop, inside),
        carries: build.emit(loop, loop.carry[0] as Node),
        last: build.carry(loop, 0),
        sums: l.sum(build.emit(loop, inside), "layer"),
      };
    },
  ]),
);

const leaves: Samples = {
  asIs: (d) => {
    const axes = { i: d.size([8, 96]), j: d.size() };
    return {
      f32: d.real(axes, wide, "f32"),
      bf16: d.real(axes, wide, "bf16"),
      f16: d.real(axes, wide, "f16"),
      i32: d.whole(axes, -2147483648 / 256, 2147483647 / 256),
      bool: d.mask(axes),
      scalar: d.real({}),
    };
  },
  computed: (d) => {
    const axes = { j: d.size([8]), i: d.size() };
    return l.map(
      { f: d.real(axes, wide, "f32"), g: d.real(axes, wide, "bf16"), h: d.real(axes, wide, "f16"), i: d.whole(axes, -9, 9), p: d.mask(axes) },
      ({ f, g, h, i, p }: R) => (p ? f + g * i : h - g),
    );
  },
};
const renamedKeys = (x: R, by: string): R => Object.fromEntries(Object.entries(x).map(([k, v]) => [`${k} ${by}`, v]));
const squares = (d: Draw) => {
  const x = d.real({ i: d.size([6]), j: d.size([16]) }, wide, "f32");
  return {
    x,
    loss: l.sum(
      l.map(l.softmax(x, "j"), (p: number) => p * p),
      "i",
      "j",
    ),
  };
};

export const samples: { readonly [O in Op]: Samples } = {
  leaf: leaves,
  constant: {
    alone: () => ({ real: l.constant(0.1), whole: build.constant(7, "i32"), truth: build.constant(true) }),
    filled: (d) => ({ filled: l.grid({ i: d.size([96]) }, () => 2.5), added: l.add(l.constant(-0.3), d.real({ i: d.size() })) }),
  },
  map: maps,
  view: views,
  at: gathers,
  fold: folds,
  scan: scans,
  top: tops,
  random: randoms,
  cast: casts,
  stop: {
    value: { make: (d) => l.mul(l.stopGradient(d.real({ i: d.size([8]) })), d.real({ j: d.size() })), differences: false },
    part: {
      make: (d) => {
        const x = d.real({ i: d.size([8]) });
        return l.map({ x, s: l.stopGradient(x) }, ({ x, s }: R) => x * s);
      },
      differences: false,
    },
  },
  label: { named: (d) => l.mul(l.label(d.real({ i: d.size([8]) }), "logits"), d.real({ j: d.size() })) },
  grad: {
    first: (d) => {
      const { x, loss } = squares(d);
      return l.grad(loss, x);
    },
    second: (d) => {
      const { x, loss } = squares(d);
      return l.grad(
        l.sum(
          l.map(l.grad(loss, x), (g: number) => g * g),
          "i",
          "j",
        ),
        x,
      );
    },
    ofSum: (d) => {
      const x = d.real({ i: d.size([8]) }, wide, "f32");
      return l.grad(l.sum(l.cumprod(x, "i"), "i"), x);
    },
  },
  rate: {
    product: (d) => {
      const [m, h, c] = [d.size([6], 1), d.size([3], 1), d.size([8], 1)];
      const [wq, wk] = [d.param({ m, h, c }, ["m"], ["c"]), d.param({ m, h, c }, ["m"], ["c"])];
      const x = d.real({ t: 3, m });
      const logits = l.label(l.dot(l.dot(x, wq, "m"), l.rename(l.dot(x, wk, "m"), { t: "s" }), "c"), "logits");
      const rates = { ...l.deriveRates([{ value: logits }]), ...renamedKeys(l.deriveRates([{ value: logits }], { combine: "sum" }), "sum") };
      return { logits, ...rates };
    },
    /** Heads under other names, a constant that scales, a gain, a bias, a floor. */
    seen: (d) => {
      const [m, g, c] = [d.size([5], 1), d.size([3], 1), d.size([4], 1)];
      const [wq, wk] = [d.param({ m, h: 2 * g, c }, ["m"], ["h", "c"]), d.param({ m, g, c }, ["m"], ["g", "c"])];
      const [b, t] = [d.param({ g, c }, [], ["g", "c"]), d.param({ c }, [], [])];
      const x = d.real({ t: 3, m });
      const q = l.split(l.dot(x, wq, "m"), "h", { g, n: 2 });
      const k = l.mul(
        l.add(l.rename(l.dot(x, wk, "m"), { t: "s" }), b),
        l.mul(
          t,
          l.grid({ c }, ({ c }: R) => 1 + c / 2),
        ),
      );
      const logits = [{ value: l.label(l.dot(q, k, "c"), "logits") }];
      return l.deriveRates(logits, { floor: 1.5, combine: "sum" });
    },
  },
  bound: {
    product: (d) => {
      const [m, h, c] = [d.size([6], 1), d.size([3], 1), d.size([3], 1)];
      const [wq, wk] = [d.param({ m, h, c }, ["m"], ["h", "c"]), d.param({ m, h, c }, ["m"], ["h", "c"])];
      const x = d.real({ t: 3, m });
      const logits = [{ value: l.label(l.dot(l.dot(x, wq, "m"), l.rename(l.dot(x, wk, "m"), { t: "s" }), "c"), "logits") }];
      const moves = { [wq.name]: l.constant(0.5), [wk.name]: l.constant(0.25) };
      const [certificate] = l.logitCertificate(logits, { [wq.name]: wk, [wk.name]: wq }, { of: "changes", norm: "spectral", inputs: 2 });
      const [budget] = l.logitBudget(logits, { f0: l.deriveRates(logits), steps: moves, rate: 0.1 });
      return { certificate: certificate.value, budget: budget.value };
    },
  },
  carry: loops,
  emit: emits,
};
