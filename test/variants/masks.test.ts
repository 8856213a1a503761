// Masks at their ends: rows and whole tiles (48 rows by 64 keys) that nothing is left of, documents of one token, no prefix, a
// window of one, and a mask given as data. A row masked whole gives 0 and sends no gradient; nothing is ever NaN.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bools, dot, formula, input, map, type Session, softmax, upTo } from "../../index.js";
import { logits, qkv, window } from "../../models/attention/index.js";
import { numbers } from "../graph/harness.js";
import { open } from "../laws/targets.js";
import { needs } from "../require.js";
import { type Case, type Compiled, caseOf, type Data, registered } from "./cases.js";
import { keep, scale } from "./dense/pointwise.js";
import { attend, contract } from "./dense/reductions.js";
import type { Place, Value } from "./dense/tape.js";
import { dense, type Given } from "./dense/variants.js";
import { evaluated, type Form, faults } from "./reference.js";
import { DIM, type Extents, MAX_BATCH, SPAN, VALUE } from "./settings.js";

const [ROWS, COLS] = [100, 140];
const extents = () => ({ batch: upTo(MAX_BATCH, "batch"), query: upTo(ROWS, "rows"), key: upTo(COLS, "cols") });
const inputs = ({ batch, query, key }: ReturnType<typeof extents>) => ({
  q: input({ batch, head: 2, query, dim: DIM }),
  k: input({ batch, head: 2, key, dim: DIM }),
  v: input({ batch, head: 2, key, value: VALUE }),
});
const scores = (x: Given): Value => scale(contract(x.q as Value, x.k as Value, "dim"), 1 / Math.sqrt(DIM));
const given =
  (name: string): Form =>
  (x) =>
    (dense[name] as (typeof dense)[string])(x, SPAN);

/** A mask that no index knows. */
const masked = formula({ ...qkv, keep: bools("query key") }, ({ q, k, v, keep }) => {
  const s = map({ s: logits({ q, k }), keep }, ({ s, keep }) => (keep ? s : -Infinity));
  return dot(softmax(s, "key"), v, "key");
});
const maskedCase = (): Case => {
  const e = extents();
  const x = { ...inputs(e), keep: input({ batch: e.batch, query: e.query, key: e.key }, "bool") };
  return caseOf({ inputs: x, out: masked(x) });
};
const maskedForm: Form = (x) =>
  attend(
    keep(scores(x), (p) => (x.keep as Value).at(p) === 1),
    x.v as Value,
    ["key"],
  );
/** All is 0 at those queries, or keys, of the third axis. */
const zeros = (c: Case, x: ArrayLike<number>, axis: "query" | "key", of: "out" | "q" | "k" | "v", e: Extents, is: (i: number) => boolean) => {
  const last = of === "out" || of === "v" ? VALUE : DIM;
  const n = axis === "query" ? e.rows : e.cols;
  expect(Object.keys(of === "out" ? c.out : (c.inputs[of]?.axes ?? {}))[2]).toBe(axis);
  return Array.from(x).every((value, at) => !is(Math.floor(at / last) % n) || value === 0);
};

