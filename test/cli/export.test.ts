// Exported kernels in a folder where nothing else is: built with the system's compiler, or run by gpu.js, they give what
// the library gives, bit by bit.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { compile, compileIn, type DeviceName, dot, formula, grad, input, map, mul, Session, scale, size, softmax, sum, upTo } from "../../index.js";
import { compiledBackend } from "../../runtime/backend.js";
import { findAdapter } from "../../runtime/devices/webgpu/adapter.js";
import { createWebgpuOn } from "../../runtime/devices/webgpu/index.js";
import { openHost } from "../../runtime/devices/webgpu/local.js";
import { launch } from "../chromium/browser.js";
import { needs } from "../require.js";
import { temporary } from "../train/fixtures.js";
import { project } from "./author.js";
import { built, mallard } from "./mallard.js";

beforeAll(built);
const MOST = { query: 70, key: 66 };
const INPUTS = `q=head:2,query:..${MOST.query},dim:8 k=head:2,key:..${MOST.key},dim:8 v=head:2,key:..${MOST.key},value:5 slope=head:2`;
type Arrays = Readonly<Record<string, Float32Array>>;

/** Data at greatest sizes; `at` is what lies within a run's. */
function drawn(): Arrays {
  let seed = 7;
  const next = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32 - 0.5;
  };
  const make = (n: number) => Float32Array.from({ length: n }, next);
  const { query, key } = MOST;
  return { q: make(2 * query * 8), k: make(2 * key * 8), v: make(2 * key * 5), slope: make(2), d_out: make(2 * query * 5) };
}
/** The same variant as in author.ts, with the gradients of Σ out·d_out, by the library. */
async function expected(on: DeviceName | Session, data: Arrays, extents: typeof MOST): Promise<Arrays> {
  const causal = formula({ q: "query dim", k: "key dim", v: "key value", slope: "" }, ({ q, k, v, slope }) => {
    const logits = scale(dot(q, k, "dim"), size(q, "dim") ** -0.5);
    const s = map({ s: logits, slope }, ({ s, slope }, { query: i, key: j }) => (j <= i ? s - slope * (i - j) : -Infinity));
    return dot(softmax(s, "key"), v, "key");
  });
  const [query, key] = [upTo(MOST.query, "query"), upTo(MOST.key, "key")];
  const x = {
    q: input({ head: 2, query, dim: 8 }),
    k: input({ head: 2, key, dim: 8 }),
    v: input({ head: 2, key, value: 5 }),
    slope: input({ head: 2 }),
  };
  const out = causal(x);
  const d_out = input({ head: 2, query, value: 5 });
  const gradient = grad(sum(mul(out, d_out), "head", "query", "value"), x);
  using program =
    typeof on === "string"
      ? await compile({ ...x, d_out }, { out, gradient }, { device: on, threads: 2 })
      : await compileIn(on, { ...x, d_out }, { out, gradient }, { seed: 0 });
  const { q, k, v, slope, d_out: weights } = inside(data, extents) as Record<"q" | "k" | "v" | "slope" | "d_out", Float32Array>; // what was drawn
  const found = await program.run({ q, k, v, slope, d_out: weights }, extents);
  return { out: f32(found.out), ...Object.fromEntries(Object.entries(found.gradient).map(([name, a]) => [`gradient.${name}`, f32(a)])) };
}
const f32 = (x: ArrayLike<number>): Float32Array => Float32Array.from(x);

const widths: Readonly<Record<string, readonly [axis: "query" | "key" | null, width: number]>> = {
  q: ["query", 8],
  k: ["key", 8],
  v: ["key", 5],
  slope: [null, 1],
  d_out: ["query", 5],
  out: ["query", 5],
};
const layout = (name: string) => widths[name.replace("gradient.", "")] as (typeof widths)[string];
/** Both heads' rows within the extents, without those beyond. */
function inside(data: Arrays, extents: typeof MOST): Arrays {
  const cut = (name: string, a: Float32Array): Float32Array => {
    const [axis, width] = layout(name);
    if (axis === null) return a;
    const rows = MOST[axis] * width;
    return Float32Array.from([0, 1].flatMap((h) => [...a.subarray(h * rows, h * rows + extents[axis] * width)]));
  };
  return Object.fromEntries(Object.entries(data).map(([name, a]) => [name, cut(name, a)]));
}

