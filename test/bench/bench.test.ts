// The benchmark's own parts: its statistics, arguments and tables, and how it speaks to peers. No timings.
import { isLeft, left, right } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { readArguments } from "../../bench/arguments.js";
import { type Contestant, Lines, peer, rounds } from "../../bench/contestant.js";
import { SERIES } from "../../bench/growth.js";
import { limitRows, speedOf } from "../../bench/limits.js";
import { blasTask, present, squareTask } from "../../bench/peers.js";
import { shapeOf, shapesOf } from "../../bench/products.js";
import { asMarkdown, asText, columns, digits, load, type Report, row, withSection } from "../../bench/results.js";
import { roofline } from "../../bench/roofline.js";
import { exponentOf, median, medianInterval, ratioOf, turns } from "../../bench/statistics.js";
import { trainingStep } from "../codegen/step.js";

describe("statistics", () => {
  test("median of odd, even and no values", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNaN();
  });
  test("ratios are taken pair by pair: what slows both cancels out", () => {
    expect(ratioOf([2, 20, 200], [1, 10, 100])).toEqual({ median: 2, min: 2, max: 2, pairs: 3, interval: null });
    expect(ratioOf([1, 3], [2, 2])).toEqual({ median: 1, min: 0.5, max: 1.5, pairs: 2, interval: null });
    expect(() => ratioOf([1], [])).toThrow("cannot be paired");
  });
  test("the median's interval: the k-th from either end by the binomial tail, as tables of the sign test have it", () => {
    const upTo = (n: number) => Array.from({ length: n }, (_, i) => ((i * 7) % n) + 1); // 1 … n in another order
    for (const [n, k] of [
      [6, 1],
      [10, 2],
      [20, 6],
      [41, 14],
      [100, 40],
    ] as const)
      expect(medianInterval(upTo(n))).toEqual({ low: k, high: n + 1 - k });
    expect(medianInterval(upTo(5))).toBeNull();
  });
  test("exponents: of a power law its own, whatever the factor; between two where a term of another kind is added", () => {
    const xs = [1, 2, 4, 8, 16];
    for (const e of [-1, 0, 0.5, 1, 2]) expect(exponentOf(xs.map((x) => [x, 7 * x ** e]))).toBeCloseTo(e, 10);
    const mixed = exponentOf(xs.map((x) => [x, x + x ** 2]));
    expect(mixed > 1 && mixed < 2).toBe(true);
    expect(exponentOf([[3, 5]])).toBeNaN();
  });
  test("everyone goes in every round, first and last as often, and after each of the others", () => {
    const order = Array.from({ length: 6 }, (_, r) => turns(3, r));
    for (const o of order) expect([...o].sort()).toEqual([0, 1, 2]);
    for (const at of [0, 2]) expect(order.map((o) => o[at]).sort()).toEqual([0, 0, 1, 1, 2, 2]);
    const neighbours = order.flatMap((o) => [`${o[0]}${o[1]}`, `${o[1]}${o[2]}`]);
    expect(new Set(neighbours).size).toBe(6);
  });
});

