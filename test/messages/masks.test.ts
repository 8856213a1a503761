// Rows without a key: what is said of a mask against every row counted, for random masks and sizes; and of the variants, none
// of which masks by mistake.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diagnose } from "../../compiler/explain/diagnose.js";
import { type Data, emptyRows, kept, type Sizes } from "../../compiler/explain/masks.js";
import { arg, call, constant, index, type Scalar, size } from "../../dsl/scalar.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import { show } from "../../dsl/scalar-show.js";
import { flatten } from "../../dsl/tree.js";
import { variants } from "../../models/index.js";

const [i, j, h] = [index("query"), index("key"), index("head")];
const numbers: fc.Arbitrary<Scalar> = fc.oneof(
  fc.constantFrom(
    i,
    j,
    call("sub", i, j),
    call("sub", j, i),
    call("add", i, j),
    call("abs", call("sub", i, j)),
    call("mul", h, constant(2)),
    size("key"),
  ),
  fc.integer({ min: -3, max: 9 }).map(constant),
  fc.integer({ min: 1, max: 3 }).map((n) => call("mod", call("sub", i, j), constant(n))),
);
const comparisons: fc.Arbitrary<Scalar> = fc
  .tuple(fc.constantFrom("lt", "le", "gt", "ge", "eq", "ne"), numbers, numbers)
  .map(([prim, a, b]) => call(prim as "lt", a, b));
const conditions: fc.Arbitrary<Scalar> = fc.letrec<{ c: Scalar }>((tie) => ({
  c: fc.oneof(
    { depthSize: "small" },
    comparisons,
    fc.tuple(fc.constantFrom("and", "or"), tie("c"), tie("c")).map(([prim, a, b]) => call(prim as "and", a, b)),
    tie("c").map((c) => call("not", c)),
  ),
})).c;

/** Every row and every key, one by one. */
function counted(condition: Scalar, sizes: Sizes, args: (at: Sizes) => Readonly<Record<string, number | boolean>> = () => ({})): readonly Sizes[] {
  const empty: Sizes[] = [];
  for (let head = 0; head < (sizes.head as number); head++)
    for (let query = 0; query < (sizes.query as number); query++) {
      const keys = Array.from({ length: sizes.key as number }, (_, key) => ({ head, query, key }));
      if (!keys.some((at) => evalScalar(condition, { indices: at, sizes, args: args(at) }))) empty.push({ head, query });
    }
  return empty;
}

