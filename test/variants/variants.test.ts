// Each variant against its dense form, forward and all gradients, on every target, on one compilation: random run-time extents,
// large scores, the oracle on a small shape; and the bits: whatever else is in the batch, a second time, and natively however
// many threads, and 50 times. Targets slower than native have smaller extents, and an emulated one a few of the variants.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Session } from "../../index.js";
import { variants } from "../../models/attention/index.js";
import type { HostArray } from "../../runtime/device.js";
import { seed } from "../laws/seed.js";
import { nightly, open, share, targets } from "../laws/targets.js";
import { type Case, type Compiled, type Data, type Results, registered, settingOf, shapeAt } from "./cases.js";
import { dense } from "./dense/variants.js";
import { decided, type Form, faults } from "./reference.js";
import { type Extents, type Setting, SPAN, settings, shapes, showExtents, tiny } from "./settings.js";

const names = variants.map((v) => v.name);
const formOf =
  (name: string): Form =>
  (x) =>
    (dense[name] as (typeof dense)[string])(x, SPAN);
/** What has no bar at scores of 10⁴, and why. */
const conditioned: Readonly<Record<string, string>> = {
  "stick-breaking": "a sum of logarithms near 10⁴ has an error of 10⁻² in whatever order, and its exponential is the weight",
  simplicial: "of three factors two are multiplied first, and which two depends on the side that is rows",
};
/** Extents within the setting's. */
const within = (s: Setting, batch: number, rows: number, cols: number): Extents => {
  const r = Math.min(rows, s.rows);
  return { batch, rows: r, cols: s.extents === "one" ? r : s.extents === "keys" ? s.cols : Math.min(cols, s.cols) };
};

it("every variant has a dense form and a setting, and there is no other", () => {
  expect(Object.keys(dense).sort()).toEqual([...names].sort());
  expect(Object.keys(settings).sort()).toEqual([...names].sort());
});

describe("the oracle", () => {
  let session: Session;
  beforeAll(async () => {
    session = await open("js");
  });
  afterAll(() => session[Symbol.dispose]());

  it.each(names)("evaluates %s to the dense form's values", async (name) => {
    const c = await registered(name).compile(session);
    const { data, reference } = decided(formOf(name), c, (attempt) => c.draw(within(settingOf(name), 2, 5, 7), seed + attempt));
    const got = await c.run(data);
    for (const [of, x] of Object.entries(reference)) {
      const scale = x.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
      const error = x.reduce((m, v, i) => Math.max(m, Math.abs(v - (got[of]?.[i] ?? Number.NaN)) / scale), 0);
      expect(error, of).toBeLessThan(1e-12);
      expect(got[of]?.length, of).toBe(x.length);
    }
  });
});

const bitsOf = (x: HostArray): string => Buffer.from(x.buffer, x.byteOffset, x.byteLength).toString("base64");
const unequal = (a: Results, b: Results): readonly string[] =>
  Object.keys(a).filter((of) => bitsOf(a[of] as HostArray) !== bitsOf(b[of] as HostArray));
/** Elements `from` … `to` of the batch; what has no batch axis stays whole, or is left out. */
function batchOf<T extends HostArray>(c: Case, all: Readonly<Record<string, T>>, e: Extents, from: number, to: number, whole: boolean) {
  const out: Record<string, T> = {};
  for (const [name, x] of Object.entries(all)) {
    const axes = name === "out" ? c.out : (c.inputs[name] as Case["inputs"][string]).axes;
    const [first] = Object.keys(axes);
    const each = x.length / (shapeAt(axes, e).batch ?? 1);
    if ("batch" in axes && first !== "batch") throw new Error(`${name}: the batch is not its first axis`);
    if (first === "batch") out[name] = x.slice(from * each, to * each) as T;
    else if (whole) out[name] = x;
  }
  return out;
}
const some = (c: Case, d: Data, from: number, to: number): Data => ({
  extents: { ...d.extents, batch: to - from },
  inputs: batchOf(c, d.inputs, d.extents, from, to, true),
  cotangent: batchOf(c, { out: d.cotangent }, d.extents, from, to, true).out as Float64Array,
});

describe.each(targets)("on %s", (target) => {
  const native = target === "native";
  const threads = native ? [2, 1, 3] : [1];
  const rounds = native && nightly ? 10 : 1;
  let sessions: readonly Session[];
  beforeAll(async () => {
    sessions = await Promise.all(threads.map((n) => open(target, { threads: n })));
  });
  afterAll(() => sessions.forEach((s) => void s[Symbol.dispose]()));

  describe.each(share(target, names, 3, "variants"))("%s", (name) => {
    const s = native ? settingOf(name) : tiny(settingOf(name));
    const form = formOf(name);
    const made = registered(name, s);
    const drawn = share(target, shapes(s, rounds, seed), 3, `shapes of ${name}`);
    let c: Compiled;
    beforeAll(async () => {
      c = await made.compile(sessions[0] as Session);
    });
    afterAll(() => c[Symbol.dispose]());

    it(`is within the bar at ${drawn.length} shapes`, { timeout: 120_000 * rounds }, async () => {
      const found: string[] = [];
      for (const [i, e] of drawn.entries()) {
        const { data, reference } = decided(form, c, (attempt) => c.draw(e, seed + 101 * i + 7919 * attempt));
        found.push(...faults(form, c, data, reference, await c.run(data)).map((f) => `${showExtents(e)}: ${f}`));
      }
      expect(found.slice(0, 8).join("\n")).toBe("");
    });

    // Rows are one-hot or nearly so: what is made again for the backward pass has to be the forward's, bit for bit.
    it("is within the bar, and finite, where scores are 10⁴", async () => {
      const large = (of: string, x: Float64Array) => (["q", "qc", "qr", "bq"].includes(of) ? x.map((v) => Math.fround(v * 5000)) : x);
      const { data, reference } = decided(form, c, (attempt) => {
        // Where most weights are 0, most of what is selected by weight is undecided: then few rows.
        const d = c.draw(attempt < 8 ? within(s, 2, 67, 71) : within(s, 1, 9, 71), seed + attempt);
        return { ...d, inputs: Object.fromEntries(Object.entries(d.inputs).map(([of, x]) => [of, large(of, x)])) };
      });
      const got = await c.run(data);
      for (const [of, x] of Object.entries(got)) expect([...x].filter((v) => !Number.isFinite(v)).length, of).toBe(0);
      if (!(name in conditioned)) expect(faults(form, c, data, reference, got).join("\n")).toBe("");
    });

    it("has the same bits for an element whatever else is in the batch", async () => {
      const d = c.draw(within(s, s.batch, 61, 83), seed + 1);
      const all = await c.run(d);
      for (const [from, to] of [
        [0, 1],
        [0, 3],
        [s.batch - 1, s.batch],
      ] as const) {
        const part = await c.run(some(c, d, from, to));
        const wanted = batchOf(c, all, d.extents, from, to, false);
        expect(Object.keys(wanted)).toContain("out");
        expect(unequal(wanted, part), `elements ${from} to ${to}`).toEqual([]);
      }
    });

    it(native ? "has the same bits with 1, 2 and 3 threads, and 50 times" : "has the same bits a second time", async () => {
      const d = c.draw(within(s, 3, 97, 103), seed + 2);
      const first = await c.run(d);
      for (const [i, session] of sessions.entries()) {
        const other = i === 0 ? c : await made.compile(session);
        for (let n = threads[i] === 3 ? 50 : 1; n > 0; n--) expect(unequal(first, await other.run(d)), `${threads[i]} threads`).toEqual([]);
        if (other !== c) other[Symbol.dispose]();
      }
    });
  });
});
