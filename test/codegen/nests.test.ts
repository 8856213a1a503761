// Generated C beside the f64 interpreter: every nest form over random shapes (extents 0, 1, primes, tile ± 1, run-time
// extents below their maximum), all storage formats; the same bits for 1, 2 and 3 threads, and for vectors of any width.
import { describe, expect, it } from "vitest";
import { showKernel } from "../../compiler/loop/print.js";
import { scheduled } from "../../compiler/loop/recipes/index.js";
import { apply, type Buffer, buffer, type Expr, extentVar, int, load, local, variable } from "../../compiler/lower/expr.js";
import type { Axis, Monoid, Nest } from "../../compiler/lower/nest.js";
import { cLimits } from "../../compiler/targets/c/limits.js";
import { UpTo } from "../../dsl/node.js";
import { Generator, source } from "./generate.js";
import { buffersOf } from "./generate-tiles.js";
import { interpret, interpretKernel, memoryOf } from "./interpret.js";
import { compile, planOf } from "./native.js";

const seed = Number(process.env.MALLARD_SEED ?? 1);
const rounds = Number(process.env.MALLARD_ROUNDS ?? 2);
/** Kernels of tiles are long: fewer of them are as much to compile. */
const perProgram = (form: Nest["form"]) => (form === "tiles" ? 8 : 24);

async function check(form: Nest["form"], seedHere: number) {
  const rng = source(seedHere);
  const g = new Generator(rng);
  const nests = Array.from({ length: perProgram(form) }, () => g.nest(form));
  const plan = planOf(
    form,
    g.buffers,
    nests.map((nest) => ({ step: "nest", nest })),
    g.extents,
  );
  const extents = new Map<UpTo, number>(g.extents.map((e) => [e, Math.max(0, e.max - rng.below(4))]));
  const memory = memoryOf(plan);
  for (const b of plan.buffers) {
    if (b.role !== "input") continue;
    const data = memory.get(b) as Float64Array;
    for (let i = 0; i < data.length; i++) {
      // Values that every format holds, so that only arithmetic differs.
      data[i] = b.dtype === "bool" ? rng.below(2) : b.dtype === "i32" ? rng.below(20) - 1 : (rng.below(65) - 32) / 16;
    }
  }
  const want = new Map([...memory].map(([b, d]) => [b, d.slice()]));
  interpret(plan, want, extents);
  const program = await compile(plan);
  const runs = [1, 2, 3].map((threads) => program.run(memory, { threads, extents }));
  for (const nest of nests) {
    const text = () => program.program.kernels.find((k) => k.name === nest.name)?.source ?? "";
    for (const b of plan.buffers) {
      if (b.role !== "output" || !writes(nest).includes(b)) continue;
      const [got, two, three] = runs.map((r) => r.memory.get(b) as Float64Array) as [Float64Array, Float64Array, Float64Array];
      const ref = want.get(b) as Float64Array;
      const scale = ref.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0);
      const tolerance = (b.dtype === "bf16" ? 2 ** -7 : b.dtype === "f16" ? 2 ** -10 : 4e-6) * (scale + 1);
      ref.forEach((x, i) => {
        const y = got[i] as number;
        const ok = Object.is(x, y) || x === y || (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) <= tolerance;
        if (!ok) throw new Error(`seed ${seedHere} ${nest.name} ${b.name}[${i}]: ${y}, expected ${x}\n${text()}`);
      });
      if (!got.every((x, i) => Object.is(x, two[i]) && Object.is(x, three[i])))
        throw new Error(`seed ${seedHere} ${nest.name}: bits differ between threads\n${text()}`);
    }
  }
  const [first, ...others] = runs.map((r) => new Uint8Array(r.bytes.buffer));
  for (const other of others) expect(same(first as Uint8Array, other)).toBe(true);
  if (process.arch !== "x64" || seedHere !== seed) return;
  const narrow = (await compile(plan, ["-mno-avx512f"])).run(memory, { extents });
  expect(same(first as Uint8Array, new Uint8Array(narrow.bytes.buffer))).toBe(true);
}
const same = (x: Uint8Array, y: Uint8Array) => x.length === y.length && x.every((b, i) => b === y[i]);
/** The loop IR that recipes make, run as it stands: what every target prints must mean what the nest means. */
function checkLoops(form: Nest["form"], seedHere: number) {
  const rng = source(seedHere);
  const g = new Generator(rng);
  for (let i = 0; i < 10; i++) {
    const nest = g.nest(form);
    const extents = new Map(g.extents.map((e) => [(extentVar(e) as { name: string }).name, e.max]));
    const memory = memoryOf(planOf(form, g.buffers, []));
    for (const [b, data] of memory)
      if (b.role === "input") for (let k = 0; k < data.length; k++) data[k] = b.dtype === "i32" ? rng.below(20) - 1 : rng.below(9) / 4;
    const want = new Map([...memory].map(([b, d]) => [b, d.slice()]));
    interpret(planOf(form, g.buffers, [{ step: "nest", nest }], g.extents), want);
    interpretKernel(scheduled(nest, cLimits), memory, extents);
    for (const b of writes(nest)) {
      const ref = want.get(b) as Float64Array;
      (memory.get(b) as Float64Array).forEach((x, k) => {
        const y = ref[k] as number;
        const tolerance = b.dtype === "bf16" ? 2 ** -7 : b.dtype === "f16" ? 2 ** -10 : 1e-9;
        if (!(Object.is(x, y) || x === y || Math.abs(x - y) <= tolerance * (1 + Math.abs(y))))
          throw new Error(`seed ${seedHere} ${nest.name} ${b.name}[${k}]: ${x}, expected ${y}\n${showKernel(scheduled(nest, cLimits))}`);
      });
    }
  }
}
function writes(n: Nest) {
  switch (n.form) {
    case "map":
    case "contract":
      return n.stores.map((s) => s.buffer);
    case "row":
      return n.stages.flatMap((s) => (s.stage === "fold" ? [] : s.stores.map((t) => t.buffer)));
    case "tiles":
      return buffersOf(n);
    case "scatter":
      return [n.into.buffer];
    case "top":
      return [...n.stores.map((s) => s.buffer), ...(n.chosen ? [n.chosen.buffer] : [])];
  }
}

