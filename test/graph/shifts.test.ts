// What authors subtract in exponents: the rules of the primitives hold as they say; a maximum that nothing depends on has
// no gradient, one that something depends on keeps it.
import { describe, expect, it } from "vitest";
import { shifts } from "../../compiler/graph/shifts.js";
import { order } from "../../compiler/graph/walk.js";
import { runGraphPasses } from "../../compiler/pipeline.js";
import { grad } from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { evaluate, type Primitive, primitiveNames, primitives } from "../../dsl/primitives.js";
import { arg, call } from "../../dsl/scalar.js";
import { type Grade, gradeOf } from "../../dsl/scalar-shift.js";
import { compute, computeRead, type Env, fill, input, numbers, right, weigh } from "./harness.js";
import { loose, type R } from "./loose.js";

const { add, cast, div, exp, fold, label, log, map, max, monoid, mul, rename, repeat, scale, softmax, stopGradient, sub, sum } = {
  ...loose,
  exp: (x: R) => loose.map(x, (x: R) => Math.exp(x)),
  log: (x: R) => loose.map(x, (x: R) => Math.log(x)),
};

describe("the rules of the primitives", () => {
  const t = 0.37;
  const moved = (x: number, g: Grade): number => (g.kind === "adds" ? x + g.by * t : g.kind === "scales" ? x * Math.exp(g.by * t) : x);
  const fixed = (value?: number | boolean): Grade => (value === undefined ? { kind: "fixed" } : { kind: "fixed", value });
  const conditions = new Set<Primitive>(["and", "or", "not"]);
  /** Arguments: a number and how it moves. */
  const sorts: readonly (readonly [number, Grade])[] = [
    ...[-1.75, 0.4, 2.5].map((x) => [x, fixed()] as const),
    ...[-2, 0, 0.5, 3, Infinity, -Infinity].map((x) => [x, fixed(x)] as const),
    ...[-1.2, 0.8].flatMap((x) => [-1, 2].map((by) => [x, { kind: "adds", by } as const] as const)),
    ...[-1.2, 0, 0.8].flatMap((x) => [-1, 2].map((by) => [x, { kind: "scales", by } as const] as const)),
  ];
  it.each(primitiveNames)("%s", (prim) => {
    const { arity } = primitives[prim];
    const names = ["a", "b", "c"].slice(0, arity);
    const body = call(prim, ...names.map(arg));
    const bools = [true, false].map((b) => [b, fixed()] as const);
    const choices = names.map((_, i) => (conditions.has(prim) || (prim === "select" && i === 0) ? bools : sorts));
    const [first, second = [null], third = [null]] = choices as readonly (readonly (readonly [number | boolean, Grade])[])[];
    for (const a of first ?? [])
      for (const b of second)
        for (const c of third) {
          const args = [a, b, c].slice(0, arity) as readonly (readonly [number | boolean, Grade])[];
          const g = gradeOf(body, (name) => (args[names.indexOf(name)] as readonly [number, Grade])[1]);
          if (g === null) continue;
          const before = evaluate(
            prim,
            args.map(([x]) => x),
          );
          const now = evaluate(
            prim,
            args.map(([x, h]) => (typeof x === "number" ? moved(x, h) : x)),
          );
          // Rounding counts as the identity, and what is no number may stay none.
          const bar = prim === "toBf16" || prim === "toF16" ? 0.02 : prim === "toF32" ? 1e-6 : 1e-12;
          if (typeof before === "boolean") expect(now).toBe(before);
          else if (!Number.isNaN(before)) {
            const wanted = moved(before, g);
            if (Number.isFinite(wanted)) expect(Math.abs(wanted - (now as number))).toBeLessThanOrEqual(bar * (1 + Math.abs(wanted)));
            else expect(now).toBe(wanted);
          }
          if (g.kind === "fixed" && g.value !== undefined && !Number.isNaN(before)) expect(before === g.value).toBe(true);
        }
  });
});

const read = (roots: readonly Node[]): readonly Node[] => right(runGraphPasses(roots, { last: "read", capture: { folder: null } })).roots;
const stops = (roots: readonly Node[]): number => order(roots).filter((n) => n.op === "stop").length;
const sizes = { b: 2, i: 3, j: 5 };