describe.skipIf(!(await needs("compiler")))("native", () => {
  let session: Session;
  beforeAll(async () => {
    session = await open("native", { threads: 2 });
  });
  afterAll(() => session[Symbol.dispose]());
  const judge = async (c: Compiled, form: Form, d: Data) => {
    const got = await c.run(d);
    expect(faults(form, c, d, evaluated(form, c, d).values, got).join("\n")).toBe("");
    return got;
  };
  const filled = (d: Data, name: string, f: (i: number, old: number) => number): Data => ({
    ...d,
    inputs: { ...d.inputs, [name]: (d.inputs[name] as Float64Array).map((old, i) => f(i, old)) },
  });

  describe("a mask given as data", () => {
    let c: Compiled;
    beforeAll(async () => {
      c = await maskedCase().compile(session);
    });
    afterAll(() => c[Symbol.dispose]());
    const next = numbers(11);
    const masks: Readonly<Record<string, (row: number, key: number) => boolean>> = {
      "pairs at random": () => next() < 0.6,
      "every third row whole": (row) => row % 3 !== 0 && next() < 0.6,
      "a tile's rows whole": (row) => (row < 48 || row >= 96) && next() < 0.6,
      "a tile's keys whole": (_, key) => (key < 64 || key >= 128) && next() < 0.6,
      "single tiles": (row, key) => (Math.floor(row / 48) + Math.floor(key / 64)) % 2 === 0,
      "all but one pair": (row, key) => row === 57 && key === 77,
      everything: () => false,
      nothing: () => true,
    };
    it.each(Object.keys(masks))("%s", async (name) => {
      for (const e of [
        { batch: 2, rows: ROWS, cols: COLS },
        { batch: 1, rows: 61, cols: 83 },
      ]) {
        const d = filled(c.draw(e, 3), "keep", (i) => (masks[name]?.(Math.floor(i / e.cols) % e.rows, i % e.cols) ? 1 : 0));
        const got = await judge(c, maskedForm, d);
        const kept = (row: number, key: number, b: number) => d.inputs.keep?.[(b * e.rows + row) * e.cols + key] === 1;
        const none = (of: "row" | "key") => (i: number) => {
          for (let b = 0; b < e.batch; b++)
            for (let j = 0; j < (of === "row" ? e.cols : e.rows); j++) if (of === "row" ? kept(i, j, b) : kept(j, i, b)) return false;
          return true;
        };
        expect(zeros(c, got.out as Float32Array, "query", "out", e, none("row"))).toBe(true);
        expect(zeros(c, got.q as Float32Array, "query", "q", e, none("row"))).toBe(true);
        expect(zeros(c, got.k as Float32Array, "key", "k", e, none("key"))).toBe(true);
        expect(zeros(c, got.v as Float32Array, "key", "v", e, none("key"))).toBe(true);
      }
    });
    it("scores of 10⁴, above and below what is kept", async () => {
      // Masked scores are the greatest, or all kept ones are −10⁴: neither may reach the result.
      for (const sign of [1, -1]) {
        const e = { batch: 1, rows: 53, cols: 70 };
        const d0 = c.draw(e, 5);
        const keepPair = (i: number) => ((i % e.cols) % 2 === 0 ? 1 : 0);
        let d = filled(d0, "keep", keepPair);
        d = filled(d, "q", () => 50);
        d = filled(d, "k", (i, old) => Math.fround((Math.floor(i / DIM) % e.cols) % 2 === 0 ? -sign * 50 + old / 64 : sign * 50));
        const got = await c.run(d);
        for (const x of Object.values(got)) expect([...x].every(Number.isFinite)).toBe(true);
        await judge(c, maskedForm, d);
      }
    });
  });

  describe("masks of indices", () => {
    const e: Extents = { batch: 2, rows: 97, cols: 131 };
    const open = async (name: string) => registered(name).compile(session);
    it("documents of one token, all of them and some: a row alone is its own value", async () => {
      const c = await open("documents");
      const at = { ...e, cols: e.rows };
      const d = filled(c.draw(at, 1), "doc", (i) => i);
      const got = await judge(c, given("documents"), d);
      expect([...(got.out as Float32Array)]).toEqual([...(d.inputs.v as Float64Array)]);
      await judge(
        c,
        given("documents"),
        filled(d, "doc", (i) => (i % at.rows < 50 ? 0 : i % at.rows < 70 ? i : 90)),
      );
      c[Symbol.dispose]();
    });
    it("a prefix of 0, of all, and of some", async () => {
      const c = await open("prefix");
      for (const prefix of [
        [0, 0],
        [131, 131],
        [0, 70],
      ])
        await judge(
          c,
          given("prefix"),
          filled(c.draw(e, 2), "prefix", (i) => prefix[i] as number),
        );
      c[Symbol.dispose]();
    });
    it("a window of one: each row is its own value, rows beyond the keys are 0", async () => {
      const x = inputs(extents());
      const c = await caseOf({ inputs: x, out: window(1)(x) }).compile(session);
      const one: Form = (x) =>
        attend(
          keep(scores(x), (p: Place) => p.key === p.query),
          x.v as Value,
          ["key"],
        );
      await judge(c, one, c.draw(e, 3));
      const long = { batch: 1, rows: 100, cols: 40 };
      const got = await judge(c, one, c.draw(long, 4));
      expect(zeros(c, got.out as Float32Array, "query", "out", long, (i) => i >= 40)).toBe(true);
      c[Symbol.dispose]();
    });
  });
});