describe.each(["map", "row", "contract", "tiles", "scatter", "top"] as const)("%s", (form) => {
  it.each(Array.from({ length: rounds }, (_, i) => seed + i))("agrees with the interpreter, seed %i", (s) => check(form, s), 60_000);
  it("means as loops what it means as a nest", () => checkLoops(form, seed), 60_000);
});

describe("bits", () => {
  const n = 301;
  const v = variable;
  const sum: Monoid = { names: ["s"], empty: [0], combine: [apply("add", "real", local("x.s", "real"), local("y.s", "real"))], kind: "sum" };
  const fill = (data: Float64Array) => {
    for (let i = 0; i < data.length; i++) data[i] = Math.fround(Math.sin(i * 1.7));
  };
  const foldNest = (x: Expr, out: Buffer, rows: readonly Axis[], over: readonly Axis[]): Nest => ({
    form: "row",
    name: `fold${out.id}`,
    nodes: [],
    rows,
    stages: [
      { stage: "fold", over, monoid: sum, elements: [apply("mul", "real", x, x)], bind: [`s${out.id}`] },
      { stage: "map", axes: [], stores: [{ buffer: out, index: rows.map((r) => v(r.v)), value: local(`s${out.id}`, "real") }] },
    ],
  });
  /** Runs and gives the outputs' values. */
  async function outputs(buffers: readonly Buffer[], nests: readonly Nest[], extents: readonly UpTo[], given: ReadonlyMap<Buffer, Float64Array>) {
    const plan = planOf(
      "bits",
      buffers,
      nests.map((nest) => ({ step: "nest", nest })),
      extents,
    );
    const memory = memoryOf(plan);
    for (const [b, data] of given) memory.set(b, data);
    const run = (await compile(plan)).run(memory, { threads: 2, extents: new Map(extents.map((e) => [e, n])) });
    return buffers.filter((b) => b.role === "output").map((b) => run.memory.get(b) as Float64Array);
  }
  it("of a fold depend on its length alone: layout, batch and run-time extents leave them as they are", async () => {
    const rows: Axis = { v: "r", extent: 9 };
    const up = new UpTo(n + 3, "n");
    const byRow = buffer(
      "byRow",
      "f32",
      [
        { name: "r", extent: 9 },
        { name: "k", extent: n },
      ],
      "input",
    );
    const byColumn = buffer(
      "byColumn",
      "f32",
      [
        { name: "k", extent: n },
        { name: "r", extent: 9 },
      ],
      "input",
    );
    const longer = buffer(
      "longer",
      "f32",
      [
        { name: "r", extent: 9 },
        { name: "k", extent: up },
      ],
      "input",
    );
    const outs = ["a", "b", "c", "d"].map((name) => buffer(name, "f32", [{ name: "r", extent: name === "d" ? 1 : 9 }], "output")) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
    ];
    const [data, turned, padded] = [new Float64Array(9 * n), new Float64Array(9 * n), new Float64Array(9 * (n + 3))];
    fill(data);
    for (let r = 0; r < 9; r++)
      for (let k = 0; k < n; k++) {
        turned[k * 9 + r] = data[r * n + k] as number;
        padded[r * (n + 3) + k] = data[r * n + k] as number;
      }
    const got = await outputs(
      [byRow, byColumn, longer, ...outs],
      [
        foldNest(load(byRow, [v("r"), v("k")]), outs[0], [rows], [{ v: "k", extent: n }]),
        foldNest(load(byColumn, [v("k"), v("r")]), outs[1], [rows], [{ v: "k", extent: n }]),
        foldNest(load(longer, [v("r"), v("k")]), outs[2], [rows], [{ v: "k", extent: up }]),
        foldNest(load(byRow, [v("r"), v("k")]), outs[3], [{ v: "r", extent: 1 }], [{ v: "k", extent: n }]),
      ],
      [up],
      new Map([
        [byRow, data],
        [byColumn, turned],
        [longer, padded],
      ]),
    );
    expect(got[1]).toEqual(got[0]);
    expect(got[2]).toEqual(got[0]);
    expect(got[3]?.[0]).toBe(got[0]?.[0]);
  });
  it("of a contraction as well: a row alone, a transposed result, run-time depth", async () => {
    const [M, N] = [13, 21];
    const up = new UpTo(n + 5, "n");
    const ax = (e: Record<string, number | UpTo>) => Object.entries(e).map(([name, extent]) => ({ name, extent }));
    const a = buffer("a", "f32", ax({ m: M, k: n }), "input");
    const b = buffer("b", "f32", ax({ k: n, j: N }), "input");
    const a2 = buffer("a2", "f32", ax({ m: M, k: up }), "input");
    const b2 = buffer("b2", "f32", ax({ k: up, j: N }), "input");
    const [plain, turned, late, alone] = [ax({ m: M, j: N }), ax({ j: N, m: M }), ax({ m: M, j: N }), ax({ j: N })].map((axes, i) =>
      buffer(`o${i}`, "f32", axes, "output"),
    ) as [Buffer, Buffer, Buffer, Buffer];
    const [da, db, da2, db2] = [new Float64Array(M * n), new Float64Array(n * N), new Float64Array(M * (n + 5)), new Float64Array((n + 5) * N)];
    fill(da);
    fill(db);
    for (let m = 0; m < M; m++) for (let k = 0; k < n; k++) da2[m * (n + 5) + k] = da[m * n + k] as number;
    db2.set(db);
    const nest = (name: string, x: Expr, y: Expr, out: Buffer, index: readonly Expr[], k: Axis, rows = M): Nest => ({
      form: "contract",
      name,
      nodes: [],
      batch: [],
      m: rows === 1 ? [] : [{ v: "m", extent: rows }],
      n: [{ v: "j", extent: N }],
      k: [k],
      a: x,
      b: y,
      stores: [{ buffer: out, index, value: local("sum", "real") }],
    });
    const k: Axis = { v: "k", extent: n };
    const [x, y] = [load(a, [v("m"), v("k")]), load(b, [v("k"), v("j")])];
    const got = await outputs(
      [a, b, a2, b2, plain, turned, late, alone],
      [
        nest("plain", x, y, plain, [v("m"), v("j")], k),
        nest("turned", x, y, turned, [v("j"), v("m")], k),
        nest("late", load(a2, [v("m"), v("k")]), load(b2, [v("k"), v("j")]), late, [v("m"), v("j")], { v: "k", extent: up }),
        nest("alone", load(a, [int(4), v("k")]), y, alone, [v("j")], k, 1),
      ],
      [up],
      new Map([
        [a, da],
        [b, db],
        [a2, da2],
        [b2, db2],
      ]),
    );
    const [p, t, l, o] = got as [Float64Array, Float64Array, Float64Array, Float64Array];
    expect(l).toEqual(p);
    for (let m = 0; m < M; m++) for (let j = 0; j < N; j++) expect(t[j * M + m]).toBe(p[m * N + j]);
    expect(o).toEqual(p.slice(4 * N, 5 * N));
  });
});