describe("arguments", () => {
  const read = (line: string) => readArguments(line.split(" ").filter(Boolean));
  test("everything by default, and what was asked for", () => {
    expect(read("")).toMatchObject(
      right({
        parts: ["gemm", "attention", "step", "memory", "compile"],
        profile: false,
        sizes: null,
        pairs: null,
        json: false,
        save: false,
        peers: null,
      }),
    );
    expect(read("all")).toEqual(read(""));
    expect(read("step --size small --pairs 4 --threads 3 --tune --json --peers /x")).toEqual(
      right({
        parts: ["step"],
        profile: false,
        sizes: ["small"],
        pairs: 4,
        threads: 3,
        tune: true,
        json: true,
        save: false,
        peers: "/x",
        adapter: "software",
        plot: null,
        help: false,
      }),
    );
    expect(read("profile --plot x.svg")).toMatchObject(right({ profile: true, parts: [], plot: "x.svg" }));
    expect(read("step --size base,micro")).toMatchObject(right({ sizes: ["micro", "base"] }));
    expect(read("step --size all")).toMatchObject(right({ sizes: ["micro", "tiny", "small", "base"] }));
  });
  test.each([
    ["gem", "gemm"],
    ["gemm step", "one thing at a time"],
    ["--size huge", "micro, tiny, small, base"],
    ["step --size tiny,huge", '"huge" is none'],
    ["attention --size tiny", "leave --size out"],
    ["growth --size tiny", "leave --size out"],
    ["step --plot x.svg", "--plot draws a profile"],
    ["profile --size tiny,small --plot x.svg", "one --size"],
    ["--pairs 0", "1 to 1000"],
    ["--pairs 1.5", "1 to 1000"],
    ["--threads many", "1 to 1024"],
    ["--fast", "--fast"],
  ])("%s is refused, and it says what is right", (line, says) => {
    const r = read(line);
    expect(isLeft(r) && r.left).toContain(says);
  });
});

describe("products", () => {
  const axes = (m: number, n: number, k: number) =>
    [
      { name: "m", size: m, of: "m" },
      { name: "n", size: n, of: "n" },
      { name: "k", size: k, of: "k" },
    ] as const;
  const order = (a: string, b: string, c: string) => ({ a: { order: a.split(" ") }, b: { order: b.split(" ") }, c: { order: c.split(" ") } });
  test.each([
    ["m k", "k n", "m n", { ta: false, tb: false, m: 2, n: 3, k: 5 }],
    ["m k", "n k", "m n", { ta: false, tb: true, m: 2, n: 3, k: 5 }],
    ["k m", "k n", "m n", { ta: true, tb: false, m: 2, n: 3, k: 5 }],
    // A result whose rows are the fast axis is the transposed product: cᵀ = bᵀ·aᵀ.
    ["m k", "k n", "n m", { ta: true, tb: true, m: 3, n: 2, k: 5 }],
    ["k m", "k n", "n m", { ta: true, tb: false, m: 3, n: 2, k: 5 }],
  ])("a %s, b %s, c %s as a library is asked for it", (a, b, c, wanted) => {
    expect(shapeOf({ axes: axes(2, 3, 5), ...order(a, b, c) })).toMatchObject({ blas: { batch: 1, ...wanted }, plain: true });
  });
  test("axes of one side that lie between those of the other are no library's matrix", () => {
    const heads = [...axes(6, 7, 8), { name: "h", size: 2, of: "k" as const }];
    expect(shapeOf({ axes: heads, ...order("m h k", "h k n", "m n") })).toMatchObject({ blas: { k: 16 }, plain: true });
    expect(shapeOf({ axes: heads, ...order("h m k", "h k n", "m n") }).plain).toBe(false);
  });
  test("those of a step: every product once, alike ones together, each with its weight and its pass", () => {
    const sizes = { model: 32, layer: 3, head: 2, dim: 16, ff: 64, vocab: 48, batch: 2, time: 24 };
    const plan = trainingStep(sizes, { tiles: true });
    const shapes = shapesOf({ program: { plan }, weights: Object.keys(plan.state) });
    const matrices = 3 * (4 * 32 * 32 + 3 * 32 * 64) + 48 * 32;
    expect(shapes.reduce((n, { blas: b, calls }) => n + calls * b.batch * b.m * b.n * b.k, 0)).toBe(3 * 48 * matrices);
    const labels = shapes.map((s) => s.label).join("; ");
    for (const weight of ["wq", "wk", "wv", "wo", "gate", "up", "down", "embed"])
      for (const pass of ["forward", "dX", "dW"]) expect(labels).toMatch(new RegExp(`\\b${weight}\\b[^;]* ${pass}`));
    expect(shapes.find((s) => /^wq/.test(s.label) && s.label.endsWith("forward"))?.blas).toEqual({
      batch: 1,
      m: 48,
      n: 32,
      k: 32,
      ta: false,
      tb: false,
    });
    expect(shapes.find((s) => s.label === "embed forward")?.blas).toEqual({ batch: 1, m: 48, n: 48, k: 32, ta: false, tb: true });
  });
  test("tasks of the OpenBLAS peer", () => {
    expect(squareTask(64)).toBe("0 0 1 64 64 64");
    expect(blasTask({ batch: 2, m: 3, n: 4, k: 5, ta: true, tb: false })).toBe("1 0 2 3 4 5");
  });
});

