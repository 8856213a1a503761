// What `mallard bound` prints is what runs: the printed factors, certificates and budgets are read again as arithmetic, and
// give the values of the expressions that the compiler derives.
import { describe, expect, test } from "vitest";
import type { Leaf, Node } from "../../dsl/node.js";
import { flatten } from "../../dsl/tree.js";
import { gqa, mha, mla } from "../../models/blocks.js";
import { boundsOf, boundsText } from "../../runtime/derived.js";
import { compute, type Env, input as leafOf, numbers } from "./harness.js";
import { loose, type R } from "./loose.js";

const { add, deriveRates, dot, find, gain, input, label, logitBudget, logitCertificate, map, model, mul, rename, weight } = loose;
const c = { model: 6, layer: 2, head: 4, group: 2, dim: 4, ff: 8, vocab: 7, cq: 5, latent: 3, nope: 3, rope: 2, value: 4 };

type At = Readonly<Record<string, number>>;
/** Atoms of the text: ‖W[i]‖, |W[i]|, max|W|, d(W[i]), D(W), f0(W[i]), tau, eta. */
type Atom = (kind: string, name: string, index: readonly string[], at: At) => number;
/** Reads and evaluates: sums of products by juxtaposition, quotients, maxima over axes. */
function value(text: string, sizes: At, atom: Atom): (at: At) => number {
  const tokens =
    text.match(/\|\|[^|]+\|\||max\|[^|]+\||\|[^|]+\||max\[[^\]]+\]|(?:d|D|f0)\([^()]+\)|sqrt|max|tau|eta|\d+(?:\.\d+)?(?:e[-+]?\d+)?|\^\d+|\S/g) ??
    [];
  let next = 0;
  type Value = (at: At) => number;
  const expected = (t: string) => {
    if (tokens[next++] !== t) throw new Error(`${t} expected before ${tokens.slice(next - 1).join(" ")} in ${text}`);
  };
  const named = (t: string): readonly [string, readonly string[]] => {
    const [, name, index] = /^([^[]+?)(?:\[(.*)\])?$/.exec(t) as unknown as [string, string, string | undefined];
    return [name, index?.split(", ") ?? []];
  };
  const list = (): readonly Value[] => {
    const out = [sum()];
    while (tokens[next] === ",") {
      next++;
      out.push(sum());
    }
    return out;
  };
  const one = (): Value => {
    const t = tokens[next++] as string;
    const close = t === "(" ? ")" : t === "[" ? "]" : null;
    if (close) {
      const inner = sum();
      expected(close);
      return inner;
    }
    if (t === "sqrt") {
      const inner = one();
      return (at) => Math.sqrt(inner(at));
    }
    if (t === "max") {
      expected("(");
      const all = list();
      expected(")");
      return (at) => Math.max(...all.map((v) => v(at)));
    }
    if (t.startsWith("max[")) {
      const axes = t.slice(4, -1).split(", ");
      const inner = one();
      return (at) =>
        axes
          .reduce<readonly At[]>((all, a) => all.flatMap((x) => Array.from({ length: sizes[a] as number }, (_, i) => ({ ...x, [a]: i }))), [at])
          .reduce((m, x) => Math.max(m, inner(x)), 0);
    }
    if (/^\d/.test(t)) return () => Number(t);
    if (t === "tau" || t === "eta") return (at) => atom(t, "", [], at);
    const [, kind, inside] = /^(\|\||max\||\||[dDf0]+\()(.*?)(?:\|\||\||\))$/.exec(t) as unknown as [string, string, string];
    const [name, index] = named(inside);
    return (at) => atom(kind, name, index, at);
  };
  const power = (): Value => {
    const base = one();
    const t = tokens[next];
    if (!t?.startsWith("^")) return base;
    next++;
    return (at) => base(at) ** Number(t.slice(1));
  };
  const product = (): Value => {
    let out = power();
    for (let t = tokens[next]; t !== undefined && !["+", "-", ")", "]", ","].includes(t); t = tokens[next]) {
      const before = out;
      if (t === "/") next++;
      const by = power();
      out = t === "/" ? (at) => before(at) / by(at) : (at) => before(at) * by(at);
    }
    return out;
  };
  const sum = (): Value => {
    let out = product();
    for (let t = tokens[next]; t === "+" || t === "-"; t = tokens[next]) {
      next++;
      const [before, more] = [out, product()];
      out = t === "+" ? (at) => before(at) + more(at) : (at) => before(at) - more(at);
    }
    return out;
  };
  const out = sum();
  if (next !== tokens.length) throw new Error(`${tokens.slice(next).join(" ")} is left of ${text}`);
  return out;
}

