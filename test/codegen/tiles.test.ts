// Kernels of tiles: exactly the tiles with a pair inside the mask run, whatever the mask is made of; interval arithmetic is
// sound; a value that several folds read is computed once.
import { describe, expect, it } from "vitest";
import { scheduled } from "../../compiler/loop/recipes/index.js";
import { truth } from "../../compiler/loop/tiles/bounds.js";
import { OVER_TILE, ROW_TILE } from "../../compiler/loop/tiles/shape.js";
import { apply, type Buffer, buffer, type Expr, extentVar, int, load, local, real, variable } from "../../compiler/lower/expr.js";
import type { Axis, Nest, TileFold } from "../../compiler/lower/nest.js";
import { cLimits } from "../../compiler/targets/c/limits.js";
import { printKernel } from "../../compiler/targets/c/print.js";
import { UpTo } from "../../dsl/node.js";
import { Generator, source } from "./generate.js";
import { maxOf, mask as randomMask, sumOf } from "./generate-tiles.js";
import { memoryOf, termValue } from "./interpret.js";
import { compile, planOf } from "./native.js";

const v = variable;
const i = (prim: Parameters<typeof apply>[0], ...args: readonly Expr[]) => apply(prim, "int", ...args);
const b = (prim: Parameters<typeof apply>[0], ...args: readonly Expr[]) => apply(prim, "bool", ...args);
const f = (prim: Parameters<typeof apply>[0], ...args: readonly Expr[]) => apply(prim, "real", ...args);
const sizeOf = (axes: readonly Axis[]) => axes.reduce((n, a) => n * (typeof a.extent === "number" ? a.extent : a.extent.max), 1);
const and = (...all: readonly Expr[]) => all.reduce((x, y) => b("and", x, y));

interface Masked {
  readonly rows: readonly Axis[];
  readonly over: readonly Axis[];
  readonly mask: Expr;
  /** The same on numbers, where somebody has written it down. */
  readonly inside?: (row: readonly number[], over: readonly number[]) => boolean;
  /** Tiles hold every so manyth index of the last axes: those that the mask lets meet. */
  readonly step?: number;
  /** Data that the mask reads: values at each index. */
  readonly data: ReadonlyMap<Buffer, (at: number) => number>;
}
/** A mask along one line, on numbers. */
const on =
  (f: (q: number, k: number) => boolean): NonNullable<Masked["inside"]> =>
  ([q], [k]) =>
    f(q as number, k as number);
const line = (T: number): Pick<Masked, "rows" | "over" | "data"> => ({
  rows: [{ v: "q", extent: T }],
  over: [{ v: "k", extent: T }],
  data: new Map(),
});
const [q, k] = [v("q"), v("k")];
const distance = i("sub", q, k);
const causal = b("le", k, q);
const ints = (name: string, n: number) => buffer(name, "i32", [{ name: "t", extent: n }], "input");

/** Pairs of pixels of an image 64 wide, at most r apart in both directions; the centre stays r from the edges. */
function image(T: number, r: number): Masked {
  const [Y, X] = [Math.max(2 * r + 1, T >> 6), 64];
  const near = (p: string, c: string, n: number) => b("le", i("abs", i("sub", i("min", i("max", v(p), int(r)), int(n - 1 - r)), v(c))), int(r));
  return {
    rows: [
      { v: "qy", extent: Y },
      { v: "qx", extent: X },
    ],
    over: [
      { v: "ky", extent: Y },
      { v: "kx", extent: X },
    ],
    mask: and(near("qy", "ky", Y), near("qx", "kx", X)),
    inside: (q, k) => [Y, X].every((n, d) => Math.abs(Math.min(Math.max(q[d] as number, r), n - 1 - r) - (k[d] as number)) <= r),
    data: new Map(),
  };
}

