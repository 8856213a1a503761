// The laws of monoids, as they are tried: what is one for some numbers is taken, what is none is refused with numbers that
// show it.
import { describe, expect, test } from "vitest";
import { fold, input, monoid } from "../../dsl/index.js";
import { allDomains, everywhere, identityOf, noIdentity, notAssociative, notCommutative, type Operation } from "../../dsl/monoid-laws.js";
import type { Arrow } from "../../dsl/node.js";

type R = Readonly<Record<string, number>>;
const op = (empty: R, concat: (a: never, b: never) => R): Operation => ({ empty, concat: concat as Arrow });
type X = { x: number };
const monoids: Readonly<Record<string, Operation>> = {
  sum: op({ x: 0 }, (a: X, b: X) => ({ x: a.x + b.x })),
  product: op({ x: 1 }, (a: X, b: X) => ({ x: a.x * b.x })),
  maximum: op({ x: -Infinity }, (a: X, b: X) => ({ x: Math.max(a.x, b.x) })),
  "maximum from 0": op({ x: 0 }, (a: X, b: X) => ({ x: Math.max(a.x, b.x) })),
  "all of 0 and 1": op({ x: 1 }, (a: X, b: X) => ({ x: Math.min(a.x, b.x) })),
  "one or the other of 0 and 1": op({ x: 0 }, (a: X, b: X) => ({ x: a.x === b.x ? 0 : 1 })),
  "log-sum-exp": op({ x: -Infinity }, (a: X, b: X) => ({ x: Math.log(Math.exp(a.x) + Math.exp(b.x)) })),
  "the last, where counts are whole": op({ x: 0, n: 0 }, (a: X & { n: number }, b: X & { n: number }) => ({ x: b.n > 0 ? b.x : a.x, n: a.n + b.n })),
  "a mean and its count": op({ m: 0, n: 0 }, (a: { m: number; n: number }, b: { m: number; n: number }) => ({
    m: (a.m * a.n + b.m * b.n) / Math.max(a.n + b.n, 1),
    n: a.n + b.n,
  })),
  "the online softmax": op({ m: -Infinity, l: 0 }, (a: { m: number; l: number }, b: { m: number; l: number }) => {
    const m = Math.max(a.m, b.m);
    return { m, l: a.l * Math.exp(a.m - m) + b.l * Math.exp(b.m - m) };
  }),
};
const others: Readonly<Record<string, Operation>> = {
  "a product from 0": op({ x: 0 }, (a: X, b: X) => ({ x: a.x * b.x })),
  "a difference": op({ x: 0 }, (a: X, b: X) => ({ x: a.x - b.x })),
  "a mean of two": op({ x: 0 }, (a: X, b: X) => ({ x: (a.x + b.x) / 2 })),
  "a minimum from −∞": op({ x: -Infinity }, (a: X, b: X) => ({ x: Math.min(a.x, b.x) })),
};

describe("taken", () => {
  for (const [name, m] of Object.entries(monoids))
    test(name, () => {
      expect(everywhere((of) => noIdentity(m, of))).toBeUndefined();
      expect(everywhere((of) => notAssociative(m, of))).toBeUndefined();
      expect(monoid(m.empty, m.concat).empty).toEqual(m.empty);
    });
  test("an identity that is −∞ is one", () => {
    for (const of of allDomains) expect(noIdentity(monoids.maximum as Operation, of)).toBeUndefined();
  });
});
describe("refused", () => {
  for (const [name, m] of Object.entries(others))
    test(name, () => {
      const wrong = everywhere((of) => noIdentity(m, of));
      if (!wrong) throw new Error("no counterexample");
      const again: R = wrong.side === "left" ? m.concat(m.empty, wrong.x) : m.concat(wrong.x, m.empty);
      expect(again).toEqual(wrong.gives);
      expect(() => monoid(m.empty, m.concat)).toThrow("is no identity of the operation");
      expect(() => fold({ x: input({ i: 3 }) }, m as never, "i" as never)).toThrow("fold: ");
    });
  test("with the identity that the operation has, if it has a usual one", () => {
    expect(identityOf(others["a product from 0"] as Operation)).toEqual({ x: 1 });
    expect(identityOf(others["a minimum from −∞"] as Operation)).toEqual({ x: Infinity });
    expect(identityOf(others["a difference"] as Operation)).toBeUndefined();
  });
  test("an object that is no monoid, in a fold", () => {
    const x = input({ i: 3 });
    const attempt = (m: unknown) => () => fold({ x }, m as never, "i" as never);
    expect(attempt({ empty: { x: 0 }, concat: () => 3 })).toThrow("the operation gives a number; a record");
    expect(attempt({ empty: { x: 0 }, concat: () => ({ y: 3 }) })).toThrow('forgets component "x"');
    expect(attempt({ empty: { x: "0" }, concat: (a: unknown) => a })).toThrow('component "x" is a string');
    expect(attempt({ empty: null, concat: (a: unknown) => a })).toThrow("no monoid");
  });
});
test("what does not commute is found by numbers that show it", () => {
  const affine = op({ a: 1, b: 0 }, (x: { a: number; b: number }, y: { a: number; b: number }) => ({ a: x.a * y.a, b: x.b * y.a + y.b }));
  expect(everywhere((of) => noIdentity(affine, of))).toBeUndefined();
  const wrong = everywhere((of) => notCommutative(affine, of));
  expect(wrong?.results[0]).not.toEqual(wrong?.results[1]);
  for (const name of ["sum", "maximum", "the online softmax"])
    expect(everywhere((of) => notCommutative(monoids[name] as Operation, of))).toBeUndefined();
});
