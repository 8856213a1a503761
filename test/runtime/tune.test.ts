// Tuning: what was measured is kept for the machine it was measured on, whatever happens to the file; the search is bounded, can
// be stopped, and repeats nothing; and a program computes the same bits tuned or not.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { admitted, type Choice } from "../../compiler/loop/choices.js";
import { lower } from "../../compiler/lower/lower.js";
import type { Plan } from "../../compiler/plan.js";
import { c } from "../../compiler/targets/c/program.js";
import { tunables } from "../../compiler/targets/c/tunables.js";
import { compile, dot, input, map, openSession, type TuneOptions, type TuneProgress } from "../../index.js";
import { passed } from "../../runtime/backend.js";
import { inputLeaves } from "../../runtime/program.js";
import { surely } from "../../runtime/tune.js";
import { type Machine, type Measured, TuneStore } from "../../runtime/tune-store.js";
import { numbers, right } from "../graph/harness.js";
import { needs } from "../require.js";

const folders: string[] = [];
const folder = (): string => {
  folders.push(mkdtempSync(join(tmpdir(), "mallard-tune-")));
  return folders.at(-1) as string;
};
afterAll(() => {
  for (const f of folders) rmSync(f, { recursive: true, force: true });
});

describe("what was measured", () => {
  const machine: Machine = { processor: "some", cores: 2, threads: 2, compiler: "cc 12 0123" };
  const measured: Measured = { choice: { divide: "rows", columnBlock: 64 }, own: 2e-3, chosen: 1.5e-3 };
  const open = (at: string, m = machine) => new TuneStore(at, m);
  const fileIn = (at: string) => join(at, readdirSync(at)[0] as string);

  it("is there for the next process, of this machine alone", () => {
    const at = folder();
    right(open(at).put("a", measured));
    expect(open(at).get("a")).toEqual(measured);
    expect(open(at).refused).toBeNull();
    for (const other of [{ threads: 3 }, { processor: "another" }, { compiler: "cc 13" }, { cores: 4 }])
      expect(open(at, { ...machine, ...other }).get("a")).toBeUndefined();
  });
  it("stays when two processes write, and nothing else is left in the folder", () => {
    const at = folder();
    const [one, two] = [open(at), open(at)];
    right(one.put("a", measured));
    right(two.put("b", measured));
    right(one.put("c", measured));
    for (const key of ["a", "b", "c"]) expect(open(at).get(key)).toEqual(measured);
    expect(readdirSync(at)).toHaveLength(1);
  });
  it.each([
    ["cut off", (text: string) => text.slice(0, text.length / 2)],
    ["empty", () => ""],
    ["other JSON", () => "[1, 2]"],
    ["another format", (text: string) => text.replace('"format": 1', '"format": 2')],
    ["of another machine", (text: string) => text.replace('"threads": 2', '"threads": 4')],
    ["with a time below zero", (text: string) => text.replace("0.0015", "-0.0015")],
    ["with a choice that is none", (text: string) => text.replace('"rows"', "null")],
  ])("is measured anew where the file is %s", (_, damage) => {
    const at = folder();
    right(open(at).put("a", measured));
    const text = readFileSync(fileIn(at), "utf8");
    expect(damage(text)).not.toBe(text);
    writeFileSync(fileIn(at), damage(text));
    const again = open(at);
    expect(again.get("a")).toBeUndefined();
    expect(again.refused).toContain(fileIn(at));
    right(again.put("b", measured));
    expect([open(at).refused, open(at).get("b")]).toEqual([null, measured]);
  });
});

describe("a faster choice", () => {
  const rounds = (least: number, noise: number, next: () => number) => Float64Array.from({ length: 20 }, () => least * (1 + noise * next()));
  it("is taken where it surely is one: not within the noise, and not for one lucky half", () => {
    const next = numbers(7);
    for (let i = 0; i < 8; i++) next();
    let taken = 0;
    for (let i = 0; i < 2000; i++) taken += Number(surely(rounds(1, 0.3, next), rounds(1, 0.3, next)));
    expect(taken).toBeLessThan(40); // equal ones: hardly ever
    for (let i = 0; i < 200; i++) expect(surely(rounds(1, 0.01, next), rounds(0.9, 0.01, next))).toBe(true);
    const lucky = Float64Array.from({ length: 20 }, (_, i) => (i % 2 ? 0.5 : 1));
    expect(surely(new Float64Array(20).fill(1), lucky)).toBe(false);
  });
});