const masks: { readonly [name: string]: (T: number) => Masked } = {
  causal: (T) => ({ ...line(T), mask: causal, inside: on((q, k) => k <= q) }),
  window: (T) => ({
    ...line(T),
    mask: and(b("le", int(0), distance), b("lt", distance, int(T >> 4))),
    inside: on((q, k) => k <= q && q - k < T >> 4),
  }),
  prefix: (T) => {
    const prefix = ints("prefix", 1);
    return {
      ...line(T),
      mask: b("or", causal, b("lt", k, load(prefix, [int(0)]))),
      data: new Map([[prefix, () => T >> 3]]),
      inside: on((q, k) => k <= q || k < T >> 3),
    };
  },
  "sink tokens": (T) => ({
    ...line(T),
    mask: and(causal, b("or", b("lt", k, int(4)), b("lt", distance, int(T >> 4)))),
    inside: on((q, k) => k <= q && (k < 4 || q - k < T >> 4)),
  }),
  dilated: (T) => ({
    ...line(T),
    mask: and(b("eq", i("imod", distance, int(2)), int(0)), b("le", int(0), distance), b("lt", distance, int(T >> 3))),
    inside: on((q, k) => (q - k) % 2 === 0 && k <= q && q - k < T >> 3),
    step: T >= 64 ? 2 : 1,
  }),
  documents: (T) => {
    const doc = ints("doc", T);
    const of = (at: number) => Math.floor((at * 8) / T);
    return {
      ...line(T),
      mask: and(causal, b("eq", load(doc, [q]), load(doc, [k]))),
      data: new Map([[doc, of]]),
      inside: on((q, k) => k <= q && of(q) === of(k)),
    };
  },
  "document lengths that no tile knows": (T) => {
    const doc = ints("doc", T);
    // Starts at multiples of 37, 74, 111 …: no run of a document begins with a tile.
    return { ...line(T), mask: b("eq", load(doc, [q]), load(doc, [k])), data: new Map([[doc, (at) => Math.floor(Math.sqrt(at / 37))]]) };
  },
  neighbourhood: (T) => image(T, 3),
  "wide neighbourhood": (T) => image(T, 12),
  "run-time extents": (T) => {
    const up = (name: string) => new UpTo(T + 5, name);
    return { rows: [{ v: "q", extent: up("rows") }], over: [{ v: "k", extent: up("cols") }], mask: b("le", k, i("add", q, int(3))), data: new Map() };
  },
};

/** The tile of an index: of each residue, so many in a row. */
const tileOf = (at: number, size: number, n: number, step: number): number =>
  (at % step) * Math.ceil(Math.ceil(n / step) / size) + Math.floor(Math.floor(at / step) / size);