/** The number of maxima held, and the greatest difference of values and gradients from the oracle's. */
function check(make: (x: R, z: R) => R, o: { readonly masked?: boolean } = {}): { readonly held: number; readonly apart: number } {
  const [x, z] = [input(sizes), input({ b: 2 })];
  const env: Env = new Map();
  const random = numbers(5);
  for (const l of [x, z]) env.set(l, fill(l, random));
  if (o.masked) (env.get(x) as Float64Array).set([-Infinity, -Infinity], 6);
  const y = make(x, z) as Node;
  const loss = Object.keys(y.axes).length === 0 ? y : weigh(y, random, env);
  const roots = [y, ...[x, z].map((l: Leaf) => grad(loss, l))];
  const [a, b] = [compute(roots, env), computeRead(roots, env)];
  const apart = Math.max(...a.map((u, k) => Math.max(...u.map((v, i) => (Object.is(v, b[k]?.[i]) ? 0 : Math.abs(v - (b[k]?.[i] as number)))))));
  const before = read(roots);
  const once = shifts(before).roots;
  expect(shifts(once).roots).toEqual(once);
  return { held: stops(once) - stops(before), apart };
}

describe("maxima that nothing depends on", () => {
  const soft = (x: R, u: R) => {
    const e = exp(sub(x, u));
    return { e, l: sum(e, "j") };
  };
  const cases: Record<string, (x: R, z: R) => R> = {
    "a softmax by hand": (x) => {
      const { e, l } = soft(x, max(x, "j"));
      return div(e, l);
    },
    "in one map": (x) => {
      const m = max(x, "j");
      const l = sum(
        map({ x, m }, ({ x, m }: R) => Math.exp(x - m)),
        "j",
      );
      return map({ x, m, l }, ({ x, m, l }: R) => Math.exp(x - m) / l);
    },
    "with a floor": (x) => {
      const m = max(x, "j");
      const e = map({ x, m }, ({ x, m }: R) => Math.exp(x - Math.max(m, -1e30)));
      const lse = map({ m, l: sum(e, "j") }, ({ m, l }: R) => Math.max(m, -1e30) + Math.log(l));
      return map({ x, lse }, ({ x, lse }: R) => Math.exp(x - lse));
    },
    "with a guard for masked rows": (x) => {
      const m = map(max(x, "j"), (m: R) => (m === -Infinity ? 0 : m));
      const { e, l } = soft(x, m);
      return map({ e, l }, ({ e, l }: R) => (l === 0 ? 0 : e / l));
    },
    "a sink": (x, z) => {
      const u = map({ m: max(x, "j"), z }, ({ m, z }: R) => Math.max(m, z));
      const { e, l } = soft(x, u);
      return map({ e, l, u, z }, ({ e, l, u, z }: R) => e / (l + Math.exp(z - u)));
    },
    "softmax off by one": (x) => {
      const m = max(x, "j");
      const { e, l } = soft(x, m);
      return map({ e, l, m }, ({ e, l, m }: R) => e / (l + Math.exp(-m)));
    },
    "a log-sum-exp": (x) => {
      const m = max(x, "j");
      return add(m, log(soft(x, m).l));
    },
    "an entropy": (x) => {
      const m = max(x, "j");
      const { e, l } = soft(x, m);
      const p = div(e, l);
      return sum(
        map({ p, x, m, l }, ({ p, x, m, l }: R) => p * (Math.log(l) + m - x)),
        "j",
      );
    },
    "differences of two rows' softmaxes": (x) => {
      const { e, l } = soft(scale(x, 2), scale(max(x, "j"), 2));
      const other = softmax(x, "j");
      return sub(div(e, l), other);
    },
    "shared by batches": (x) => {
      const { e, l } = soft(x, label(max(x, "b", "j"), "greatest"));
      return div(e, l);
    },
    "the greatest of several maxima": (x) => {
      const { e, l } = soft(x, max(max(x, "j"), "b"));
      return sum(div(e, l), "b");
    },
    "inside a loop": (x) =>
      repeat(3, { state: x }, (h: R) => {
        const { e, l } = soft(h, max(h, "j"));
        return add(h, div(e, l));
      }),
    "through a rounding": (x) => {
      const { e, l } = soft(x, max(x, "j"));
      return div(cast(cast(e, "f64"), "f32"), l);
    },
    "two in a row": (x) => {
      const first = soft(x, max(x, "j"));
      const p = div(first.e, first.l);
      const second = soft(p, max(p, "j"));
      return div(second.e, second.l);
    },
    "one that the author stopped": (x) => {
      const { e, l } = soft(x, stopGradient(max(x, "j")));
      return div(e, l);
    },
  };
  for (const [name, make] of Object.entries(cases))
    it(name, () => {
      const masked = name.includes("masked");
      const { held, apart } = check(make, { masked });
      expect(held).toBe(name === "two in a row" ? 2 : name.includes("stopped") ? 0 : 1);
      // A gradient takes rounding for the identity, so that it is as exact as the rounding.
      expect(apart).toBeLessThan(name === "through a rounding" ? 1e-7 : 1e-12);
    });
});