describe("growth", () => {
  test("one thing changes in a series, and tokens do not where lengths do", () => {
    const own = { time: ["time", "batch"], layers: ["layer"], width: ["model", "head", "ff"], vocabulary: ["vocab"] } as const;
    expect(SERIES.map((s) => s.what)).toEqual(Object.keys(own));
    for (const { what, of, configs } of SERIES) {
      const may: readonly string[] = own[what as keyof typeof own];
      const [first] = configs;
      for (const c of configs)
        for (const [key, value] of Object.entries(c)) if (!may.includes(key)) expect([what, key, value]).toEqual([what, key, first?.[key as "time"]]);
      expect(configs.map(of)).toEqual([...configs.map(of)].sort((a, b) => a - b));
    }
    const lengths = SERIES.find((s) => s.what === "time")?.configs ?? [];
    expect(new Set(lengths.map((c) => c.time * c.batch)).size).toBe(1);
    expect([lengths[0]?.time, lengths.at(-1)?.time]).toEqual([256, 8192]);
  });
});

describe("limits", () => {
  test("seconds as GFLOP/s, and a bar on OpenBLAS's rate alone", () => {
    expect(speedOf({ medians: [1, 2], all: [4] }, 8e9)).toEqual({ medians: [8, 4], all: [2] });
    const limit = (name: string): Contestant => ({ name, detail: "", slice: async () => [1], close: () => undefined });
    const [fma, blas, none] = [limit("fma of 8 floats"), limit("OpenBLAS 1024"), limit("not measured")];
    const measured = new Map([fma, blas].map((c) => [c, { medians: [100], all: [100] }]));
    const rows = limitRows(
      { peak: null, blas: null, all: [fma, blas, none], close: () => undefined },
      measured,
      { part: "step", what: "rate", ours: { medians: [85], all: [90] } },
      0.8,
    );
    expect(rows.map((r) => [r.against, r.ratio?.median, r.best?.ratio, r.bar?.met])).toEqual([
      ["fma of 8 floats", 0.85, 0.9, undefined],
      ["OpenBLAS 1024", 0.85, 0.9, true],
    ]);
  });
});

describe("the roofline picture", () => {
  test("an SVG with the roofs, and the most expensive kernels by number and name", async () => {
    const kernel = (i: number) => ({
      ...{ name: `k${i}`, form: "map", nodes: [], calls: 1, ms: 30 - i, slowestMs: 30 - i, waitMs: 0 },
      ...{ operations: 1e9 * (i + 1), bytes: 1e8 },
      source: {
        ...{ place: { file: "/x/model.ts", line: i + 1, column: 1 }, text: `dot(a, b<${i}>)`, others: 0, label: null },
        ...{ half: i % 2 === 0 ? ("forward" as const) : ("backward" as const), state: [], reads: [] },
      },
    });
    const kernels = Array.from({ length: 25 }, (_, i) => kernel(i));
    const run = { threads: 2, runs: 1, bestMs: 450, medianMs: 460, kernelMs: 400, waitMs: 0, kernels };
    const roofs = { threads: 2, gflops: 200, lanes: 8, memory: 20, cache: 100 };
    const svg = await roofline(run, roofs, { title: "a step", blas: 150 });
    expect(svg.startsWith("<svg")).toBe(true);
    for (const said of [
      "Roofline: a step",
      "memory 20 GB/s",
      "cache 100 GB/s",
      "fma of 8 floats: 200",
      "OpenBLAS: 150",
      "model.ts:1 dot(a, b&lt;0&gt;)",
    ])
      expect(svg).toContain(said);
    expect(svg).toContain("model.ts:20 ");
    expect(svg).not.toContain("model.ts:21 ");
  });
});

