// `mallard check`: what it says of an author's variants, what it finds, and what it refuses.
import { beforeAll, describe, expect, test } from "vitest";
import { needs } from "../require.js";
import { temporary } from "../train/fixtures.js";
import { project } from "./author.js";
import { built, mallard } from "./mallard.js";

beforeAll(built);
const compiler = await needs("compiler");
const small = ["--runs", "3", "--threads", "2"];

describe.runIf(compiler)("on the native device", () => {
  test("a variant that is right: axes, fusion, and its outputs and gradients", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout } = await mallard(["check", "variants.ts#causal", ...small], { cwd: folder.path });
    expect(code, stdout).toBe(0);
    expect(stdout).toContain("Inputs\n  q      f32  query 1024, dim 64\n");
    expect(stdout).toContain("Outputs\n  out  f32  query 1024, value 64\n");
    expect(stdout).toMatch(/forward +1 +1 /);
    expect(stdout).toContain("Fused: no value grows like the square of the sequences in memory");
    // The place and the text that stand between forward and backward.
    expect(stdout).toMatch(
      /\(variants\.ts:8:14\): gradients start from it, when all of it is there\n +8 \| {3}return dot\(softmax\(s, "key"\), v, "key"\);\n +\| +\^\n/,
    );
    for (const name of ["out", "gradient.q", "gradient.k", "gradient.v", "gradient.slope"])
      expect(stdout).toMatch(new RegExp(`✓ ${name} +error .* \\(6 runs\\)`));
    for (const name of ["q", "k", "v", "slope"]) expect(stdout).toMatch(new RegExp(`✓ ${name} +error`));
    expect(stdout).toContain("All is well");
  });
  test("a gradient that is wrong is found, with what it is and by differences", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout } = await mallard(["check", "variants.ts#halved", ...small], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stdout).toMatch(/✓ gradient\.k/); // the kernels do what the derivative says
    expect(stdout).toMatch(/✗ k +error .*\n +the gradient.* is 0, by differences -?\d/);
    expect(stdout).toContain("again with --seed 0");
    expect(stdout).toContain("Failed: k\n");
  });
  test("a record has its own sizes, and its run-time extents vary", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout } = await mallard(["check", "variants.ts#record", "--runs", "4", "--json"], { cwd: folder.path });
    expect(code, stdout).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.runs.map((r: { extents: object }) => r.extents)).toEqual([{ query: 70 }, { query: 17 }, { query: 3 }, { query: 65 }]);
    expect([report.ok, report.sequences]).toEqual([true, []]);
  });
  test("values in a range of the author's; the same seed, the same report", async () => {
    using folder = temporary();
    project(folder.path);
    const args = ["check", "variants.ts#causal", "--range", "slope=2..3", "--json", "--runs", "1", "--seed", "5"];
    const [one, two] = [await mallard(args, { cwd: folder.path }), await mallard(args, { cwd: folder.path })];
    expect([one.code, one.stdout]).toEqual([0, two.stdout]);
  });
});

describe("the verdict alone", () => {
  test("what is stored whole, where, and what stopped its fusion; --fused makes that a failure", async () => {
    using folder = temporary();
    project(folder.path);
    const args = ["check", "variants.ts#area", "--runs", "0"];
    const told = await mallard(args, { cwd: folder.path });
    expect(told.code).toBe(0);
    expect(told.stdout).toContain("Not fused: what is stored grows like the square of the sequences");
    expect(told.stdout).toMatch(/stored: \w+, 4\.00 MiB \(variants\.ts:18:\d+\)\n +stopped at \(variants\.ts:18:\d+\): .*scan/);
    const strict = await mallard([...args, "--fused"], { cwd: folder.path });
    expect([strict.code, strict.stdout.trimEnd().split("\n").at(-1)]).toEqual([1, "Failed: it is not fused"]);
  });
  test("what stands a block of rows at a time, where, and why; that counts as fused", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout } = await mallard(["check", "variants.ts#stick", "--runs", "0", "--fused"], { cwd: folder.path });
    expect(code).toBe(0);
    expect(stdout).toMatch(/growing like T\^1\.00/);
    expect(stdout).toMatch(/a block of rows at a time: \w+, 0\.50 MiB \(variants\.ts:13:17\)\n +stopped at \(variants\.ts:13:17\): .*scan/);
  });
  test("as JSON: counts of both halves and of the dense form, memory at three lengths", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout } = await mallard(["check", "variants.ts#causal", "--runs", "0", "--json"], { cwd: folder.path });
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.sequences).toEqual(["query", "key"]);
    expect(report.forward).toMatchObject({ kernels: 1, passes: 1 });
    expect(report.dense.forward.kernels).toBeGreaterThan(report.forward.kernels);
    expect(report.temporaries.both.scales).toEqual([1, 2, 4]);
    expect(report.temporaries.both.exponent).toBeLessThan(1.05);
  });
});