describe("maxima that something depends on keep their gradient", () => {
  const cases: Record<string, (x: R, z: R) => R> = {
    "no quotient": (x) => exp(sub(x, max(x, "j"))),
    "the maximum in the loss as well": (x) => {
      const m = max(x, "j");
      const e = exp(sub(x, m));
      return add(div(e, sum(e, "j")), mul(m, m));
    },
    "sums over an axis along which it differs": (x) => {
      const e = exp(sub(x, max(x, "j")));
      return div(e, sum(e, "i", "j"));
    },
    "another scale below": (x) => {
      const m = max(x, "j");
      return div(
        exp(sub(x, m)),
        sum(
          map({ x, m }, ({ x, m }: R) => Math.exp(2 * (x - m))),
          "j",
        ),
      );
    },
    "a value stopped on the way": (x) => {
      const e = exp(sub(x, max(x, "j")));
      return div(e, stopGradient(sum(e, "j")));
    },
    "an index moved along its axis": (x) => {
      const m = max(x, "j");
      const e = exp(sub(x, m));
      return div(e, rename(sum(rename(e, { i: "k" }), "j"), { k: "i" }));
    },
    "a bound": (x) => {
      const m = max(x, "j");
      const e = map({ x, m }, ({ x, m }: R) => Math.exp(x - Math.max(m, 0.1)));
      return add(
        map(m, (m: R) => Math.max(m, 0.1)),
        div(e, sum(e, "j")),
      );
    },
    "carried by a loop": (x) =>
      repeat(2, { state: x }, (h: R) => {
        const m = max(h, "j");
        return exp(sub(h, m));
      }),
    "a fold of its own kind": (x) => {
      const m = max(x, "j");
      const e = exp(sub(x, m));
      const least = monoid({ p: 1, q: 0 }, (a: R, b: R) => ({ p: a.p * b.p, q: a.q * b.p + b.q }));
      return fold({ p: e, q: e }, least, "j").q;
    },
  };
  for (const [name, make] of Object.entries(cases))
    it(name, () => {
      const { held, apart } = check(make);
      expect(held).toBe(0);
      expect(apart).toBeLessThan(1e-12);
    });
  it("a gradient with respect to the maximum itself, and the maximum as the loss", () => {
    const x = input(sizes);
    const env: Env = new Map([[x, fill(x, numbers(4))]]);
    const m: R = max(x, "j");
    const e = exp(sub(x, m));
    const loss = weigh(div(e, sum(e, "j")), numbers(9), env);
    const greatest: R = max(x, "b", "i", "j");
    const other = sum(
      map({ x, greatest }, ({ x, greatest }: R) => Math.exp(x - greatest)),
      "b",
      "i",
      "j",
    );
    const roots = [grad(loss, m), grad(greatest, x), grad(div(exp(sub(greatest, greatest)), other), x)];
    const [a, b] = [compute(roots, env), computeRead(roots, env)];
    for (const [k, u] of a.entries()) for (const [i, v] of u.entries()) expect(b[k]?.[i]).toBeCloseTo(v, 13);
  });
});
