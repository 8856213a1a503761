// What capture refuses, and what it says: file, line, column, caret, what to do. One snapshot holds all messages, so that
// a change of any is reviewed.
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { captureIndex, captureMap, captureMonoid } from "../../compiler/capture/capture.js";
import { type CaptureError, frameAt, functionText, positionOf, showCaptureError } from "../../compiler/capture/error.js";
import type { Arrow } from "../../dsl/node.js";
import type { Place } from "../../dsl/places.js";
import * as fixtures from "./fixtures/refused.js";

const file = fileURLToPath(new URL("./fixtures/refused.ts", import.meta.url));
const text = readFileSync(file, "utf8");
const placeOf = (name: string): Place => ({ file, ...positionOf(text, text.indexOf(`export const ${name} `)) });
const pair = (a: number, b: number) => a + b;
const refusedMap = (fn: Arrow, place?: Place) =>
  captureMap({ fn, captured: { f: pair }, field: null, inputs: { s: "f32", W: "f32", m: "bool" }, axes: ["head", "query"] }, { place, folder: null });
const shown = (e: CaptureError) => showCaptureError({ ...e, file: relative(process.cwd(), e.file) });

describe("refused functions", () => {
  test("there are at least 40", () => expect(Object.keys(fixtures).length).toBeGreaterThanOrEqual(40));
  for (const [name, fn] of Object.entries(fixtures)) {
    test(name, () => {
      const r = refusedMap(fn as Arrow, placeOf(name));
      if (!isLeft(r)) throw new Error("captured");
      expect(r.left.file).toBe(file);
      const source = text.split("\n")[r.left.line - 1] as string;
      expect(r.left.frame.split("\n")[0]).toContain(source);
      expect(shown(r.left)).toMatchSnapshot();
    });
  }
});

describe("refusals of other functions", () => {
  const left = (r: ReturnType<typeof captureMap> | ReturnType<typeof captureIndex>) => {
    if (!isLeft(r)) throw new Error("captured");
    return showCaptureError(r.left);
  };
  test("without a place, positions count in the function's text", () => {
    const r = refusedMap(fixtures.freeVariable as Arrow);
    expect(isLeft(r) && r.left.file).toBe(functionText);
    expect(left(r)).toMatchSnapshot();
  });
  test("a place whose file is not there, or holds another function, does not mislead", () => {
    const gone = refusedMap(fixtures.freeVariable as Arrow, { file: "/nowhere/model.ts", line: 3, column: 7 });
    expect(left(gone)).toContain("called at /nowhere/model.ts:3:7");
    const other = new Function("return ({ s }) => s - outside")() as Arrow;
    const r = refusedMap(other, placeOf("freeVariable"));
    expect(isLeft(r) && r.left.file).toBe(functionText);
  });
  test("the caret stands below its place after tabs and in long lines", () => {
    expect(frameAt("a\n\t\tb + c\n", 8)).toBe("2 | \t\tb + c\n  | \t\t    ^");
    const long = `${"x".repeat(500)}!${"y".repeat(500)}`;
    const [line, caret] = frameAt(long, 500).split("\n") as [string, string];
    expect(line[caret.indexOf("^")]).toBe("!");
    expect(line.length).toBeLessThan(160);
  });
  test("bound and native functions have no source", () => {
    const bound = ((x: number) => x).bind(null) as Arrow;
    expect(left(refusedMap(bound))).toMatchSnapshot();
    expect(left(refusedMap(Math.clz32 as Arrow))).toMatchSnapshot();
  });
  test("a bundle's renamed free variables", () => {
    const mangled = new Function("e", "return ({s:t})=>t*e")(3) as Arrow;
    expect(left(refusedMap(mangled))).toMatchSnapshot();
  });
  test("a method", () => {
    const { concat } = {
      concat(x: number, y: number) {
        return x + y;
      },
    };
    const r = captureMonoid({ fn: concat, components: ["sum"] }, { folder: null });
    expect(isLeft(r) && showCaptureError(r.left)).toMatchSnapshot();
  });
  test("a function that comes back to itself through an argument", () => {
    const again = (g: Arrow, x: number): number => g(g, x);
    const r = captureMap(
      { fn: ({ s, again }) => again(again, s), captured: { again }, field: null, inputs: { s: "f32" }, axes: [] },
      { folder: null },
    );
    expect(left(r)).toMatchSnapshot();
  });
  test("a captured function is shown where it was written", () => {
    const r = captureMap(
      { fn: ({ s, g }) => g(s), captured: { g: fixtures.forLoop as Arrow }, field: null, inputs: { s: "f32" }, axes: [] },
      { folder: null, place: placeOf("trying") },
    );
    // forLoop takes a record apart: the number it is given has none.
    expect(isLeft(r) && r.left.file).toBe(file);
    expect(isLeft(r) && shown(r.left)).toMatchSnapshot();
  });
  test("results of views and monoids", () => {
    const axes = { fresh: ["a"], axes: ["query"], constants: {} };
    expect(left(captureIndex({ fn: ({ a }) => ({ key: a }), ...axes }, { folder: null }))).toMatchSnapshot();
    expect(left(captureIndex({ fn: ({ a }) => a, ...axes }, { folder: null }))).toMatchSnapshot();
    expect(left(captureIndex({ fn: ({ a }) => ({ query: a > 1 }), ...axes }, { folder: null }))).toMatchSnapshot();
    expect(left(captureMonoid({ fn: (x, y) => ({ m: x.m + y.m }), components: ["m", "l"] }, { folder: null }))).toMatchSnapshot();
    expect(left(captureMonoid({ fn: (x, y) => ({ m: x.m + y.m, k: 0 }), components: ["m"] }, { folder: null }))).toMatchSnapshot();
    expect(
      left(captureMap({ fn: ({ s }) => ({ a: s }), captured: {}, field: "b", inputs: { s: "f32" }, axes: [] }, { folder: null })),
    ).toMatchSnapshot();
  });
});