describe.runIf(await needs("compiler"))("C", () => {
  const harness = `#include "mine.h"
#include <stdio.h>
#include <stdlib.h>
static float *make(size_t n) { return calloc(n, sizeof(float)); }
static int got(float *to, size_t n, FILE *f) { return fread(to, sizeof(float), n, f) == n; }
int main(int argc, char **argv) {
  FILE *in = fopen("in.bin", "rb"), *out = fopen("out.bin", "wb");
  const size_t q = 2 * ${MOST.query} * 8, k = 2 * ${MOST.key} * 8, v = 2 * ${MOST.key} * 5, o = 2 * ${MOST.query} * 5;
  float *x[] = {make(q), make(k), make(v), make(2), make(o)}, *y[] = {make(o), make(q), make(k), make(v), make(2)};
  if (!in || !out || !got(x[0], q, in) || !got(x[1], k, in) || !got(x[2], v, in) || !got(x[3], 2, in) || !got(x[4], o, in)) return 1;
  const struct mine_arrays a = {.q = x[0], .k = x[1], .v = x[2], .slope = x[3], .d_out = x[4],
    .out = y[0], .gradient_q = y[1], .gradient_k = y[2], .gradient_v = y[3], .gradient_slope = y[4]};
  const struct mine_extents e = {.query = atoi(argv[2]), .key = atoi(argv[3])};
  mine_pool *pool = mine_open(atoi(argv[1]));
  if (!pool) return 2;
  mine_run(pool, &a, &e);
  mine_run(pool, &a, &e);
  mine_close(pool);
  const size_t n[] = {o, q, k, v, 2};
  for (int i = 0; i < 5; i++) fwrite(y[i], sizeof(float), n[i], out);
  return fclose(out) != 0;
}
`;
  test("forward and backward, at run-time extents, for any number of threads", async () => {
    using folder = temporary();
    project(folder.path);
    const made = await mallard(["kernels", "variants.ts#causal", "--gradient", "--out", "c", "--name", "mine", "--inputs", INPUTS], {
      cwd: folder.path,
    });
    expect(made.code, made.stderr).toBe(0);
    const c = join(folder.path, "c");
    expect(readdirSync(c).sort()).toEqual(["Makefile", "README.md", "example.c", "kernels.c", "launcher.c", "mine.h"]);
    expect(made.stdout.trim().split("\n").sort()).toEqual(
      readdirSync(c)
        .map((f) => join("c", f))
        .sort(),
    );
    // The header compiles alone and as C++ would read it; nothing warns.
    const flags = ["-std=c11", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-parameter", "-Werror"];
    execFileSync("cc", [...flags, "-fsyntax-only", "launcher.c", "example.c"], { cwd: c });
    execFileSync("make", [], { cwd: c, stdio: "pipe" });
    const [one, three] = [1, 3].map((n) => execFileSync(join(c, "example"), [String(n)], { cwd: c, encoding: "utf8" }).split("\n"));
    expect(one?.[0]).toMatch(/^[\d.]+ ms a run, 1 threads$/);
    expect(one?.slice(1)).toEqual(three?.slice(1));

    writeFileSync(join(c, "harness.c"), harness);
    execFileSync("cc", ["-std=c11", "-O1", "-o", "harness", "harness.c", "kernels.o", "launcher.o", "-lpthread", "-lm"], { cwd: c });
    const data = drawn();
    writeFileSync(join(c, "in.bin"), Buffer.concat(Object.values(data).map((a) => Buffer.from(a.buffer))));
    for (const [threads, extents] of [
      [1, MOST],
      [2, { query: 17, key: 65 }],
      [3, { query: 1, key: 0 }],
    ] as const) {
      execFileSync("./harness", [String(threads), String(extents.query), String(extents.key)], { cwd: c });
      const bytes = readFileSync(join(c, "out.bin"));
      const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
      let at = 0;
      const results = Object.fromEntries(
        ["out", "gradient.q", "gradient.k", "gradient.v", "gradient.slope"].map((name) => {
          const [axis, width] = layout(name);
          const length = 2 * width * (axis === null ? 1 : MOST[axis]);
          at += length;
          return [name, all.slice(at - length, at)];
        }),
      );
      expect(inside(results, extents)).toEqual(await expected("native", data, extents));
    }
  });
  test("the header says what the arrays are, and each kernel what it computes and where that was written", async () => {
    using folder = temporary();
    project(folder.path);
    await mallard(["kernels", "variants.ts#causal", "--out", "c", "--inputs", "q=query:..32,dim:8"], { cwd: folder.path });
    const header = readFileSync(join(folder.path, "c/attention.h"), "utf8");
    expect(header).toContain("const float *q; /* f32 [query up to 32, dim 8], strides 8, 1 */");
    expect(header).toContain("int32_t query; /* from 0 to 32 */");
    expect(readFileSync(join(folder.path, "c/kernels.c"), "utf8")).toMatch(/\/\* variants\.ts:8:\d+.*\n \* \w+: tiles rows \(query/);
    expect(readFileSync(join(folder.path, "c/README.md"), "utf8")).toMatch(/\| 1 \| `k_\w+` \| tiles \| variants\.ts:8/);
  });
});

test.runIf(await needs("gpu.js"))("gpu.js: forward and backward, at run-time extents", async () => {
  using folder = temporary();
  project(folder.path);
  const made = await mallard(["kernels", "variants.ts#causal", "--gradient", "--target", "gpujs", "--out", "js", "--inputs", INPUTS], {
    cwd: folder.path,
  });
  expect(made.code, made.stderr).toBe(0);
  const js = join(folder.path, "js");
  symlinkSync(join(import.meta.dirname, "../../node_modules"), join(js, "node_modules"));
  expect(execFileSync(process.execPath, ["example.js"], { cwd: js, encoding: "utf8" })).toMatch(/ms a run\nout 700 /);
  const { GPU } = await import("gpu.js");
  const { open } = await import(pathToFileURL(join(js, "attention.js")).href);
  const program = open(GPU);
  const data = drawn();
  for (const extents of [MOST, { query: 3, key: 5 }, { query: 2, key: 0 }]) {
    const results: Arrays = program.run(inside(data, extents), extents);
    expect(results).toEqual(await expected("gpujs", data, extents));
  }
  expect(() => program.run(inside(data, MOST), { query: 71, key: 1 })).toThrow("extents.query is 71: a whole number from 0 to 70 is wanted");
  expect(() => program.run({ ...inside(data, MOST), q: [1] }, MOST)).toThrow('"q" has 1 elements for 1120');
  await program.close();
});

describe.runIf(await needs("dawn", "browser"))("WGSL", () => {
  const EVERY_TYPE = `import { cast, input, map } from "@mallard-lang/mallard";
const inputs = { b: input({ i: 37 }, "bf16"), h: input({ i: 37 }, "f16"), n: input({ i: 37 }, "i32"), c: input({ i: 37 }, "bool"), f: input({ i: 37 }) };
const { b, h, n, c, f } = inputs;
export const types = {
  inputs,
  out: { b: cast(map({ b, f }, ({ b, f }) => b + f), "bf16"), h: cast(map({ h, f }, ({ h, f }) => h + f), "f16"), n: map(n, (n) => n + 1), c: map({ c, n }, ({ c, n }) => (n > 0 ? c : !c)) },
};
`;
  /** A device with no more than every adapter has, and of the same adapter a session of the library's. */
  async function opened() {
    const found = await findAdapter("software");
    if (found._tag === "Left") throw found.left;
    const { adapter, from } = found.right;
    const host = await openHost(adapter, { limits: "default", features: [] }, from);
    if (host._tag === "Left") throw new Error(host.left.message);
    return { device: host.right.device, session: new Session(compiledBackend(createWebgpuOn(host.right, { processor: false }), 1)) };
  }
  const load = async (folder: string) => (await import(pathToFileURL(join(folder, "attention.js")).href)).open;

  test("attention at run-time extents, forward and backward, has the library's bits", async () => {
    using folder = temporary();
    project(folder.path);
    const made = await mallard(["kernels", "variants.ts#causal", "--gradient", "--target", "wgsl", "--out", "w", "--inputs", INPUTS], {
      cwd: folder.path,
    });
    expect(made.code, made.stderr).toBe(0);
    const w = join(folder.path, "w");
    const files = readdirSync(w);
    expect(files).toEqual(expect.arrayContaining(["README.md", "attention.js", "example.html", "example.js", "package.json", "support.js"]));
    const kernels = files.filter((f) => f.endsWith(".wgsl"));
    expect(readFileSync(join(w, kernels[0] as string), "utf8")).toMatch(/^\/\/ variants\.ts:\d+:\d+/);
    const open = await load(w);
    const { device, session } = await opened();
    using _ = session;
    const program = await open(device);
    const data = drawn();
    for (const extents of [MOST, { query: 3, key: 5 }, { query: 2, key: 0 }]) {
      const results: Arrays = await program.run(inside(data, extents), extents);
      expect(results).toEqual(await expected(session, data, extents));
    }
    expect(() => program.run(inside(data, MOST), { query: 71, key: 1 })).toThrow("extents.query is 71: a whole number from 0 to 70 is wanted");
    expect(() => program.run({ ...inside(data, MOST), q: [1] }, MOST)).toThrow('"q" has 1 elements for 1120');
    program.close();
  });
  test("every type comes in and goes out as the library has it; the example runs in Node and in a page", async () => {
    using folder = temporary();
    project(folder.path, EVERY_TYPE);
    const made = await mallard(["kernels", "variants.ts#types", "--target", "wgsl", "--out", "w"], { cwd: folder.path });
    expect(made.code, made.stderr).toBe(0);
    const w = join(folder.path, "w");
    // Ties, subnormals, the greatest, and what is beyond.
    const values = [0, -0, 1, 1.00390625, 1.01171875, 1.00048828125, 1.00146484375, 65504, 65519, 65520, 1e5, -3e38, 1e-7, 6e-8, 2.98e-8, 1e-40];
    const reals = Float64Array.from({ length: 37 }, (_, i) => values[i] ?? Math.sin(i) * 10 ** (i - 20));
    const ints = Int32Array.from({ length: 37 }, (_, i) => (i - 18) * 1_000_003);
    const data = { b: reals, h: reals, n: ints, c: ints.map((n) => n & 1), f: Float32Array.from(reals, (x) => x / 7) };
    const source = await import(pathToFileURL(join(folder.path, "variants.ts")).href);
    const { device, session } = await opened();
    using _ = session;
    using program = await compileIn(session, source.types.inputs, source.types.out, { seed: 0 });
    const want = await program.run(data);
    const exported = await (await load(w))(device);
    const bits = (a: Float32Array | Int32Array | Uint8Array) => (a instanceof Float32Array ? new Uint32Array(a.buffer.slice(0)) : a);
    const got: Readonly<Record<string, Float32Array>> = await exported.run(data);
    for (const [name, a] of Object.entries(want)) expect([name, bits(got[name] as Float32Array)]).toEqual([name, bits(a as Float32Array)]);
    exported.close();

    symlinkSync(join(import.meta.dirname, "../../node_modules"), join(w, "node_modules"));
    const chromium = "/usr/lib/chromium";
    const env = { ...process.env, LD_LIBRARY_PATH: chromium, VK_ICD_FILENAMES: join(chromium, "vk_swiftshader_icd.json") };
    expect(execFileSync(process.execPath, ["example.js"], { cwd: w, env, encoding: "utf8" })).toMatch(/ms a run\nb 37 /);
    const server = createServer((request, response) => {
      const path = join(w, new URL(request.url ?? "/", "http://localhost").pathname);
      const type = path.endsWith(".js") ? "text/javascript" : path.endsWith(".html") ? "text/html" : "text/plain";
      if (existsSync(path)) response.writeHead(200, { "content-type": type }).end(readFileSync(path));
      else response.writeHead(404).end();
    });
    await new Promise<void>((ready) => server.listen(0, "localhost", ready));
    const browser = await launch({ webgpu: true });
    try {
      const page = await browser.newPage();
      await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/example.html`);
      await page.waitForFunction(() =>
        /\nc 37 |Error/.test((globalThis as unknown as { document: { body: { textContent: string } } }).document.body.textContent),
      );
      expect(await page.textContent("pre")).toMatch(/^[\d.]+ ms a run\nb 37 .*\nh 37 .*\nn 37 .*\nc 37 /);
    } finally {
      await browser.close();
      server.close();
    }
  });
});

describe("refused", () => {
  test.each([
    [
      ["--target", "js"],
      /error: --out writes files for c, gpujs, wgsl, not yet for js\n {2}→ leave --out out to print the js kernels, or choose another --target\n/,
    ],
    [["--name", "2fast"], /Use letters, digits and underscores, starting with a letter/],
    [["--target", "wgsl", "--name", "support"], /error: --name support would write two files called support\.js\n/],
    [["--target", "gpujs", "--name", "kernels"], /error: --name kernels would write two files called kernels\.js\n/],
  ] as const)("%s", async (args, message) => {
    using folder = temporary();
    project(folder.path);
    const { code, stderr } = await mallard(["kernels", "variants.ts#causal", "--out", "here", ...args], { cwd: folder.path });
    expect([code, readdirSync(folder.path).includes("here")]).toEqual([2, false]);
    expect(stderr).toMatch(message);
  });
  test.each([["--name", "mine"], ["--force"]])("%s without --out", async (...flag) => {
    using folder = temporary();
    project(folder.path);
    const { code, stderr } = await mallard(["kernels", "variants.ts#causal", ...flag], { cwd: folder.path });
    expect([code, stderr]).toEqual([2, `error: ${flag[0]} counts only with --out\n  → add --out, or leave ${flag[0]} out\n`]);
  });
  test("files that are there already, unless they may be replaced", async () => {
    using folder = temporary();
    project(folder.path);
    const args = ["kernels", "variants.ts#causal", "--out", "."];
    writeFileSync(join(folder.path, "README.md"), "mine");
    const refused = await mallard(args, { cwd: folder.path });
    expect([refused.code, readFileSync(join(folder.path, "README.md"), "utf8")]).toEqual([2, "mine"]);
    expect(refused.stderr).toContain("error: . has README.md already\n  → name another folder, or replace them with --force\n");
    expect((await mallard([...args, "--force"], { cwd: folder.path })).code).toBe(0);
    expect(readFileSync(join(folder.path, "README.md"), "utf8")).toContain("# variants.ts#causal in C");
  });
});
