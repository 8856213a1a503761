// Several results of one pass: the output, the log-sum-exp, each head's greatest logit and the place of the greatest, from one
// expression of the scores; and attention in one call.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { argMax, attention, compileIn, dot, halvesOf, input, logSumExp, map, max, type Session, softmax, verdict } from "../../index.js";
import { logits } from "../../models/attention/index.js";
import { numbers, right } from "../graph/harness.js";
import { open } from "../laws/targets.js";
import { needs } from "../require.js";

const heads = (batch: number, time: number, dim: number) => ({
  q: input({ batch, head: 2, query: time, dim }),
  k: input({ batch, head: 2, key: time, dim }),
  v: input({ batch, head: 2, key: time, value: dim }),
});
function several(batch: number, time: number, dim: number) {
  const { q, k, v } = heads(batch, time, dim);
  const s = map(logits({ q, k }), (s, { query: i, key: j }) => (j <= i ? s : -Infinity));
  const out = { out: dot(softmax(s, "key"), v, "key"), lse: logSumExp(s, "key"), most: max(s, "batch", "query", "key"), first: argMax(s, "key") };
  return { inputs: { q, k, v }, out };
}
function oneCall(batch: number, time: number, dim: number) {
  const x = { ...heads(batch, time, dim), m: input({ head: 2 }) };
  return { inputs: x, out: attention(x, ({ s, m }, { query: i, key: j }) => (j <= i ? s - m * (i - j) : -Infinity)) };
}

it("need one kernel, and a small one for the greatest of the rows' greatest", () => {
  const v = right(verdict((scale) => halvesOf(several(2, 512 * scale, 64))));
  expect(v.forward.count).toMatchObject({ kernels: 2, passes: 2 });
  expect(v.temporaries.forward.exponent).toBeLessThanOrEqual(1.05);
});
it("attention in one call fuses as the same formula does", () => {
  const v = right(verdict((scale) => halvesOf(oneCall(2, 512 * scale, 64))));
  expect(v.forward.count.kernels).toBe(1);
  expect(v.backward.count).toMatchObject({ kernels: 1, reductions: 1 });
  expect(v.temporaries.both.exponent).toBeLessThanOrEqual(1.05);
});

describe.skipIf(!(await needs("compiler")))("values", () => {
  const sessions: Session[] = [];
  beforeAll(async () => {
    sessions.push(await open("native"), await open("js"));
  });
  afterAll(() => {
    for (const s of sessions) s[Symbol.dispose]();
  });
  it("are the oracle's", async () => {
    const { inputs, out } = several(2, 75, 16);
    const next = numbers(3);
    const drawn = () => Float32Array.from({ length: 2 * 2 * 75 * 16 }, () => 2 * next() - 1);
    const data = { q: drawn(), k: drawn(), v: drawn() };
    const [got, wanted] = await Promise.all(
      sessions.map(async (s) => {
        using p = await compileIn(s, inputs, out);
        return p.run(data);
      }),
    );
    for (const of of ["out", "lse", "most", "first"] as const) {
      const [x, y] = [got, wanted].map((r) => Array.from(r?.[of] ?? [])) as [number[], number[]];
      expect(x.length).toBe(y.length);
      for (const [i, v] of y.entries()) expect(Math.abs((x[i] as number) - v), `${of}[${i}]`).toBeLessThan(of === "first" ? 0.5 : 1e-5);
    }
  }, 60_000);
});