describe("results", () => {
  const speed = { part: "gemm", what: "product 512", unit: "GFLOP/s", better: "more", against: "OpenBLAS" } as const;
  const of = (...medians: number[]) => ({ medians, all: medians });
  test("best against best: the greatest of speeds, the least of times", () => {
    const [ours, theirs] = [
      { medians: [2], all: [1, 2, 8] },
      { medians: [4], all: [4, 2] },
    ];
    expect(row({ ...speed, ours, theirs }).best).toEqual({ ours: 8, theirs: 4, ratio: 2 });
    expect(row({ ...speed, better: "less", ours, theirs }).best).toEqual({ ours: 1, theirs: 2, ratio: 0.5 });
    expect(row({ ...speed, ours, theirs: null }).best).toBeNull();
  });
  test("a bar on the ratio: more is better for speed, less for time", () => {
    const bar = { on: "ratio", limit: 0.8 } as const;
    expect(row({ ...speed, ours: of(80, 90), theirs: of(100, 100), bar }).bar?.met).toBe(true);
    expect(row({ ...speed, ours: of(70, 80), theirs: of(100, 100), bar }).bar?.met).toBe(false);
    const time = { ...speed, unit: "ms", better: "less" } as const;
    expect(row({ ...time, ours: of(14), theirs: of(10), bar: { on: "ratio", limit: 1.5 } }).bar?.met).toBe(true);
    expect(row({ ...time, ours: of(16), theirs: of(10), bar: { on: "ratio", limit: 1.5 } }).bar?.met).toBe(false);
  });
  test("a bar on the interval's upper end", () => {
    const time = { ...speed, unit: "ms", better: "less" } as const;
    const some = (last: number) => of(...Array.from({ length: 20 }, (_, i) => (i < 12 ? 1 : last)));
    const ones = of(...Array.from({ length: 20 }, () => 1));
    expect(row({ ...time, ours: some(1.02), theirs: ones, bar: { on: "upper", limit: 1.03 } }).bar?.met).toBe(true);
    expect(row({ ...time, ours: some(1.05), theirs: ones, bar: { on: "upper", limit: 1.03 } }).bar?.met).toBe(false);
    expect(row({ ...time, ours: of(1), theirs: of(1), bar: { on: "upper", limit: 1.03 } }).bar).toBeNull();
  });
  test("a saved section takes the place of the one of the same command, others stay", () => {
    const [one, two] = ["## a\n\nfirst\n", "## b\n\n| x |\n"];
    const both = withSection(withSection("", one), two);
    expect(both).toBe("# Measured speed\n\n## a\n\nfirst\n\n## b\n\n| x |\n");
    expect(withSection(both, "## a\n\nagain\n")).toBe("# Measured speed\n\n## a\n\nagain\n\n## b\n\n| x |\n");
    expect(withSection(both, two)).toBe(both);
  });
  test("a bar on our own figure needs no peer; one on a ratio cannot be judged without", () => {
    const time = { ...speed, unit: "s", better: "less" } as const;
    expect(row({ ...time, ours: of(1.4), theirs: null, bar: { on: "ours", limit: 1.5 } })).toMatchObject({
      theirs: null,
      ratio: null,
      bar: { met: true },
    });
    expect(row({ ...time, ours: of(1.4), theirs: null, bar: { on: "ratio", limit: 1.5 } }).bar).toBeNull();
  });
  test("text and Markdown say the same figures", () => {
    const rows = [row({ ...speed, ours: of(80, 90, 100), theirs: of(100, 100, 100), bar: { on: "ratio", limit: 0.8 } })];
    const report: Report = { machine: "a machine", load: "load 1", threads: 2, systems: ["OpenBLAS: 0.3"], rows, tables: [], notes: ["a note"] };
    for (const text of [asText(report), asMarkdown(report, new Date(0), "npm run bench")])
      for (const part of ["a machine", "load 1", "90.0 GFLOP/s", "100 GFLOP/s", "0.90 (0.80–1.00)", "≥ 0.8: met", "a note"])
        expect(text).toContain(part);
  });
  test("rows stand in their groups, and other tables below, with what is wrong for Markdown escaped", () => {
    const rows = ["small", "tiny", "small"].map((group, i) => row({ ...speed, group, what: `product ${i}`, ours: of(80), theirs: of(100) }));
    const table = { title: "a table", head: ["", "x"], rows: [["a|b", "1"]], data: { x: 1 }, notes: ["below"], picture: "a.svg" };
    const report: Report = { machine: "", load: "", threads: 2, systems: [], rows, tables: [table], notes: [] };
    const text = asMarkdown(report, new Date(0), "npm run bench");
    const order = ["**small**", "product 0", "product 2", "**tiny**", "product 1", "**a table**", "![a table](a.svg)", "| a\\|b | 1 |", "below"];
    const places = order.map((part) => text.indexOf(part));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(asText(report)).toContain("a|b  1");
  });
  test("figures taken beside other work say so", () => {
    expect(load(0.2)).toBe("load average before the start 0.2");
    expect(load(3)).toContain("do not quote");
  });
  test("columns line up", () => {
    expect(
      columns(
        ["", "x"],
        [
          ["a", "10"],
          ["bbb", "5"],
        ],
      ),
    ).toBe("      x\n───  ──\na    10\nbbb   5");
    expect([0.123, 12.34, 123.4].map(digits)).toEqual(["0.12", "12.3", "123"]);
  });
});

