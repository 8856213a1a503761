// Bits. A fold's tree depends on its own length alone (design.md, Bits): a second run, any number of threads, any batch and
// a run-time extent give the same bits as one thread, one row and the static program. On WebGPU a second run alone does.
import { describe, expect, it } from "vitest";
import type { Leaf, Node } from "../../dsl/node.js";
import type { HostArray } from "../../runtime/device.js";
import { numbers } from "../graph/harness.js";
import { loose as l, type R } from "../graph/loose.js";
import { needs } from "../require.js";
import { monoids } from "./arrows.js";
import { bitsOf, THREADS, unequal } from "./bits.js";
import { allSamples, caseOf } from "./cases.js";
import { type Round, rounds } from "./draw.js";
import { type Case, faultsOf, run, show } from "./judge.js";
import { caseOfProgram } from "./program.js";
import { drawn } from "./random.js";
import { seed } from "./seed.js";
import { open, ownTrees, share, type TargetName, targets } from "./targets.js";

describe.skipIf(!(await needs("compiler")))("threads", () => {
  const cases = [...allSamples.map((s) => caseOf(s, rounds(seed)[5] as Round)), ...drawn(seed, 12).map((p) => caseOfProgram(p).case)];
  it("1, 2, 3 and 8 give the same bits, and so does a second run", { timeout: 300_000 }, async () => {
    for (let at = 0; at < cases.length; at += 60) {
      const some = cases.slice(at, at + 60);
      const one = await run(some, "native", { threads: 1 });
      for (const threads of THREADS) expect(unequal(some, one, await run(some, "native", { threads })), `${threads} threads`).toBeNull();
    }
  });
});

const linear = l.monoid(monoids.linear.empty, monoids.linear.concat);
/** Rows by rows: each output and gradient has the rows' axis, and no row reads another. */
function rowwise(x: R, w: R): Record<string, Node> {
  const h = l.map({ y: l.dot(x, w, "m"), b: 0.25 }, ({ y, b }: R) => Math.tanh(y) + b);
  const looped = l.repeat(2, { state: { s: x } }, ({ s }: R) => ({
    s: l.map({ s, y: l.rename(l.dot(l.dot(s, w, "m"), w, "n"), {}) }, ({ s, y }: R) => 0.5 * s + Math.tanh(y)),
  })).s;
  const a = l.map(x, (x: number) => 0.5 + 0.25 * Math.sin(x));
  return {
    dense: h,
    softmax: l.softmax(l.dot(x, w, "m"), "n"),
    sum: l.sum(x, "m"),
    norm: l.rms(x, "m"),
    prefix: l.cumsum(x, "m", { reverse: true }),
    linear: l.scan({ a, b: x }, linear, "m").b,
    logSumExp: l.logSumExp(x, "m"),
    most: l.top(x, "m", { slot: 3 }).value,
    arg: l.argMax(x, "m"),
    looped,
    gradient: l.grad(
      l.sum(
        l.map(l.softmax(h, "n"), (p: number) => p * p),
        "row",
        "n",
      ),
      x,
    ),
  };
}
const values = (n: number, from: number): Float64Array => {
  const next = numbers(from);
  return Float64Array.from({ length: n }, () => Math.fround(4 * next() - 2));
};
async function runRows(target: TargetName, rows: number, data: Float64Array, m: number, weights: Float64Array, extents?: { readonly max: number }) {
  const n = 19;
  const session = await open(target);
  try {
    const row = extents ? l.upTo(extents.max, "rows") : rows;
    const [x, w] = [l.input({ row, m }), l.input({ m, n })] as [Leaf, Leaf];
    const program = await session.program({ name: "rows", inputs: { x, w }, outputs: rowwise(x, w) });
    return await program.run({ x: data.slice(0, rows * m), w: weights }, { rows });
  } finally {
    session[Symbol.dispose]();
  }
}

