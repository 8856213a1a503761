// Tuple monoids that authors write: those that are folds by components become such, however they are spelled, with the
// values of the original, masked elements and masked rows included; all others stay.
import { describe, expect, it } from "vitest";
import { order } from "../../compiler/graph/walk.js";
import { grad } from "../../dsl/build.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { after, compute, computeRead, type Env, fill, input, numbers, weigh } from "./harness.js";
import { loose, type R } from "./loose.js";

const { argMax, div, dot, fold, map, monoid, sum } = loose;
/** Folds of more than one component. */
const tuples = (roots: readonly Node[]): number => order(roots).filter((n) => (n.op === "fold" || n.op === "scan") && n.args.length > 1).length;

// Each spells the same monoid of (m, l). What a row of −∞ alone gives is the author's choice.
const spelled: Record<string, R> = {
  plain: monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const m = Math.max(x.m, y.m);
    return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m) };
  }),
  "sides and signs exchanged": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const m = Math.max(y.m, x.m);
    return { m, l: y.l / Math.exp(m - y.m) - -Math.exp(-(m - x.m)) * x.l };
  }),
  "the side that moves": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => ({
    m: Math.max(x.m, y.m),
    l: x.l * (x.m >= y.m ? 1 : Math.exp(x.m - y.m)) + y.l * (y.m >= x.m ? 1 : Math.exp(y.m - x.m)),
  })),
  "the distance": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const e = Math.exp(-Math.abs(x.m - y.m));
    return { m: Math.max(x.m, y.m), l: x.m === y.m ? x.l + y.l : x.m > y.m ? x.l + y.l * e : x.l * e + y.l };
  }),
  "a guard against empty sides": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const m = Math.max(x.m, y.m);
    return { m, l: (x.m === -Infinity ? 0 : x.l * Math.exp(x.m - m)) + (y.m === -Infinity ? 0 : y.l * Math.exp(y.m - m)) };
  }),
  "a guard against empty rows": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const m = Math.max(x.m, y.m);
    const from = m === -Infinity ? 0 : m;
    return { m, l: x.l * Math.exp(x.m - from) + y.l * Math.exp(y.m - from) };
  }),
  "a guard around all": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const m = Math.max(x.m, y.m);
    return { m, l: m === -Infinity ? 0 : x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m) };
  }),
  "a finite bottom": monoid({ m: -1e30, l: 0 }, (x: R, y: R) => {
    const m = Math.max(x.m, y.m);
    return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m) };
  }),
  "another base": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
    const m = Math.max(x.m, y.m);
    return { m, l: x.l * Math.exp((x.m - m) * 0.5) + y.l * Math.exp((y.m - m) * 0.5) };
  }),
};

const [I, J, V] = [3, 6, 2];
/** Rows of random numbers; `masked`: −∞ at random places, not at the first, and in the second row everywhere. */
function scores(masked: boolean): { readonly s: Leaf; readonly v: Leaf; readonly env: Env } {
  const [s, v] = [input({ i: I, j: J }), input({ i: I, j: J, v: V })];
  const random = numbers(8);
  const env: Env = new Map([
    [s, fill(s, random)],
    [v, fill(v, random)],
  ]);
  const data = env.get(s) as Float64Array;
  if (masked) for (let k = 0; k < data.length; k++) if ((k >= J && k < 2 * J) || (k % J > 0 && random() < 0.4)) data[k] = -Infinity;
  return { s, v, env };
}
const worst = (a: readonly Float64Array[], b: readonly Float64Array[]): number =>
  Math.max(...a.map((u, k) => Math.max(...u.map((x, i) => (Object.is(x, b[k]?.[i]) ? 0 : Math.abs(x - (b[k]?.[i] as number)))))));