describe("against counting", () => {
  test("random masks, several axes of rows", () => {
    let found = 0;
    fc.assert(
      fc.property(
        conditions,
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 2 }),
        (condition, query, key, head) => {
          const sizes = { head, query, key };
          const empty = counted(condition, sizes);
          const said = emptyRows({ condition, over: ["key"], sizes: [sizes], data: [] });
          expect([show(condition), said.kind]).toEqual([show(condition), empty.length > 0 ? "empty" : "never"]);
          if (said.kind !== "empty") return;
          found++;
          // Rows that differ along an axis that the mask does not name are one.
          const named = Object.keys(said.row);
          const distinct = [...new Set(empty.map((r) => named.map((a) => String(r[a])).join()))].sort((x, y) => (x < y ? -1 : 1)); // below 10
          expect(said.count).toBe(distinct.length);
          expect(named.map((a) => said.row[a]).join()).toBe(distinct[0]);
        },
      ),
      { numRuns: 400 },
    );
    expect(found).toBeGreaterThan(30);
  });
  test("data decide: the first that leave a row without a key are named", () => {
    const condition = call("and", call("le", j, i), arg("keep"));
    const all = (what: string, value: (at: Sizes) => boolean): Data => ({ what, value: (_, at) => value(at) });
    const sizes = { query: 5, key: 5 };
    const data = [all("all", () => true), all("odd", (at) => (at.key as number) % 2 === 1)];
    const said = emptyRows({ condition, over: ["key"], sizes: [sizes], data });
    expect(said).toEqual({ kind: "empty", sizes, row: { query: 0 }, count: 1, rows: 5, data: "odd" });
    expect(emptyRows({ condition, over: ["key"], sizes: [sizes], data: data.slice(0, 1) }).kind).toBe("never");
    expect(emptyRows({ condition, over: ["key"], sizes: [sizes], data: [] }).kind).toBe("unknown");
    // Whatever the data: rows from 2 on have no key below −1.
    const never = call("and", call("lt", j, call("sub", constant(2), i)), arg("keep"));
    expect(emptyRows({ condition: never, over: ["key"], sizes: [sizes], data })).toMatchObject({ kind: "empty", row: { query: 2 }, data: null });
  });
  test("large masks are decided in time", () => {
    const sizes = { query: 4096, key: 4096 };
    const window = call("and", call("le", j, i), call("lt", call("sub", i, j), constant(256)));
    const dilated = call("and", window, call("eq", call("mod", call("sub", i, j), constant(4)), constant(0)));
    const began = performance.now();
    for (const condition of [window, dilated]) expect(emptyRows({ condition, over: ["key"], sizes: [sizes], data: [] }).kind).toBe("never");
    const gap = call("and", window, call("gt", call("sub", i, j), constant(10)));
    expect(emptyRows({ condition: gap, over: ["key"], sizes: [sizes], data: [] })).toMatchObject({ kind: "empty", count: 11, row: { query: 0 } });
    expect(performance.now() - began).toBeLessThan(20_000);
  });
  test("no rows, or no keys, are no rows without a key", () => {
    const condition = call("lt", j, i);
    for (const sizes of [
      { query: 0, key: 4 },
      { query: 4, key: 0 },
    ])
      expect(emptyRows({ condition, over: ["key"], sizes: [sizes], data: [] })).toEqual({ kind: "never" });
  });
});

describe("the condition of a score", () => {
  const s = arg("s");
  const low = constant(-Infinity);
  const causal = call("le", j, i);
  const cases: readonly (readonly [string, Scalar, string])[] = [
    ["a mask", call("select", causal, s, low), "[key] <= [query]"],
    ["the other way round", call("select", causal, low, s), "!([key] <= [query])"],
    ["under arithmetic", call("sub", call("mul", call("add", call("select", causal, s, low), s), constant(2)), s), "[key] <= [query]"],
    ["nested", call("select", arg("c"), call("select", causal, s, low), low), "c && [key] <= [query]"],
    ["none", call("mul", s, constant(2)), "true"],
    ["a negative factor makes it the greatest", call("mul", call("select", causal, s, low), constant(-1)), "true"],
    ["the greater of two", call("max", call("select", causal, s, low), constant(0)), "true"],
    ["everything", low, "false"],
  ];
  for (const [name, body, wanted] of cases)
    test(name, () => {
      const got = kept(body);
      for (const c of [true, false])
        for (const [query, key] of [
          [0, 0],
          [0, 1],
          [1, 0],
        ] as const) {
          const env = { args: { s: 1, c }, indices: { query, key }, sizes: {} };
          const value = Number(evalScalar(body, env));
          expect([show(got), wanted, evalScalar(got, env)]).toEqual([show(got), wanted, value !== -Infinity]);
        }
    });
});

describe("the variants", () => {
  /** Softmax-shaped: one kernel forward. */
  const fused = [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 22, 23, 26];
  for (const v of variants)
    test(v.name, () => {
      const { out } = v.example({ batch: 1, head: 2, time: 16, dim: 4, value: 4 });
      const found = diagnose(flatten(out).map(({ node }) => node));
      // Before its first block of keys is complete, a query of native sparse attention has none to choose from.
      expect(found.filter((d) => d.kind === "warning").map((d) => d.message)).toEqual(
        v.name === "native-sparse" ? [expect.stringContaining('can empty rows over "block"')] : [],
      );
      if (fused.includes(v.number)) expect(found.map((d) => d.message)).toEqual([]);
      if (["stick-breaking", "multi-token"].includes(v.name)) expect(found.map((d) => d.kind)).toContain("stopped");
    });
});