describe("wrong requests", () => {
  const wrong: readonly (readonly string[])[] = [
    ["check"],
    ["check", "variants.ts#casual"],
    ["check", "variants.ts#causal", "--sequences", "qurey"],
    ["check", "variants.ts#causal", "--inputs", "q=query:4,dmi:8"],
    ["check", "variants.ts#causal", "--range", "slop=0..1"],
    ["check", "variants.ts#causal", "--range", "slope=1..0"],
    ["check", "variants.ts#causal", "--device", "wgsl"],
    ["check", "variants.ts#record", "--sequences", "query"],
    ["check", "variants.ts#record", "--inputs", "q=query:4"],
    ["variants", "causl"],
  ];
  test.for(wrong.map((args) => [args.join(" "), args] as const))("mallard %s", async ([_, args], { expect }) => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout, stderr } = await mallard(args, { cwd: folder.path });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr.replaceAll(folder.path, "DIR").trimEnd()).toMatchSnapshot();
  });
  test("no compiler: the native device says what is missing, and the verdict stands", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout, stderr } = await mallard(["check", "variants.ts#causal", "--device", "native", ...small], {
      cwd: folder.path,
      env: { CC: "/nowhere/cc" },
    });
    expect(code).toBe(1);
    expect(stdout).toContain("Kernels (the work between two barriers)");
    expect(stderr).toMatch(/no usable C compiler/);
  });
});

describe("explain", () => {
  test("shows every stage in order, with the author's lines", async () => {
    using folder = temporary();
    project(folder.path);
    const { code, stdout } = await mallard(["explain", "variants.ts#causal"], { cwd: folder.path });
    expect(code).toBe(0);
    const stages = Array.from(stdout.matchAll(/^─── (\w+): /gm), (m) => m[1] as string);
    expect(stages[0]).toBe("written");
    for (const s of ["read", "grad", "simplify", "sink"]) expect(stages).toContain(s);
    expect(stages.slice(-5)).toEqual(["memory", "nests", "loops", "kernels", "warnings"]);
    expect(stdout).toMatch(/= map\(.*\) \[key\] <= \[query\] \? s - slope \* \(\[query\] - \[key\]\) : -Infinity {2}← variants\.ts:7/);
    expect(stdout).toMatch(/kernel 1\n {2}\w+: tiles {2}← .*variants\.ts:8/);
  });
  test("one stage alone, as JSON", async () => {
    using folder = temporary();
    project(folder.path);
    const { stdout } = await mallard(["explain", "variants.ts#causal", "--stage", "kernels", "--gradient", "--json"], { cwd: folder.path });
    const { stages } = JSON.parse(stdout);
    expect(stages.map((s: { name: string }) => s.name)).toEqual(["kernels"]);
    expect(stages[0].text).toMatch(/kernel 2, after a barrier for /);
  });
});

test("a stage that there is not: the nearest, and all", async () => {
  using folder = temporary();
  project(folder.path);
  const { code, stderr } = await mallard(["explain", "variants.ts#causal", "--stage", "nest"], { cwd: folder.path });
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /^error: there is no stage "nest" \(did you mean "nests"\?\)\n {2}→ the stages are written, read, .*, nests, loops, kernels, warnings\n$/,
  );
});

describe("variants", () => {
  test("two of them: source lines, kernels, passes, memory and its growth", async () => {
    const { code, stdout } = await mallard(["variants", "causal", "gated", "--json"]);
    expect(code).toBe(0);
    const rows = JSON.parse(stdout);
    expect(rows.map((r: { name: string; lines: number }) => [r.name, r.lines])).toEqual([
      ["causal", 4],
      ["gated", 3],
    ]);
    for (const r of rows) {
      expect(r.forward).toMatchObject({ kernels: 1, passes: 1 });
      expect(r.exponent).toBeLessThanOrEqual(1.05);
      expect(r.quadratic).toEqual([]);
      expect(r.temporaries.map((t: { time: number }) => t.time)).toEqual([1024, 2048, 4096]);
    }
  });
  test("as a table", async () => {
    const { code, stdout } = await mallard(["variants", "stick-breaking"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^ # {2}variant +lines {2}forward {2}passes {2}backward +passes {2}MiB at 1k {2}MiB at 2k {2}MiB at 4k {2}growth {2}T×T\n21 {2}stick-breaking .* T\^1\.00 {2}no\n/,
    );
  });
});
