// Every recipe computes what the oracle does, on every target, with the same bits a second time; natively also at 1, 2, 3 and 8
// threads, and for whatever may be chosen of its settings (compiler/loop/choices.ts): what tuning finds can change how long a step
// takes and nothing else. A recipe without a case fails.
import { mapLeft, right as taken } from "fp-ts/lib/Either.js";
import { describe, expect, it } from "vitest";
import type { Choice } from "../../compiler/loop/choices.js";
import { forms } from "../../compiler/loop/recipes/index.js";
import { lower } from "../../compiler/lower/lower.js";
import type { Nest, Step } from "../../compiler/lower/nest.js";
import type { Plan } from "../../compiler/plan.js";
import { c } from "../../compiler/targets/c/program.js";
import { tunables } from "../../compiler/targets/c/tunables.js";
import { compiledBackend, passed } from "../../runtime/backend.js";
import { type Choose, createNativeWith, type EmitC } from "../../runtime/devices/native/device.js";
import { Session } from "../../runtime/session.js";
import { numbers, right } from "../graph/harness.js";
import { needs } from "../require.js";
import { THREADS, unequal } from "./bits.js";
import { type Case, judge, run, runIn, show } from "./judge.js";
import { recipeCases } from "./recipe-cases.js";
import { seed } from "./seed.js";
import { cacheDir, everyTarget, share } from "./targets.js";

const cases = recipeCases(seed);
const planOf = (some: readonly Case[]): Plan => {
  const inputs = Object.fromEntries(some.flatMap((s) => [...s.inputs.keys()]).map((leaf, i) => [`x${i}`, leaf]));
  const outputs = Object.fromEntries(some.flatMap((s) => Object.values(s.outputs)).map((y, i) => [`y${i}`, y]));
  return right(lower(right(passed({ name: "recipes", inputs, outputs, updates: [] })).program, { tiles: true }));
};
function nestsOf(steps: readonly Step[]): readonly Nest[] {
  return steps.flatMap((s) => (s.step === "nest" ? [s.nest] : nestsOf(s.body)));
}

describe("the cases", () => {
  it.each(forms)("show the recipe of %s", (form) => {
    const own = cases.filter((r) => r.form === form);
    expect(own.length).toBeGreaterThan(0);
    for (const r of own) {
      const nests = nestsOf(planOf([r]).steps);
      expect(nests.some(r.shows), `${r.name}: ${nests.map((n) => n.form).join(", ")}`).toBe(true);
    }
  });
});

/** For each kernel with settings a value of each: in the first draw one that the recipe would not have, in the second any. */
const DRAWS = [0, 1];
function chosen(plan: Plan, draw: number): ReadonlyMap<string, Choice> {
  const next = numbers(seed);
  const value = (values: readonly Choice[string][]) => {
    const at = Math.floor(next() * 60);
    return values[draw === 0 ? 1 + (at % (values.length - 1)) : at % values.length] as Choice[string];
  };
  return new Map(tunables(plan).map((t) => [t.text, Object.fromEntries(Object.entries(t.settings).map(([name, values]) => [name, value(values)]))]));
}
const emit: EmitC = (plan, choices) => mapLeft(({ message }: { readonly message: string }) => new Error(message))(c.compile(plan, choices));
/** Random choices for every program; `moved`: how many kernels of the last are otherwise than their recipe has them. */
async function choosing(threads: number, draw: number): Promise<{ readonly session: Session; readonly moved: () => number }> {
  let moved = 0;
  const choose: Choose = async (plan) => {
    const choices = chosen(plan, draw);
    moved = tunables(plan).filter((t) => t.print(choices.get(t.text) ?? {}).source !== t.text).length;
    return taken(choices);
  };
  const device = right(await createNativeWith(emit, { threads, cacheDir }, choose));
  return { session: new Session(compiledBackend(device, threads)), moved: () => moved };
}

describe.each(everyTarget)("every recipe on %s", (target) => {
  const mine = share(target, cases, 5, "recipes");
  it(`computes what the oracle does (${mine.length})`, { timeout: 300_000 }, async () => {
    expect(show(await judge(mine, target, { threads: 2 }))).toBe("");
  });
  it("gives the same bits a second time", { timeout: 300_000 }, async () => {
    expect(unequal(mine, await run(mine, target, { threads: 2 }), await run(mine, target, { threads: 2 }))).toBeNull();
  });
});

describe.skipIf(!(await needs("compiler")))("every recipe natively", () => {
  it("gives the same bits at 1, 2, 3 and 8 threads, and whatever is chosen", { timeout: 300_000 }, async () => {
    const one = await run(cases, "native", { threads: 1 });
    for (const threads of THREADS) expect(unequal(cases, one, await run(cases, "native", { threads })), `${threads} threads`).toBeNull();
    for (const draw of DRAWS)
      for (const threads of THREADS) {
        const { session, moved } = await choosing(threads, draw);
        expect(unequal(cases, one, await runIn(session, cases)), `choice ${draw}, ${threads} threads`).toBeNull();
        expect(moved()).toBeGreaterThan(0);
      }
  });
});