const tilesOf = (size: number, n: number, step: number): number => step * Math.ceil(Math.ceil(n / step) / size);
/** Counts of the pairs that are computed, for each row and over tile: ones that no mask guards, added at the tile's number. */
function counter(m: Masked): { readonly nest: Nest; readonly out: Buffer } {
  const [lead, last, step] = [m.over.slice(0, -1), m.over.at(-1) as Axis, m.step ?? 1];
  const each = tilesOf(OVER_TILE, sizeOf([last]), step);
  const tiles: Axis = { v: "tile", extent: each * sizeOf(lead) };
  const axes = [...m.rows, tiles];
  const out = buffer(
    "count",
    "f32",
    axes.map((a) => ({ name: a.v, extent: a.extent })),
    "output",
  );
  const flat = lead.reduce((at, a) => i("add", i("mul", at, int(sizeOf([a]))), v(a.v)), int(0));
  const residue = i("mul", i("imod", v(last.v), int(step)), int(each / step));
  const at = i("add", i("add", i("mul", flat, int(each)), residue), i("idiv", v(last.v), int(OVER_TILE * step)));
  const ones: TileFold = { bind: ["ones"], monoid: sumOf, elements: [real(1)], rescale: null, n: [tiles], b: null, at };
  const stores = [{ n: [tiles], stores: [{ buffer: out, index: axes.map((a) => v(a.v)), value: local("ones", "real") }] }];
  const base = { form: "tiles", name: "count", nodes: [], batch: [], sides: [], dots: [], columns: [], quads: [] } as const;
  return { nest: { ...base, rows: m.rows, over: m.over, mask: m.mask, folds: [ones], stores }, out };
}
/** The indices of axes, in order. */
function* indices(sizes: readonly number[]): IterableIterator<readonly number[]> {
  const n = sizes.reduce((x, y) => x * y, 1);
  for (let flat = 0; flat < n; flat++) {
    let rest = flat;
    const at = sizes.map(() => 0);
    for (let d = sizes.length - 1; d >= 0; d--) {
      at[d] = rest % (sizes[d] as number);
      rest = Math.floor(rest / (sizes[d] as number));
    }
    yield at;
  }
}
interface Counted {
  /** Pairs computed, and pairs inside the mask. */
  readonly computed: number;
  readonly inside: number;
  /** Tiles that ran, those that ought to have, and both. */
  readonly ran: number;
  readonly wanted: number;
  readonly agreed: number;
  /** Rows of a tile that miss a pair which is inside. */
  readonly missing: number;
}
async function counted(m: Masked, extents: ReadonlyMap<UpTo, number> = new Map()): Promise<Counted> {
  const { nest, out } = counter(m);
  const ups = [...m.rows, ...m.over].flatMap((a) => (a.extent instanceof UpTo ? [a.extent] : []));
  const plan = planOf("count", [out, ...m.data.keys()], [{ step: "nest", nest }], ups);
  const memory = memoryOf(plan);
  for (const [buf, value] of m.data) {
    const data = memory.get(buf) as Float64Array;
    for (let at = 0; at < data.length; at++) data[at] = value(at);
  }
  const counts = (await compile(plan)).run(memory, { threads: 2, extents }).memory.get(out) as Float64Array;
  const sized = (a: Axis) => (a.extent instanceof UpTo ? (extents.get(a.extent) ?? a.extent.max) : a.extent);
  const [rows, over] = [m.rows.map(sized), m.over.map(sized)];
  const [R, C] = [rows.at(-1) as number, over.at(-1) as number];
  const step = m.step ?? 1;
  const [storedRows, storedOver] = [sizeOf([m.rows.at(-1) as Axis]), sizeOf([m.over.at(-1) as Axis])];
  const [rowTiles, overTiles] = [tilesOf(ROW_TILE, storedRows, step), tilesOf(OVER_TILE, storedOver, step)];
  const allTiles = overTiles * sizeOf(m.over.slice(0, -1));
  const named = (axes: readonly Axis[], at: readonly number[]) => axes.map((a, d) => [a.v, at[d] as number] as const);
  const inside = m.inside ?? ((r, o) => termValue(m.mask, new Map([...named(m.rows, r), ...named(m.over, o)]), memory) !== 0);
  const sum = { computed: counts.reduce((n, x) => n + x, 0), inside: 0, ran: 0, wanted: 0, agreed: 0, missing: 0 };
  let rowLead = 0;
  for (const lead of indices(rows.slice(0, -1))) {
    let overLead = 0;
    for (const other of indices(over.slice(0, -1))) {
      const [want, ran] = [new Float64Array(rowTiles * overTiles), new Float64Array(rowTiles * overTiles)];
      const here = new Float64Array(overTiles);
      for (let r = 0; r < R; r++) {
        const at = tileOf(r, ROW_TILE, storedRows, step) * overTiles;
        here.fill(0);
        for (let c = 0; c < C; c++) {
          const t = tileOf(c, OVER_TILE, storedOver, step);
          if (inside([...lead, r], [...other, c])) here[t] = (here[t] as number) + 1;
        }
        for (let t = 0; t < overTiles; t++) {
          const got = counts[(rowLead * storedRows + r) * allTiles + overLead * overTiles + t] as number;
          if (got < (here[t] as number)) sum.missing++;
          want[at + t] = (want[at + t] as number) + (here[t] as number);
          ran[at + t] = (ran[at + t] as number) + got;
        }
      }
      for (const [t, n] of want.entries()) {
        sum.inside += n;
        if (n > 0) sum.wanted++;
        if ((ran[t] as number) > 0) sum.ran++;
        if (n > 0 && (ran[t] as number) > 0) sum.agreed++;
      }
      overLead++;
    }
    rowLead++;
  }
  return sum;
}
const exact = (c: Counted) => expect({ ran: c.ran, agreed: c.agreed, missing: c.missing }).toEqual({ ran: c.wanted, agreed: c.wanted, missing: 0 });