describe("the online softmax, spelled as", () => {
  for (const [name, m] of Object.entries(spelled))
    it(name, () => {
      for (const masked of [false, true]) {
        const { s, env } = scores(masked);
        const both = fold({ m: s, l: map(s, () => 1) }, m, "j");
        // Without a guard a row that begins with nothing is NaN, in the original as in the sum: the second row here.
        const roots = [both.m, both.l] as R[];
        expect(tuples(after("split", roots))).toBe(0);
        expect(worst(compute(roots, env), computeRead(roots, env))).toBeLessThan(1e-14);
      }
    });
  it("with the sum of values, whose gradient needs no scan and nothing of the maximum", () => {
    for (const guard of [false, true]) {
      const m = guard
        ? monoid({ m: -Infinity, l: 0, o: 0 }, (x: R, y: R) => {
            const m = Math.max(x.m, y.m);
            const a = x.m === -Infinity ? 0 : Math.exp(x.m - m);
            const b = y.m === -Infinity ? 0 : Math.exp(y.m - m);
            return { m, l: x.l * a + y.l * b, o: x.o * a + y.o * b };
          })
        : monoid({ m: -Infinity, l: 0, o: 0 }, (x: R, y: R) => {
            const m = Math.max(x.m, y.m);
            return {
              m,
              l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m),
              o: x.o * Math.exp(x.m - m) + y.o * Math.exp(y.m - m),
            };
          });
      const { s, v, env } = scores(guard);
      const { l, o } = fold({ m: s, l: map(s, () => 1), o: v }, m, "j");
      const y = map({ l, o }, ({ l, o }: R) => (l === 0 ? 0 : o / l));
      const loss = weigh(y, numbers(3), env);
      const roots = [y, grad(loss, s), grad(loss, v)];
      expect(order(after("simplify", roots)).filter((n) => n.op === "scan").length).toBe(0);
      expect(order(after("shifts", roots)).filter((n) => n.op === "stop").length).toBe(1);
      const wanted = compute(roots, env);
      const got = computeRead(roots, env);
      // The original's own gradient divides ∞ by ∞ in masked places.
      const known = wanted.map((u) => u.map((x) => (Number.isNaN(x) ? 0 : x)));
      expect(
        worst(
          known,
          got.map((u, k) => u.map((x, i) => (Number.isNaN(wanted[k]?.[i]) ? 0 : x))),
        ),
      ).toBeLessThan(1e-13);
      expect(got.every((u) => u.every(Number.isFinite))).toBe(true);
    }
  });
  it("over several axes, and by a minimum", () => {
    const m = monoid({ m: Infinity, l: 0, n: 0, p: 1 }, (x: R, y: R) => {
      const m = Math.min(x.m, y.m);
      return { m, l: x.l * Math.exp(m - x.m) + y.l * Math.exp(m - y.m), n: x.n + y.n, p: x.p * y.p };
    });
    const { s, v, env } = scores(false);
    const both = fold({ m: v, l: map({ v }, ({ v }: R) => v * v), n: s, p: s }, m, "i", "j");
    const roots = [both.m, both.l, both.n, both.p, grad(weigh(both.l, numbers(2), env), v)] as R[];
    expect(tuples(after("split", roots))).toBe(0);
    expect(worst(compute(roots, env), computeRead(roots, env))).toBeLessThan(1e-12);
  });
  it("in an attention: nothing as wide as the scores is folded with the values one by one", () => {
    const [q, k, v] = [input({ query: 8, dim: 2 }), input({ key: 8, dim: 2 }), input({ key: 8, value: 3 })];
    const random = numbers(6);
    const env: Env = new Map([q, k, v].map((l) => [l, fill(l, random)]));
    const s = dot(q, k, "dim");
    const online = monoid({ m: -Infinity, l: 0, o: 0 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m), o: x.o * Math.exp(x.m - m) + y.o * Math.exp(y.m - m) };
    });
    const { l, o } = fold({ m: s, l: map(s, () => 1), o: map({ s, v }, ({ v }: R) => v) }, online, "key");
    const y = div(o, l);
    const loss = weigh(y, random, env);
    const roots = [y, grad(loss, q), grad(loss, k), grad(loss, v)];
    expect(tuples(after("grad", roots))).toBe(0);
    expect(worst(compute(roots, env), computeRead(roots, env))).toBeLessThan(1e-12);
  });
});

describe("monoids that stay whole", () => {
  const others: Record<string, R> = {
    "digits, which do not commute": monoid({ n: 0, p: 1 }, (a: R, b: R) => ({ n: a.n * b.p + b.n, p: a.p * b.p })),
    "a mean that runs": monoid({ m: 0, n: 0 }, (a: R, b: R) => ({ m: (a.m * a.n + b.m * b.n) / Math.max(a.n + b.n, 1), n: a.n + b.n })),
    "a factor that is no exponential": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: x.l / (1 + m - x.m) + y.l / (1 + m - y.m) };
    }),
    "a factor for one side alone": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: x.l * Math.exp(x.m - m) + y.l };
    }),
    "two rates": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(2 * (y.m - m)) };
    }),
    "a factor that grows": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: (x.m === -Infinity ? 0 : x.l * Math.exp(m - x.m)) + (y.m === -Infinity ? 0 : y.l * Math.exp(m - y.m)) };
    }),
    "their product added": monoid({ m: -Infinity, l: 0 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m) + (x.l === 0 || y.l === 0 ? 0 : 1) };
    }),
    "a sum that does not begin at 0": monoid({ m: -Infinity, l: 1 }, (x: R, y: R) => {
      const m = Math.max(x.m, y.m);
      return { m, l: x.l * Math.exp(x.m - m) + y.l * Math.exp(y.m - m) };
    }),
  };
  for (const [name, m] of Object.entries(others))
    it(name, () => {
      const { s, env } = scores(false);
      const [first, second] = Object.keys(m.empty) as [string, string];
      const both = fold({ [first]: s, [second]: map(s, () => 1) }, m, "j");
      const roots = [both[first], both[second]] as R[];
      expect(tuples(after("split", roots))).toBeGreaterThan(0);
      expect(worst(compute(roots, env), computeRead(roots, env))).toBe(0);
    });
  it("the index of the greatest", () => {
    const { s } = scores(false);
    expect(tuples(after("split", [argMax(s, "j")]))).toBeGreaterThan(0);
  });
  it("a fold whose component a gradient is taken with respect to", () => {
    const { s, env } = scores(false);
    const { m, l } = fold({ m: s, l: map(s, () => 1) }, spelled.plain, "j");
    const loss = sum(
      map({ m, l }, ({ m, l }: R) => m + Math.log(l)),
      "i",
    );
    const roots = [grad(loss, m), grad(loss, s)] as R[];
    expect(worst(compute(roots, env), computeRead(roots, env))).toBeLessThan(1e-14);
    expect([...(computeRead(roots, env)[0] as Float64Array)]).toEqual([1, 1, 1]);
  });
});