const random = numbers(17);
const sides = (x: R): readonly [R, R] => [rename(x, { time: "query" }), rename(x, { time: "key" })];
const biased = model(
  {
    wq: weight({ model: c.model }, { head: 4, dim: 3 }),
    wk: weight({ model: c.model }, { dim: 3 }),
    bk: weight({}, { dim: 3 }),
    g: gain({ dim: 3 }),
    sink: weight({}, { head: 4 }),
  },
  { x: "time model" },
  ({ wq, wk, bk, g, sink, x }: R) => {
    const [i, j] = sides(x);
    const s = dot(mul(dot(i, wq, "model"), g), add(dot(j, wk, "model"), bk), "dim");
    return label(
      map({ s, sink }, ({ s, sink }: R) => 0.3 * s - sink),
      "logits",
    );
  },
);
const cases: readonly (readonly [string, R, R])[] = [
  ["multi-head", mha(c), {}],
  ["grouped queries", gqa(c), {}],
  ["latent", mla(c), {}],
  ["latent, paths added", mla(c), { combine: "sum" }],
  ["biases, gains and a sink", biased, {}],
];
describe.each(cases)("%s", (_, part, o) => {
  const y = part.apply(part.params, { x: input({ time: 3, model: c.model }) });
  const found = boundsOf(y, o, part.params);
  if (!found || found._tag === "Left") throw found?.left ?? new Error("no logits");
  const [text] = boundsText(found.right).logits;
  const logits = find(y, "logits");
  const sizes: At = logits[0].value.axes;
  const params = new Map(flatten(part.params).map(({ path, node }) => [path, node as Leaf]));
  const env: Env = new Map(
    [...params.values()].map((l) => [
      l,
      Float64Array.from({ length: Object.values(l.axes as At).reduce((p, n) => p * n, 1) }, () => 2 * random() - 1),
    ]),
  );
  /** Of the weight's entries at these indices. */
  const entries = (name: string, index: readonly string[], at: At): readonly number[] => {
    const l = params.get(name) as Leaf;
    return [...(env.get(l) as Float64Array)].filter((_, flat) => {
      let rest = flat;
      return Object.entries(l.axes as At)
        .reverse()
        .every(([a, n]) => {
          const i = rest % n;
          rest = Math.floor(rest / n);
          return !index.includes(a) || i === at[a];
        });
    });
  };
  const size = 1.7;
  const norm = (kind: string, name: string, index: readonly string[], at: At): number => {
    if (name === "x") return size;
    const all = entries(name, index, at);
    return kind === "||" ? Math.hypot(...all) : Math.max(...all.map(Math.abs));
  };
  const rates: Readonly<Record<string, Node>> = deriveRates(logits, o);
  const names = Object.keys(rates);
  /** A value for each index of a rate: 0 to 1, in the order of its axes. */
  const given = (axes: At) => ({
    axes,
    leaf: leafOf(axes),
    data: Float64Array.from({ length: Object.values(axes).reduce((p, n) => p * n, 1) }, () => 0.1 + random()),
  });
  const pick = (g: { readonly axes: At; readonly data: ArrayLike<number> }, at: At) =>
    g.data[Object.entries(g.axes).reduce((p, [a, n]) => p * n + (at[a] as number), 0)] as number;
  const each = (axes: At): readonly At[] =>
    Object.entries(axes).reduce<readonly At[]>((all, [a, n]) => all.flatMap((x) => Array.from({ length: n }, (_, i) => ({ ...x, [a]: i }))), [{}]);
  const same = (got: Node, printed: (at: At) => number) => {
    const [data] = compute([got], env);
    for (const [i, at] of each(got.axes as At).entries()) expect((data?.[i] as number) / printed(at)).toBeCloseTo(1, 11);
  };
  const factors = new Map(
    (text?.factors ?? []).map((line) => [/^f\(([^[)]+)/.exec(line)?.[1] ?? "", value(line.slice(line.indexOf("=") + 1), sizes, norm)]),
  );
  const total = (lines: readonly string[], atom: Atom) => {
    const all = lines.map((line) => value(line, sizes, atom));
    return (at: At) => all.reduce((s, v) => s + v(at), 0);
  };

  test("factors", () => {
    expect([...factors.keys()]).toEqual(names);
    for (const [name, f] of factors) same(rates[name] as Node, f);
  });
  const moves = new Map([...params].map(([name]) => [name, given((rates[name]?.axes ?? {}) as At)]));
  test("certificate", () => {
    for (const g of moves.values()) env.set(g.leaf, g.data);
    const [got] = logitCertificate(logits, Object.fromEntries([...moves].map(([name, g]) => [name, g.leaf])), { inputs: size });
    same(
      got.value,
      total(text?.certificate ?? [], (kind, name, index, at) => (kind === "d(" ? pick(moves.get(name) as R, at) : norm(kind, name, index, at))),
    );
  });
  test("budget", () => {
    const f0 = new Map(names.map((name) => [name, given(rates[name]?.axes as At)]));
    for (const g of [...f0.values(), ...moves.values()]) env.set(g.leaf, g.data);
    const steps = Object.fromEntries(names.map((name) => [name, 0.5 + random()]));
    const [tau, eta] = [0.2, 0.3];
    const others = Object.fromEntries([...moves].filter(([name]) => !names.includes(name)).map(([name, g]) => [name, g.leaf]));
    const constants = Object.fromEntries(names.map((name) => [name, scalar(steps[name] as number)]));
    const [got] = logitBudget(
      logits,
      { f0: Object.fromEntries([...f0].map(([name, g]) => [name, g.leaf])), steps: constants, rate: tau * eta, others },
      { ...o, inputs: size },
    );
    const atom: Atom = (kind, name, index, at) => {
      if (kind === "tau" || kind === "eta") return kind === "tau" ? tau : eta;
      if (kind === "D(") return steps[name] as number;
      if (kind === "f0(") return pick(f0.get(name) as R, at);
      if (kind !== "d(") return norm(kind, name, index, at);
      const f = factors.get(name);
      return f ? (tau * eta * (steps[name] as number) * f(at)) / pick(f0.get(name) as R, at) : pick(moves.get(name) as R, at);
    };
    const budget = text?.budget;
    same(got.value, total([...(budget?.first ?? []), ...(budget?.rest ?? [])], atom));
  });
  const scalar = (v: number): Leaf => {
    const l = leafOf({});
    env.set(l, Float64Array.of(v));
    return l;
  };
});
