// An author's own inventions fuse as the known variants do: one kernel forward, few backward, nothing as large as the scores in
// memory; and they compute what the oracle says, gradients of everything captured included.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halvesOf, input, type Session, upTo, verdict } from "../../index.js";
import type { Example } from "../../models/attention/index.js";
import { right } from "../graph/harness.js";
import { open } from "../laws/targets.js";
import { needs } from "../require.js";
import { caseOf } from "./cases.js";
import { droppedAndGated, ownNormaliser, softAndSquare, tableCapWindow } from "./novel.js";
import { type Fill, MAX_BATCH } from "./settings.js";

type Axis = Parameters<typeof input>[0][string];
const heads = (batch: Axis, query: Axis, key: Axis, dim: number) => ({
  q: input({ batch, head: 2, query, dim }),
  k: input({ batch, head: 2, key, dim }),
  v: input({ batch, head: 2, key, value: dim }),
});
const ints =
  (most: number): Fill =>
  (next, length) =>
    Float64Array.from({ length }, () => Math.floor(next() * (most + 1)));

interface Invention {
  readonly make: (batch: Axis, query: Axis, key: Axis, dim: number) => Example;
  readonly fills?: Readonly<Record<string, Fill>>;
}
const inventions: Readonly<Record<string, Invention>> = {
  "a table, a learned cap and a window that is data": {
    make: (batch, query, key, dim) => {
      const x = {
        ...heads(batch, query, key, dim),
        table: input({ head: 2, distance: 9 }),
        cap: input({ head: 2 }),
        reach: input({ batch, query }, "i32"),
      };
      return { inputs: x, out: tableCapWindow(x) };
    },
    fills: { reach: ints(40), cap: (next, length) => Float64Array.from({ length }, () => 1 + next()) },
  },
  "a softmax less a map of squares": {
    make: (batch, query, key, dim) => {
      const x = { ...heads(batch, query, key, dim), lambda: input({ head: 2 }) };
      return { inputs: x, out: softAndSquare(x) };
    },
  },
  "a normaliser of one's own": {
    make: (batch, query, key, dim) => {
      const x = { ...heads(batch, query, key, dim), importance: input({ batch, key }), seen: input({ batch, key }, "bool") };
      return { inputs: x, out: ownNormaliser(x) };
    },
    fills: { seen: (next, length) => Float64Array.from({ length }, () => (next() < 0.8 ? 1 : 0)) },
  },
  "dropout of the weights, and a gate": {
    make: (batch, query, key, dim) => {
      const x = { ...heads(batch, query, key, dim), gate: input({ batch, head: 2, query, value: dim }) };
      return { inputs: x, out: droppedAndGated(x) };
    },
  },
};

describe.each(Object.entries(inventions))("%s", (_, { make }) => {
  it("fuses", () => {
    const v = right(verdict((scale) => halvesOf(make(1, 512 * scale, 512 * scale, 64))));
    expect(v.quadratic.map((q) => q.value)).toEqual([]);
    expect(v.forward.count.kernels).toBe(1);
    expect(v.backward.count.kernels).toBeLessThanOrEqual(3);
    expect(v.temporaries.both.exponent).toBeLessThanOrEqual(1.05);
  });
});

describe.skipIf(!(await needs("compiler")))("values", () => {
  const sessions = new Map<"native" | "js", Session>();
  beforeAll(async () => {
    for (const d of ["native", "js"] as const) sessions.set(d, await open(d));
  });
  afterAll(() => {
    for (const s of sessions.values()) s[Symbol.dispose]();
  });
  it.each(Object.entries(inventions))(
    "%s: as the oracle has them",
    async (_, { make, fills }) => {
      const [batch, query, key] = [upTo(MAX_BATCH, "batch"), upTo(110, "rows"), upTo(140, "cols")];
      const c = caseOf(make(batch, query, key, 16), fills);
      using fast = await c.compile(sessions.get("native") as Session);
      using exact = await c.compile(sessions.get("js") as Session);
      for (const [i, e] of [
        { batch: 1, rows: 110, cols: 140 },
        { batch: 2, rows: 7, cols: 65 },
        { batch: 1, rows: 1, cols: 1 },
      ].entries()) {
        const d = c.draw(e, i + 1);
        const [got, wanted] = [await fast.run(d), await exact.run(d)];
        for (const of of Object.keys(wanted)) {
          const [x, y] = [wanted[of], got[of]].map((v) => Float64Array.from(v ?? [])) as [Float64Array, Float64Array];
          const scale = x.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
          const error = x.reduce((m, v, j) => Math.max(m, Math.abs(v - (y[j] ?? Number.NaN)) / scale), 0);
          expect(error, `${of} at ${JSON.stringify(e)}`).toBeLessThan(2e-5);
        }
      }
    },
    120_000,
  );
});
