// Capture of the forms in which the language takes functions: maps, grids, index arrows, monoids; what is inlined, what
// is stripped, and that the author's line is found under each way of running TypeScript.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Either, isLeft, isRight } from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, test } from "vitest";
import { captureIndex, captureMap, captureMonoid, type MapRequest } from "../../compiler/capture/capture.js";
import { type CaptureError, showCaptureError } from "../../compiler/capture/error.js";
import type { Arrow, DType } from "../../dsl/node.js";
import type { Scalar } from "../../dsl/scalar.js";
import { show } from "../../dsl/scalar-show.js";

const given = <T>(r: Either<CaptureError, T>): T => {
  if (isLeft(r)) throw new Error(showCaptureError(r.left));
  return r.right;
};
const map = (
  fn: Arrow,
  inputs: Record<string, DType>,
  rest: Partial<MapRequest> = {},
  simplified = true, // Partial: what a test does not name is empty
) => show(given(captureMap({ fn, inputs, captured: {}, field: null, axes: [], ...rest }, { folder: null, simplified })));
const fields = (r: Either<CaptureError, Readonly<Record<string, Scalar>>>) =>
  Object.fromEntries(Object.entries(given(r)).map(([k, v]) => [k, show(v)]));

describe("map", () => {
  const axes = ["query", "key"];
  const f32: Record<string, DType> = { s: "f32", m: "f32" };
  test("masks and shifts of the variants", () => {
    expect(map(({ s }, { query: i, key: j }) => (j <= i ? s : -Infinity), f32, { axes })).toBe("[key] <= [query] ? s : -Infinity");
    expect(map(({ s, W }, { query: i, key: j }) => (j <= i && i - j < W ? s : -Infinity), f32, { axes, captured: { W: 64 } })).toBe(
      "[key] <= [query] && [query] - [key] < 64 ? s : -Infinity",
    );
    expect(map(({ s, m }, { query: i, key: j }, { key: n }) => s - m * (i - j) + n, f32, { axes })).toBe("s - m * ([query] - [key]) + |key|");
  });
  test("early returns, nested blocks, const after if", () => {
    const fn: Arrow = ({ s, m }, { query: i }) => {
      if (i === 0) return s;
      const t = s * m;
      if (t > 1) {
        const u = t - 1;
        if (u > 2) return u;
      } else {
        if (m < 0) return -t;
      }
      const v = t + 1;
      return v;
    };
    expect(map(fn, f32, { axes })).toBe("t0 = s * m; t1 = t0 - 1; t2 = t0 + 1; [query] === 0 ? s : t0 > 1 ? t1 > 2 ? t1 : t2 : m < 0 ? -t0 : t2");
  });
  test("one tensor without a name; records read by property; names in quotes", () => {
    expect(map((x) => x ** 3, { "": "f32" })).toBe("x ** 3");
    expect(map((s, { query: i, key: j }) => (j <= i ? s : 0), { "": "f32" }, { axes })).toBe("[key] <= [query] ? x : 0");
    // biome-ignore lint/complexity/useLiteralKeys: names in brackets are tested
    expect(map((p, at, size) => p.s + at.query * size["key"], f32, { axes })).toBe("s + [query] * |key|");
    expect(map((x) => x, { "": "bool" })).toBe("x");
    expect(map(Math.exp as Arrow, { "": "f32" }, { axes })).toBe("exp(x)");
  });
  test("a grid has no inputs", () => {
    expect(map(({ i, j }, { i: n }) => i * n + j, {}, { axes: ["i", "j"] })).toBe("[i] * |i| + [j]");
  });
  test("booleans: inputs, constants, operators", () => {
    expect(map(({ m, on }) => m && !on, { m: "bool" }, { captured: { on: false } })).toBe("m");
    expect(map(({ m, on }) => m && !on, { m: "bool" }, { captured: { on: false } }, false)).toBe("m && !false");
    expect(map(({ m }) => Number(m) + +m, { m: "bool" })).toBe("t0 = toReal(m); t0 + t0");
    expect(map(({ s }) => Number.isNaN(s) || !Number.isFinite(s), f32)).toBe("s !== s || !(abs(s) < Infinity)");
  });
  test("object results give one field", () => {
    const fn: Arrow = ({ w, g, lr }) => {
      const m = w - lr * g;
      return m > 0 ? { w: m, m } : { m: g, w };
    };
    const inputs: Record<string, DType> = { w: "f32", g: "f32", lr: "f32" };
    expect(map(fn, inputs, { field: "w" })).toBe("t0 = w - lr * g; t0 > 0 ? t0 : w");
    expect(map(fn, inputs, { field: "m" })).toBe("t0 = w - lr * g; t0 > 0 ? t0 : g");
  });
  test("captured functions are inlined, nested ones and whole records too", () => {
    const square: Arrow = (x) => x * x;
    const apply: Arrow = (f, x) => f(f(x));
    function cube(x: number): number {
      return x * x * x;
    }
    expect(map(({ s, apply, square }) => apply(square, s), f32, { captured: { apply, square } })).toBe("t0 = s * s; t0 * t0");
    expect(map(({ s, cube, exp }) => cube(s) + exp(s), f32, { captured: { cube, exp: Math.exp } })).toBe("s * s * s + exp(s)");
    // As `attention` passes an author's score on.
    const score: Arrow = ({ s, m }, { query: i, key: j }) => s - m * (i - j);
    expect(map((x, at, size) => x.score(x, at, size), f32, { axes, captured: { score } })).toBe("s - m * ([query] - [key])");
  });
  test("what loaders and minifiers write", () => {
    const arrow = (text: string) => new Function(`return (${text})`)() as Arrow;
    expect(map(arrow("({s:t,W:n},{query:r,key:o})=>o<=r&&r-o<n?t:-1/0"), f32, { axes, captured: { W: 8 } })).toBe(
      "[key] <= [query] && [query] - [key] < 8 ? s : -Infinity",
    );
    expect(map(arrow("({s})=>!0&&s<Number(1e3)"), f32)).toBe("s < 1000");
    // In TypeScript f<m>(2) would be a call with type arguments; the text that runs is JavaScript.
    expect(map(arrow("({ s, f, m }) => Number(f(s)<m)>(2) ? 1 : 0"), f32, { captured: { f: Math.exp } })).toBe("toReal(exp(s) < m) > 2 ? 1 : 0");
    expect(map(arrow("(s) => { 'use strict'; ; return (-s) ** 2 }"), { "": "f32" })).toBe("(-x) ** 2");
    expect(map(arrow("({ s, m }) => s - m - 1 * s / m % 2 + 2 ** s ** m"), f32)).toBe("s - m - s / m % 2 + 2 ** s ** m");
    expect(map(arrow("({ s, m }) => { const { a, b: { c } } = { a: s, b: { c: m } }; return a / c }"), f32)).toBe("s / m");
  });
  test("types that TypeScript takes away", () => {
    expect(map(({ s, m }: { s: number; m?: number }) => (s as number) * m! + ((<number>s) satisfies number), f32)).toBe("s * m + s");
  });
});

