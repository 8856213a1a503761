// Looking through a function ahead of time finds what reading it finds, where that does not depend on what it is given: in
// the same place and in the same words; and nothing in a function that can be read.
import fc from "fast-check";
import { isLeft } from "fp-ts/lib/Either.js";
import { describe, expect, test } from "vitest";
import { captureMap } from "../../compiler/capture/capture.js";
import { refusalAhead } from "../../compiler/capture/closed.js";
import { positionOf } from "../../compiler/capture/error.js";
import { outside } from "../../compiler/capture/globals.js";
import { parseFunction } from "../../compiler/capture/parse.js";
import type { Arrow } from "../../dsl/node.js";
import * as fixtures from "./fixtures/refused.js";
import { arrows } from "./generate.js";

/** What is wrong with these depends on the inputs, their names or their types. */
const later = [
  ...[
    "noSuchInput",
    "noSuchIndex",
    "noSuchSize",
    "numericCondition",
    "numericAnd",
    "numericNot",
    "booleanArithmetic",
    "mixedBranches",
    "mixedEquality",
  ],
  ...["mixedFields", "recordAsNumber", "functionAsNumber", "objectResult", "tooFewArguments", "wrongArity", "arrayPattern", "calledNumber"],
  ...["tooFewForCaptured", "recursive", "methodCall", "missingReturn", "emptyReturn", "notDestructured", "misspelled"],
];
const pair = (a: number, b: number) => a + b;

describe("functions that capture refuses", () => {
  for (const [name, fn] of Object.entries(fixtures)) {
    test(name, () => {
      const text = Function.prototype.toString.call(fn);
      const read = captureMap(
        { fn: fn as Arrow, captured: { f: pair }, field: null, inputs: { s: "f32", W: "f32", m: "bool" }, axes: ["head", "query"] },
        { folder: null },
      );
      if (!isLeft(read)) throw new Error("captured");
      const found = refusalAhead(parseFunction(text), outside.map);
      if (!found) {
        expect(later).toContain(name);
        return;
      }
      const { message, line, column } = read.left;
      if (later.includes(name)) return; // found ahead as well, but read otherwise: there the inputs say more
      expect({ message: found.message, ...positionOf(text, found.at) }).toEqual({ message, line, column });
      expect(read.left.hint).toContain(found.hint);
    });
  }
  test("most are found ahead", () => {
    const found = Object.values(fixtures).filter((fn) => refusalAhead(parseFunction(Function.prototype.toString.call(fn)), outside.map));
    expect(found.length).toBeGreaterThan(45);
  });
});
test("200 random arrows that can be read are found to be closed", () => {
  fc.assert(
    fc.property(arrows, (arrow) => {
      for (const text of [arrow.text, ...arrow.helpers]) expect([text, refusalAhead(parseFunction(text), outside.map)]).toEqual([text, undefined]);
    }),
    { numRuns: 200 },
  );
});
