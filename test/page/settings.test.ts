// The page's address: what it asks for is taken, and what it names wrongly is told.
import { expect, test } from "vitest";
import { DEFAULTS, settingsOf } from "../../examples/browser/settings.js";

test("all of them", () => {
  const { settings, wrong } = settingsOf("?variant=window&device=gpujs&tau=0.5&steps=20&seed=0");
  expect(wrong).toEqual([]);
  expect(settings).toEqual({ ...DEFAULTS, variant: "window", device: "gpujs", tau: 0.5, steps: 20, seed: 0 });
});
test.each([
  ["variant=windo", /^variant=windo: there are .*window/],
  ["varient=window", /^varient: there are variant, /],
  ["steps=0", /^steps=0: a whole number from 1 to 100000 is wanted$/],
  ["batch=2.5", /^batch=2\.5: a whole number from 1 to 64/],
  ["lr=", /^lr=: a number from 0.000001 to 1/],
  ["__proto__=1", /^__proto__: there are/],
])("%s is told, and the default stands", (query, message) => {
  const { settings, wrong } = settingsOf(`?${query}&seed=7`);
  expect(settings).toEqual({ ...DEFAULTS, seed: 7 });
  expect(wrong).toHaveLength(1);
  expect(wrong[0]).toMatch(message);
});