test("index arrows", () => {
  const taps = given(
    captureIndex({ fn: ({ query, a }) => ({ query: query - a }), constants: {}, fresh: ["query", "a"], axes: ["query", "key"] }, { folder: null }),
  );
  expect(show(taps.query as Scalar)).toBe("[query] - [a]");
  const rope = captureIndex(
    { fn: ({ dim }, { dim: D }) => ({ dim: (dim + D / 2) % D }), constants: {}, fresh: ["dim"], axes: ["time", "dim"] },
    { folder: null },
  );
  expect(fields(rope)).toEqual({ dim: "([dim] + |dim| / 2) % |dim|" });
  const t5: Arrow = ({ query: i, key: j }, { bucket: n, most }) => {
    const d = Math.max(i - j, 0);
    const half = n / 2;
    return { bucket: d < half ? d : Math.min(n - 1, half + Math.floor((half * Math.log(d / half)) / Math.log(most / half))) };
  };
  expect(fields(captureIndex({ fn: t5, constants: { most: 128 }, fresh: ["query", "key"], axes: ["bucket"] }, { folder: null }))).toEqual({
    bucket: "t0 = max([query] - [key], 0); t1 = |bucket| / 2; t0 < t1 ? t0 : min(|bucket| - 1, t1 + floor(t1 * log(t0 / t1) / log(128 / t1)))",
  });
});

test("monoids", () => {
  const online: Arrow = (a, b) => {
    const m = Math.max(a.m, b.m);
    const ea = Math.exp(a.m - m);
    const eb = Math.exp(b.m - m);
    return { m, l: a.l * ea + b.l * eb };
  };
  expect(fields(captureMonoid({ fn: online, components: ["m", "l"] }, { folder: null }))).toEqual({
    m: "max(x.m, y.m)",
    l: "t0 = max(x.m, y.m); x.l * exp(x.m - t0) + y.l * exp(y.m - t0)",
  });
  expect(fields(captureMonoid({ fn: (x, y) => x + y, components: ["sum"] }, { folder: null }))).toEqual({ sum: "x.sum + y.sum" });
  expect(fields(captureMonoid({ fn: (x, y) => (x.v >= y.v ? x : y), components: ["v", "i"] }, { folder: null }))).toEqual({
    v: "x.v >= y.v ? x.v : y.v",
    i: "x.v >= y.v ? x.i : y.i",
  });
});

