// Exported programs with what simple attention lacks: tables, scans, scatters, selections and gathers, loops over layers,
// state that is updated. They give what the library gives, bit by bit.
import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { flatten } from "../../dsl/tree.js";
import {
  type AnyTensor,
  type Expression,
  exportedFiles,
  halvesOf,
  input,
  inputLeaves,
  map,
  openSession,
  rms,
  rope,
  writeFiles,
} from "../../index.js";
import { variants } from "../../models/index.js";
import { right } from "../graph/harness.js";
import { needs } from "../require.js";
import { temporary } from "../train/fixtures.js";

const example = (name: string): Expression => {
  const v = variants.find((x) => x.name === name);
  if (!v) throw new Error(name);
  return halvesOf(v.example({ batch: 1, head: 2, time: 12, dim: 4, value: 3, span: 5 })).both;
};
const x = input({ time: 9, dim: 8 });
const cases: Readonly<Record<string, Expression>> = {
  "a table of angles": { inputs: { x }, out: rope(rms(x, "dim"), "time", "dim") },
  "a learned table": example("t5-bias"),
  "documents, whose numbers are integers": example("documents"),
  "prefix sums": example("forgetting"),
  "selections and gathers": example("native-sparse"),
  "truth values": { inputs: { x }, out: { above: map(x, (x) => x > 0), twice: map(x, (x) => 2 * x) } },
};

const count = (a: AnyTensor): number => Object.values(a.axes).reduce<number>((n, e) => n * Number(e), 1);
function drawn(inputs: Expression["inputs"]): Readonly<Record<string, number[]>> {
  let seed = 3;
  const next = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  return Object.fromEntries(
    Object.entries(inputs).map(([name, a]) => [
      name,
      Array.from({ length: count(a) }, () => (a.dtype === "i32" ? Math.floor(3 * next()) : Math.fround(2 * next() - 1))),
    ]),
  );
}
type Numbers = Readonly<Record<string, readonly number[]>>;
async function byLibrary(e: Expression, device: "native" | "gpujs", data: Numbers): Promise<Numbers> {
  using session = right(await openSession(device));
  const outputs = Object.fromEntries(flatten(e.out).map(({ path, node }) => [path || "out", node]));
  const program = await session.program({ name: "whole", inputs: inputLeaves(e.inputs), outputs });
  return Object.fromEntries(Object.entries(await program.run(data)).map(([name, a]) => [name, Array.from(a)]));
}
async function written(folder: string, e: Expression, target: "c" | "gpujs"): Promise<void> {
  const files = right(exportedFiles(e, target, { name: "program", title: "a test", version: "0" }));
  right(await writeFiles(folder, files));
}

describe.runIf(await needs("gpu.js"))("gpu.js", async () => {
  const { GPU } = await import("gpu.js");
  test.each(Object.entries(cases))("%s", async (_, e) => {
    using folder = temporary();
    await written(folder.path, e, "gpujs");
    symlinkSync(join(import.meta.dirname, "../../node_modules"), join(folder.path, "node_modules"));
    const { open } = await import(pathToFileURL(join(folder.path, "program.js")).href);
    const program = open(GPU);
    const data = drawn(e.inputs);
    const results: Readonly<Record<string, ArrayLike<number>>> = program.run(data);
    await program.close();
    expect(Object.fromEntries(Object.entries(results).map(([name, a]) => [name, Array.from(a)]))).toEqual(await byLibrary(e, "gpujs", data));
  });
});

describe.runIf(await needs("compiler"))("C", () => {
  test.each(Object.entries(cases).filter(([name]) => /table|truth/.test(name)))("%s", async (_, e) => {
    using folder = temporary();
    const path = folder.path;
    await written(path, e, "c");
    const fields = readFileSync(join(path, "program.h"), "utf8").match(/^struct program_arrays \{([\s\S]*?)^\};/m)?.[1] ?? "";
    const [given = "", made = ""] = fields.split("/* Results: */");
    const of = (text: string) =>
      Array.from(text.matchAll(/^ {2}(?:const )?(\w+) \*(\w+);/gm), ([, type, name]) => ({ type: type as string, name: name as string }));
    const data = drawn(e.inputs);
    const lengths = [...Object.values(data), ...flatten(e.out).map(({ node }) => Array.from({ length: count(node as AnyTensor) }, () => 0))].map(
      (a) => a.length,
    );
    const all = [...of(given), ...of(made)];
    const inputs = of(given).length;
    writeFileSync(
      join(path, "harness.c"),
      `#include "program.h"
#include <stdio.h>
#include <stdlib.h>
int main(void) {
  FILE *in = fopen("in.bin", "rb"), *out = fopen("out.bin", "wb");
${all.map((f, i) => `  ${f.type} *x_${f.name} = calloc(${lengths[i]}, sizeof *x_${f.name});`).join("\n")}
${all
  .slice(0, inputs)
  .map((f, i) => `  if (fread(x_${f.name}, sizeof *x_${f.name}, ${lengths[i]}, in) != ${lengths[i]}) return 1;`)
  .join("\n")}
  const struct program_arrays a = {${all.map((f) => `.${f.name} = x_${f.name}`).join(", ")}};
  program_pool *pool = program_open(2);
  program_run(pool, &a);
  program_close(pool);
${all
  .slice(inputs)
  .map((f, i) => `  for (int i = 0; i < ${lengths[inputs + i]}; i++) { double x = x_${f.name}[i]; fwrite(&x, sizeof x, 1, out); }`)
  .join("\n")}
  return fclose(out) != 0;
}
`,
    );
    execFileSync("make", ["kernels.o", "launcher.o"], { cwd: path, stdio: "pipe" });
    execFileSync("cc", ["-std=c11", "-o", "harness", "harness.c", "kernels.o", "launcher.o", "-lpthread", "-lm"], { cwd: path });
    const bytes = Object.entries(data).map(([name, a]) => (e.inputs[name]?.dtype === "i32" ? Int32Array.from(a) : Float32Array.from(a)));
    writeFileSync(join(path, "in.bin"), Buffer.concat(bytes.map((b) => Buffer.from(b.buffer))));
    execFileSync(join(path, "harness"), [], { cwd: path });
    const raw = readFileSync(join(path, "out.bin"));
    const got = Array.from(new Float64Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length)));
    expect(got).toEqual(Object.values(await byLibrary(e, "native", data)).flat());
  });
});