describe.each(targets)("rows on %s", (target) => {
  for (const m of share(target, [21, 96, 257], 1, "rows"))
    it(`of ${m} have the same bits ${ownTrees(target) ? "in batches of 1, 3 and 7, static and running" : "a second time"}`, async () => {
      const [data, weights] = [values(7 * m, seed + m), values(m * 19, seed + 1)];
      const all = await runRows(target, 7, data, m, weights);
      if (!ownTrees(target)) {
        const again = await runRows(target, 7, data, m, weights);
        for (const [name, x] of Object.entries(all)) expect(bitsOf(again[name] as HostArray), `${name}, again`).toBe(bitsOf(x));
        return;
      }
      const batches = [1, 3, 7].flatMap((rows) => [undefined, { max: 11 }].map((extents) => ({ rows, extents })));
      for (const { rows, extents } of share(target, batches, 2, "batches")) {
        const some = await runRows(target, rows, data, m, weights, extents);
        for (const [name, x] of Object.entries(all)) {
          const first = x.slice(0, (x.length / 7) * rows);
          expect(bitsOf(some[name] as HostArray), `${name}, ${rows} rows${extents ? ", running" : ""}`).toBe(bitsOf(first));
        }
      }
    });
});

/** Everything along one axis whose extent comes with the run, the fold's own included. Queries and keys are more than dim, so that
 *  their scores are made tile by tile in both programs: where they are fewer, the static one keeps them. */
function along(t: R, s: R): { readonly inputs: Record<string, Leaf>; readonly outputs: Record<string, Node> } {
  const [q, k, v, g] = [
    l.input({ h: 2, query: t, dim: 2 }),
    l.input({ h: 2, key: s, dim: 2 }),
    l.input({ h: 2, key: s, value: 3 }),
    l.input({ key: s }),
  ];
  const o = l.attention({ q, k, v, g }, ({ s, g }: R, { query, key }: R) => (key <= query + 1 ? s + g : -Infinity));
  return {
    inputs: { q, k, v, g },
    outputs: {
      attention: o,
      mean: l.mean(g, "key"),
      prefix: l.cumsum(g, "key"),
      backwards: l.cumsum(v, "key", { reverse: true, exclusive: true }),
      greatest: l.max(
        l.map({ g, z: l.constant(-9) }, ({ g, z }: R) => Math.max(g, z)),
        "key",
      ),
      most: l.argMax(g, "key"),
      sizes: l.map(g, (g: number, { key }: R, { key: n }: R) => g * (n - key)),
      taps: l.taps(g, "key", { tap: 3 }),
      product: l.dot(k, v, "key"),
      gradient: l.grad(
        l.sum(
          l.map(o, (y: number) => y * y),
          "h",
          "query",
          "value",
        ),
        q,
      ),
      deeper: l.grad(
        l.sum(
          l.map(o, (y: number) => y * y),
          "h",
          "query",
          "value",
        ),
        k,
      ),
    },
  };
}
const running = [
  [0, 0],
  [1, 1],
  [0, 5],
  [3, 0],
  [1, 33],
  [9, 7],
  [9, 33],
  [5, 17],
] as const;
describe.each(targets)("run-time extents on %s", (target) => {
  it("one compilation serves every extent, with the bits of the static program where folds have one order", { timeout: 300_000 }, async () => {
    const [t, s] = [l.upTo(9, "t"), l.upTo(33, "s")];
    const session = await open(target);
    const { inputs, outputs } = along(t, s);
    const program = await session.program({ name: "running", inputs, outputs });
    try {
      for (const [nt, ns] of share(target, running, 2, "extents")) {
        const data = { q: values(4 * nt, 1), k: values(4 * ns, 2), v: values(6 * ns, 3), g: values(ns, 4) };
        const got = await program.run(data, { t: nt, s: ns });
        const fixed = along(nt, ns);
        const c: Case = {
          name: `extents ${nt}, ${ns}`,
          inputs: new Map(Object.entries(fixed.inputs).map(([name, leaf]) => [leaf, data[name as keyof typeof data]])),
          outputs: fixed.outputs,
          gradients: {},
          extents: new Map(),
        };
        const names = Object.keys(outputs);
        // An empty mean is NaN, and a row of softmax without keys 0: the reference says so too.
        expect(
          show(
            faultsOf(
              c,
              names.map((name) => got[name] as HostArray),
            ),
          ),
        ).toBe("");
        const still = (await run([c], target))[0] as readonly HostArray[];
        expect(show(faultsOf(c, still))).toBe("");
        // An axis of one element is gone from the static program, and with it the sums over it: other roundings.
        if (nt === 1 || !ownTrees(target)) continue;
        for (const [k, name] of names.entries())
          expect(bitsOf(got[name] as HostArray), `${name} at ${nt}, ${ns}`).toBe(bitsOf(still[k] as HostArray));
      }
    } finally {
      session[Symbol.dispose]();
    }
  });
});
