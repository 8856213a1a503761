// `mallard bound`, as users start it, on a file of models.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporary } from "../train/fixtures.js";
import { project } from "./author.js";
import { built, mallard, root } from "./mallard.js";

const page = readFileSync(join(root, "docs/quack.md"), "utf8");
const code = /```ts\n\/\/ biased\.ts\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
const MODELS = `${code}
import { formula, gain, input, mul, rms } from "@mallard-lang/mallard";
import { gqa, mha, mla, transformer } from "@mallard-lang/mallard/models";

const c = { model: 32, layer: 2, head: 4, group: 2, dim: 8, ff: 8, vocab: 7, cq: 12, latent: 6, nope: 8, rope: 8, value: 4 };
export const heads = mha(c);
export const grouped = gqa(c);
export const latent = mla(c);
export const decoder = transformer(c);
export const applied = heads.bound;
const x = input({ time: 5, model: 32 });
export const record = { inputs: { x }, out: heads.bound({ x }) };
const qk = { wq: weight({ model: 32 }, { head: 4, dim: 8 }), wk: weight({ model: 32 }, { head: 4, dim: 8 }), g: gain({ dim: 8 }) };
export const normed = model(qk, { x: "time model" }, ({ wq, wk, g, x }) => {
  const q = mul(rms(dot(rename(x, { time: "query" }), wq, "model"), "dim"), g);
  return label(dot(q, dot(rename(x, { time: "key" }), wk, "model"), "dim"), "logits");
});
export const unlabelled = model(qk, { x: "time model" }, ({ wq, x }) => dot(x, wq, "model"));
export const formulaAlone = formula({ q: "query dim", k: "key dim" }, ({ q, k }) => label(dot(q, k, "dim"), "logits"));
export const make = () => mha(c);
`;
beforeAll(built);
const bound = async (...args: readonly string[]) => {
  using folder = temporary();
  project(folder.path, MODELS.replaceAll("variants.ts", "models.ts"));
  const ran = await mallard(["bound", ...args.map((a) => a.replace(/^#/, "variants.ts#"))], { cwd: folder.path });
  return { ...ran, stderr: ran.stderr.replaceAll(folder.path, "DIR").replaceAll(`${root}/`, "").replaceAll(root, "") };
};

describe("the formulas", () => {
  test.concurrent.for([
    ["#grouped", "--norm", "spectral"],
    ["#latent", "--combine", "sum", "--floor", "1e-3"],
    ["#decoder"],
    ["#normed", "--heuristic"],
  ])("mallard bound %s", async (args, { expect }) => {
    const ran = await bound(...args);
    expect([ran.code, ran.stderr]).toEqual([0, ""]);
    expect(ran.stdout.replaceAll(/← \S+:\d+:\d+/g, "← PLACE")).toMatchSnapshot();
  });
  test("what docs/quack.md shows is what is printed", async () => {
    const shown = /\$ mallard bound biased\.ts#biased\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
    const { stdout } = await bound("#biased");
    expect(stdout.replaceAll("variants.ts", "biased.ts").replaceAll(/ {2}← \S+/g, "")).toBe(shown);
  });
  test("a formula with a model's weights, and a record, are as the model", async () => {
    const factors = (text: string) => text.split("\n").filter((l) => /^\s+f\(/.test(l));
    const [model, applied, record] = await Promise.all(
      [["#heads"], ["#applied", "--inputs", "x=time:5,model:32"], ["#record"]].map((x) => bound(...x)),
    );
    expect(factors(model?.stdout ?? "")).toHaveLength(2);
    for (const other of [applied, record]) expect(factors(other?.stdout ?? "")).toEqual(factors(model?.stdout ?? ""));
  });
  test("--json has the same as data", async () => {
    const { stdout, stderr } = await bound("#latent", "--json");
    expect(stderr).toBe("");
    const found = JSON.parse(stdout);
    expect(found.rates.map((f: { weight: string }) => f.weight)).toEqual(["dq", "uq", "qr", "dkv", "uk", "kr"]);
    expect(found.keeps.map((k: { weight: string }) => k.weight)).toEqual(["uv", "wo"]);
    expect([found.norm, found.logits[0].paths.length, found.text.logits[0].factors.length]).toEqual(["frobenius", 2, 6]);
  });
});

describe("what it cannot do, it says", () => {
  test.concurrent.for([
    ["#normed", 1],
    ["#unlabelled", 1],
    ["#formulaAlone", 1],
    ["#make", 2],
    ["#heads --floor -1", 2],
    ["#applied", 1],
    ["#record --inputs x=time:3", 2],
  ] as const)("mallard bound %s", async ([args, code], { expect }) => {
    const ran = await bound(...args.split(" "));
    expect([ran.code, ran.stdout]).toEqual([code, ""]);
    expect(ran.stderr.replaceAll(/:\d+:\d+/g, ":L:C")).toMatchSnapshot();
  });
});
test("mallard bound --help", async () => {
  expect((await mallard(["bound", "--help"])).stdout).toMatchSnapshot();
});
