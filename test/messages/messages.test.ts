// What an author is told of his mistakes: what is wrong, where, and what to do. One snapshot holds every message, so that a
// change of any is reviewed.
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type Diagnosis, diagnose } from "../../compiler/explain/diagnose.js";
import { MallardError } from "../../dsl/errors.js";
import { flatten } from "../../dsl/tree.js";
import * as doubtful from "./fixtures/doubtful.js";
import * as mistakes from "./fixtures/mistakes.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}.ts`, import.meta.url));
const plain = (text: string) => text.replaceAll(root, "");

describe("what is refused", () => {
  for (const [name, make] of Object.entries(mistakes)) {
    test(name, async () => {
      const error = await (async () => make())().then(
        () => undefined,
        (e: unknown) => e,
      );
      expect(error).toBeInstanceOf(MallardError);
      const { message, hint, place } = error as MallardError;
      expect(plain(message)).toMatchSnapshot();
      // Its place, and what to do: in the message itself where capture wrote it.
      expect(place?.file ?? message).toContain(fixture("mistakes"));
      expect(hint ?? message.split("\n").at(-1)).toMatch(/\w/);
    });
  }
});

describe("what is doubtful, and what is not fused", () => {
  const show = ({ kind, place, message, hint }: Diagnosis) =>
    `${kind}: ${message}\n  hint: ${hint}\n  at ${place ? `${relative(root, place.file)}:${place.line}:${place.column}` : "?"}`;
  /** Of these nothing is said. */
  const fine = [
    ...["causal", "documents", "paddingAndSelf", "maskedBefore", "threshold"],
    ...["straightThrough", "stopped", "partly", "maximumOfPositive", "statistics", "formulas"],
  ];
  for (const [name, make] of Object.entries(doubtful)) {
    test(name, () => {
      const found = diagnose(flatten(make()).map(({ node }) => node));
      if (fine.includes(name)) {
        expect(found.map(show)).toEqual([]);
        return;
      }
      expect(found.length).toBeGreaterThan(0);
      for (const { place } of found) expect(place?.file).toBe(fixture("doubtful"));
      expect(found.map(show).join("\n")).toMatchSnapshot();
    });
  }
});