describe("the author's line is found", () => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-capture-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const source = [
    "interface In { readonly s: number }",
    "declare const outside: number;",
    "type F = (x: In) => number;",
    "const map = (f: F): { f: F; place: string } => ({ f, place: (new Error().stack as string).split('\\n')[2] as string });",
    "",
    "// Another function of the same shape comes first.",
    "export const other = map(({ s }: In): number => s + outside);",
    "export const made = map(",
    "  ({ s }: In): number => (s as number) + outside,",
    ");",
    "",
  ].join("\n");
  const placeOf = (frame: string) => {
    const m = /\(?((?:file:\/\/)?\/[^()]*):(\d+):(\d+)\)?$/.exec(frame.trim());
    return { file: m?.[1] ?? "", line: Number(m?.[2]), column: Number(m?.[3]) };
  };
  const refused = (text: string, frame: string) => {
    const fn = new Function(`return (${text})`)() as Arrow;
    const r = captureMap({ fn, captured: {}, field: null, inputs: { s: "f32" }, axes: [] }, { folder: null, place: placeOf(frame) });
    if (isRight(r)) throw new Error("captured");
    return r.left;
  };
  const run = (args: readonly string[], cwd: string) =>
    JSON.parse(execFileSync(process.execPath, args, { cwd, encoding: "utf8" })) as { readonly text: string; readonly place: string };
  const print = "console.log(JSON.stringify({ text: made.f.toString(), place: made.place }));\n";

  test("under tsx", () => {
    const file = join(folder, "model.ts");
    writeFileSync(file, source + print);
    const tsx = createRequire(import.meta.url).resolve("tsx");
    const { text, place } = run(["--import", tsx, file], folder);
    const e = refused(text, place);
    expect([e.file, e.line, e.column]).toEqual([file, 9, 42]);
    expect(e.frame).toBe("9 |   ({ s }: In): number => (s as number) + outside,\n  |                                          ^");
  });
  test("under tsx, with a parameter that has the name of something outside, which it renames", () => {
    const file = join(folder, "shadow.ts");
    writeFileSync(file, `const s = 2;\n${source.replace("(s as number) + outside", "(s as number) * (s > 0)")}${print}console.error(s);\n`);
    const tsx = createRequire(import.meta.url).resolve("tsx");
    const { text, place } = run(["--import", tsx, file], folder);
    expect(text).toContain("s2");
    const e = refused(text, place);
    expect([e.file, e.line]).toEqual([file, 10]);
    expect(e.frame).toContain("(s as number) * (s > 0)");
  });
  test("under node, from compiled files with source maps that node does not read", () => {
    const { ts } = createRequire(import.meta.url)("ts-morph") as typeof import("ts-morph");
    const dist = join(folder, "dist");
    mkdirSync(join(folder, "src"));
    mkdirSync(dist);
    writeFileSync(join(folder, "src", "model.ts"), source + print);
    const out = ts.transpileModule(source + print, {
      fileName: "../src/model.ts",
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, sourceMap: true },
    });
    writeFileSync(join(dist, "model.mjs"), out.outputText.replace("model.js.map", "model.mjs.map"));
    const compiled = JSON.parse(out.sourceMapText as string) as { sources: string[] };
    writeFileSync(join(dist, "model.mjs.map"), JSON.stringify({ ...compiled, sources: ["../src/model.ts"] }));
    const { text, place } = run([join(dist, "model.mjs")], folder);
    expect(place).toContain("model.mjs");
    const e = refused(text, place);
    expect([e.file, e.line, e.column]).toEqual([join(folder, "src", "model.ts"), 9, 42]);
    // Without its source, the compiled file is shown.
    rmSync(join(folder, "src"), { recursive: true });
    const without = refused(text, place);
    expect(without.file).toBe(join(dist, "model.mjs"));
    expect(without.frame).toContain("s + outside");
  });
  test("under vitest", () => {
    const stack = ((f: Arrow) => ({ f, place: (new Error().stack as string).split("\n")[2] as string }))(({ s }: { s: number }) => s * folder.length);
    const r = captureMap({ fn: stack.f, captured: {}, field: null, inputs: { s: "f32" }, axes: [] }, { folder: null, place: placeOf(stack.place) });
    expect(isLeft(r) && r.left.file).toBe(import.meta.filename);
    expect(isLeft(r) && r.left.frame).toContain("s * folder.length");
    expect(isLeft(r) && r.left.message).toBe("folder is not known inside the function");
  });
});