const product = (m: number, k: number, n: number) => {
  const inputs = { x: input({ m, k }), y: input({ k, n }) };
  return { inputs, out: map({ z: dot(inputs.x, inputs.y, "k") }, ({ z }) => Math.tanh(z)) };
};
const planOf = (m: number, k: number, n: number, name = "p"): Plan => {
  const { inputs, out } = product(m, k, n);
  const spec = { name, inputs: inputLeaves(inputs), outputs: { [name]: out as never }, updates: [] };
  return right(lower(right(passed(spec)).program, { tiles: true }));
};

describe("choices", () => {
  it("are known by what a kernel does, not by names", () => {
    const [a, same, other] = [planOf(100, 300, 200), planOf(100, 300, 200, "q"), planOf(100, 300, 201)].map((p) => tunables(p).map((t) => t.text));
    expect(a).toHaveLength(1);
    expect(same).toEqual(a);
    expect(other).not.toEqual(a);
  });
  it("that a recipe does not offer count as none", () => {
    const plan = planOf(100, 300, 200);
    const [kernel] = tunables(plan) as [ReturnType<typeof tunables>[number]];
    const own = right(c.compile(plan)).units;
    const none: readonly Choice[] = [{ columnBlock: 7 }, { divide: "diagonally" }, { nothing: 1 }, { aInPlace: "true" }];
    for (const choice of none) {
      expect(admitted(kernel.settings, choice)).toEqual({});
      expect(right(c.compile(plan, new Map([[kernel.text, choice]]))).units).toEqual(own);
    }
    for (const [name, values] of Object.entries(kernel.settings))
      for (const value of values.slice(1)) expect(right(c.compile(plan, new Map([[kernel.text, { [name]: value }]]))).units).not.toEqual(own);
  });
});

describe.skipIf(!(await needs("compiler")))("tuning", () => {
  const [m, k, n] = [130, 300, 70];
  const next = numbers(3);
  const data = { x: Float32Array.from({ length: m * k }, () => next() - 0.5), y: Float32Array.from({ length: k * n }, () => next() - 0.5) };
  const run = async (cacheDir: string, tune?: TuneOptions) => {
    const seen: TuneProgress[] = [];
    const { inputs, out } = product(m, k, n);
    const progress = (p: TuneProgress) => {
      seen.push(p);
      tune?.progress?.(p);
    };
    const p = await compile(inputs, out, { threads: 2, cacheDir, tune: tune && { ...tune, progress } });
    try {
      return { values: await p.run(data), seen };
    } finally {
      p[Symbol.dispose]();
    }
  };
  const kept = (at: string) => readdirSync(at).filter((f) => f.startsWith("tuned-"));

  it("measures once, keeps what it found, and changes no bit", { timeout: 120_000 }, async () => {
    const at = folder();
    const own = await run(at);
    const first = await run(at, { seconds: 60 });
    expect(first.seen.map(({ kernel, done, of, known }) => [kernel !== null, done, of, known])).toEqual([
      [true, 0, 1, 0],
      [false, 1, 1, 0],
    ]);
    expect(kept(at)).toHaveLength(1);
    const second = await run(at, { seconds: 60 });
    expect(second.seen.map(({ kernel, done, of, known }) => [kernel, done, of, known])).toEqual([[null, 0, 0, 1]]);
    expect(first.values).toEqual(own.values);
    expect(second.values).toEqual(own.values);
    expect(readdirSync(at).filter((f) => f.startsWith(".work-"))).toEqual([]);
  });
  it("that has no time, or is stopped, leaves the program as its recipes have it", { timeout: 120_000 }, async () => {
    const at = folder();
    const stop = new AbortController();
    const own = await run(at);
    const none = await run(at, { seconds: 0 });
    const stopped = await run(at, { progress: () => stop.abort(), signal: stop.signal });
    expect([none.values, stopped.values]).toEqual([own.values, own.values]);
    expect([none.seen.length, stopped.seen.length]).toEqual([1, 1]);
    expect(kept(at)).toEqual([]);
  });
  it("is refused on a device that has nothing to choose", async () => {
    for (const device of ["js", "gpujs"] as const) {
      const opened = await openSession(device, { tune: true });
      expect(E.isLeft(opened) && opened.left.kind).toBe("BadOption");
    }
  });
});