describe("contestants", () => {
  const echo = (script: string) => new Lines("echo", process.execPath, ["-e", script]);
  test("a peer answers lines with figures", async () => {
    const lines = echo(
      'console.log("v1"); require("readline").createInterface({ input: process.stdin }).on("line", (l) => { const [n, s] = l.split(" "); console.log(n, s, 3); })',
    );
    expect(await lines.line()).toBe("v1");
    const p = peer("echo", "v1", lines);
    expect(await p.slice(7, 0.5)).toEqual([7, 0.5, 3]);
    p.close();
  });
  test("one that ends says why", async () => {
    await expect(echo('console.error("no module named torch"); process.exit(3)').line()).rejects.toThrow("no module named torch");
    await expect(new Lines("none", "/no/such/program", []).line()).rejects.toThrow("ENOENT");
  });
  test("figures that are none are refused", async () => {
    const lines = echo('process.stdin.on("data", () => console.log("nan"))');
    const p = peer("echo", "", lines);
    await expect(p.slice(1, 1)).rejects.toThrow("no figures");
    p.close();
  });
  test("rounds: each runs once a round, one warm-up apart, the median of each slice is kept", async () => {
    const log: string[] = [];
    const fake = (name: string, figures: readonly number[]): Contestant => ({
      name,
      detail: "",
      slice: async (size) => {
        log.push(`${name}${size}`);
        return figures;
      },
      close: () => undefined,
    });
    const [a, b] = [fake("a", [1, 5, 2]), fake("b", [4])];
    const r = await rounds([a, b], { size: 8, seconds: 0, pairs: 2, progress: () => undefined });
    expect(log).toEqual(["a8", "b8", "a8", "b8", "b8", "a8"]);
    expect(r.get(a)).toEqual({ medians: [2, 2], all: [1, 5, 2, 1, 5, 2] });
    expect(r.get(b)).toEqual({ medians: [4, 4], all: [4, 4] });
  });
  test("what is missing is said, and the rest goes on", () => {
    const said: string[] = [];
    expect(present([left("no torch"), right(1)], (l) => said.push(l))).toEqual([1]);
    expect(said).toEqual(["skipped: no torch"]);
  });
});