describe("the tiles that run are those with a pair inside the mask", () => {
  it.each(Object.keys(masks))("%s", async (name) => {
    for (const T of [50, 333]) exact(await counted((masks[name] as (T: number) => Masked)(T)));
  });
  it("for every run-time extent", async () => {
    const m = (masks["run-time extents"] as (T: number) => Masked)(130);
    const [rows, cols] = [m.rows[0]?.extent, m.over[0]?.extent] as [UpTo, UpTo];
    const shapes: readonly (readonly [number, number])[] = [
      [0, 5],
      [1, 1],
      [1, 130],
      [47, 0],
      [49, 65],
      [135, 64],
    ];
    for (const [R, C] of shapes)
      exact(
        await counted(
          m,
          new Map([
            [rows, R],
            [cols, C],
          ]),
        ),
      );
  }, 60_000);
  const seeds = Array.from({ length: 6 }, (_, n) => n + Number(process.env.MALLARD_SEED ?? 1));
  it.each(seeds)("of a random mask, seed %i", async (seed) => {
    const g = new Generator(source(seed));
    const axes = (lead: string, last: string, n: number): Axis[] => [
      { v: lead, extent: 2 },
      { v: last, extent: n },
    ];
    const [rows, over] = [axes("a", "r", 110), axes("c", "o", 140)];
    const mask = randomMask(g, [], rows, over, 2);
    const value = (dtype: string) => (at: number) => (dtype === "bool" ? (at * 7 + seed) & 1 : (at >> 5) - 1);
    exact(await counted({ rows, over, mask, data: new Map(g.buffers.map((x) => [x, value(x.dtype)])) }));
  });
});

describe("pairs computed, over pairs inside, at 4096", () => {
  const most = {
    causal: 1.02,
    window: 1.1,
    prefix: 1.02,
    "sink tokens": 1.2,
    documents: 1.2,
    dilated: 1.2,
    neighbourhood: 2.7,
    "wide neighbourhood": 1.6,
  } as const;
  it.each(Object.entries(most))(
    "%s: %f at most",
    async (name, limit) => {
      const c = await counted((masks[name] as (T: number) => Masked)(4096));
      exact(c);
      expect(c.computed / c.inside, `${c.computed} computed, ${c.inside} inside`).toBeLessThan(limit);
    },
    120_000,
  );
});

describe("bounds of a condition over a box", () => {
  it("say may where it holds somewhere, and surely only where it holds everywhere", () => {
    const rng = source(Number(process.env.MALLARD_SEED ?? 1));
    let [decided, all] = [0, 0];
    for (let round = 0; round < 300; round++) {
      const g = new Generator(rng);
      const mask = randomMask(g, [], [{ v: "r", extent: 90 }], [{ v: "o", extent: 90 }], 2);
      const memory = memoryOf(planOf("mask", g.buffers, []));
      for (const [buf, data] of memory) for (let at = 0; at < data.length; at++) data[at] = buf.dtype === "bool" ? rng.below(2) : rng.below(3);
      const t = truth(mask, {
        ranges: new Map([
          ["r", { lo: v("r0"), hi: v("r1") }],
          ["o", { lo: v("o0"), hi: v("o1") }],
        ]),
        load: () => undefined,
      });
      for (let n = 0; n < 10; n++) {
        const [r0, o0] = [rng.below(60), rng.below(60)];
        const box = { r0, o0, r1: r0 + rng.below(20), o1: o0 + rng.below(20) };
        const env = new Map(Object.entries(box));
        const [may, surely] = [t.may, t.surely].map((e) => termValue(e, env, memory) !== 0);
        let [some, each] = [false, true];
        for (let r = box.r0; r <= box.r1; r++)
          for (let o = box.o0; o <= box.o1; o++) {
            const holds = termValue(mask, env.set("r", r).set("o", o), memory) !== 0;
            some ||= holds;
            each &&= holds;
          }
        expect(!some || may).toBe(true);
        expect(!surely || each).toBe(true);
        all++;
        if (may === some && surely === each) decided++;
      }
    }
    // Sound bounds that never decide would be of no use.
    expect(decided / all).toBeGreaterThan(0.5);
  });
});

describe("the text", () => {
  const T = new UpTo(300, "time");
  const qkv = ["q", "k", "v"].map((name) =>
    buffer(
      name,
      "f32",
      [
        { name: "t", extent: T },
        { name: "d", extent: 32 },
      ],
      "input",
    ),
  ) as [Buffer, Buffer, Buffer];
  const out = buffer(
    "out",
    "f32",
    [
      { name: "t", extent: T },
      { name: "d", extent: 32 },
    ],
    "output",
  );
  /** Causal attention with capped scores. */
  const attention = (): Nest => {
    const s = apply("select", "real", causal, f("mul", f("tanh", local("dot", "real")), real(20)), real(-Infinity));
    const above = f("max", local("m", "real"), real(-1e30));
    const rescale = f("exp", f("sub", f("max", local("was.m", "real"), real(-1e30)), above));
    const weight = f("exp", f("sub", s, above));
    const fold = (bind: string, element: Expr, more: Pick<TileFold, "n" | "b"> = { n: [], b: null }, monoid = sumOf): TileFold => ({
      bind: [bind],
      monoid,
      elements: [element],
      rescale: monoid === sumOf ? rescale : null,
      at: null,
      ...more,
    });
    const n: Axis = { v: "n", extent: 32 };
    return {
      form: "tiles",
      name: "attention",
      nodes: [],
      batch: [],
      rows: [{ v: "q", extent: T }],
      over: [{ v: "k", extent: T }],
      sides: [],
      dots: [{ name: "dot", k: [{ v: "d", extent: 32 }], a: load(qkv[0], [q, v("d")]), b: load(qkv[1], [k, v("d")]) }],
      mask: causal,
      folds: [fold("m", s, undefined, maxOf), fold("l", weight), fold("acc", weight, { n: [n], b: load(qkv[2], [k, v("n")]) })],
      columns: [],
      quads: [],
      stores: [{ n: [n], stores: [{ buffer: out, index: [q, v("n")], value: f("div", local("acc", "real"), local("l", "real")) }] }],
    };
  };
  const text = () => printKernel(scheduled(attention(), cLimits), new Map([[(extentVar(T) as { name: string }).name, { lo: 0, hi: 300 }]])).source;
  it("computes a score's cap and a weight once a pass: whole tiles, and tiles at the edge with what is left of a vector", () => {
    const count = (word: string) => text().split(`${word}(`).length - 1;
    expect([count("m_tanhW"), count("m_tanh8"), count("m_tanh1")]).toEqual([2, 0, 1]);
    // The weight; and what sums are rescaled by, as many rows at a time as there are lanes, then eight.
    expect([count("m_expW"), count("m_exp8"), count("m_exp1")]).toEqual([2 + 2, 2 * 2, 1]);
  });
  it("tests no mask where a tile is whole", () => {
    const whole = text().split("if ((all & (width == 64)))")[1]?.split("} else {")[0] ?? "";
    expect(whole).toContain("m_tanhW");
    const tested = /\bile[8W]\(/;
    expect(text()).toMatch(tested);
    expect(whole).not.toMatch(tested);
  });
});
