// The Vite plug-in, by what its bundles do: minified, without a parser and without Node, they compile to the same kernels as
// the sources do.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLeft } from "fp-ts/lib/Either.js";
import { createServer } from "vite";
import { describe, expect, test } from "vitest";
import * as browser from "../../browser.js";
import { captureMap } from "../../compiler/capture/capture.js";
import { showCaptureError } from "../../compiler/capture/error.js";
import type { Arrow } from "../../dsl/node.js";
import { evalScalar } from "../../dsl/scalar-eval.js";
import * as node from "../../index.js";
import { mallard } from "../../vite/index.js";
import { alias, bundle, failure, fixture, root } from "./bundle.js";
import * as page from "./fixtures/page.js";
import * as uses from "./fixtures/uses.js";

describe("a minified bundle for browsers", () => {
  test("has the kernels of the sources, gradients too, for every variant; and neither a parser nor Node in it", async () => {
    using made = await bundle(fixture("page.ts"));
    const bundled = (await made.run()) as unknown as typeof page; // the bundle of that very module
    for (const target of ["c", "gpujs"] as const) expect(plain(bundled.own(target))).toBe(plain(page.own(target)));
    expect(plain(bundled.ownGradient())).toBe(plain(page.ownGradient()));
    const [all, here] = [bundled.all(), page.all()];
    expect(Object.keys(all)).toHaveLength(30);
    for (const [name, text] of Object.entries(here)) expect([name, plain(all[name] as string)]).toEqual([name, plain(text)]);

    const code = Object.values(made.files).join("\n");
    expect(Object.keys(made.files)).toEqual(["main.mjs"]);
    expect(made.imports).toEqual([]);
    expect(["ts-morph", "createRequire", "node:fs", "koffi", "readFileSync"].filter((word) => code.includes(word))).toEqual([]);
    // It is minified: the author's own text stands in what the plug-in wrote, and nowhere else.
    expect(code.split("distance < far ?")).toHaveLength(2);
  });
  test("may use all that the package has for browsers, which is the same as elsewhere", async () => {
    using made = await bundle(join(root, "browser.ts"));
    const code = Object.values(made.files).join("\n");
    expect(made.imports.filter((i) => !i.endsWith(".mjs"))).toEqual([]);
    expect(
      ["ts-morph", "createRequire", "node:(?:fs|os|path|url|module|crypto|child_process)", "koffi", "readFileSync"].filter((word) =>
        new RegExp(`["'\`]${word}|${word}\\(`).test(code),
      ),
    ).toEqual([]);
    expect(Object.keys(await made.run()).toSorted()).toEqual(Object.keys(browser).toSorted());
    const whole: Readonly<Record<string, unknown>> = { ...node };
    expect(Object.entries(browser).filter(([name, value]) => whole[name] !== value)).toEqual([]);
  });
  test("reads functions wherever the language takes them", async () => {
    using made = await bundle(fixture("uses.ts"));
    const bundled = await made.run();
    const names = Object.keys(uses).filter((name) => !["unseen", "mistyped"].includes(name));
    expect(names.length).toBeGreaterThan(15);
    for (const name of names) {
      const here = (uses as unknown as Readonly<Record<string, () => string>>)[name] as () => string; // each export gives a text
      expect([name, plain((bundled[name] as () => string)())]).toEqual([name, plain(here())]);
    }
  });
  test("refuses, in the author's file, what only the inputs show", async () => {
    using made = await bundle(fixture("uses.ts"));
    const { mistyped } = await made.run();
    expect(mistyped).toThrowErrorMatchingInlineSnapshot(`
      [CompileError: test/vite/fixtures/uses.ts:80:18: each side of * must be a number; this is a boolean
      80 |       return s * weight;
         |                  ^
      write condition ? 1 : 0]
    `);
  });
  test("refuses a function that the plug-in did not see", async () => {
    using made = await bundle(fixture("uses.ts"));
    const { unseen } = await made.run();
    expect(unseen).toThrow("this function was not read when the bundle was built, and a browser has no parser");
    expect(unseen).toThrow("build with the plug-in of @mallard-lang/mallard/vite");
  });
});

/** Names of locals are counted through the whole process. */
const plain = (text: string): string => text.replace(/_\d+_/g, "_");

const main = (body: string, imports = "input, map") =>
  `import { ${imports} } from "@mallard-lang/mallard";\nimport { kernels } from "./kernels.js";\nconst s = input({ query: 3, key: 4 });\n${body}`;
const kernelsFile = `import { kernelsOf, type AnyTensor } from "@mallard-lang/mallard";
import { isLeft } from "fp-ts/lib/Either.js";
export const kernels = (inputs: Record<string, AnyTensor>, out: AnyTensor) => {
  const made = kernelsOf(inputs, out, "c");
  if (isLeft(made)) throw new Error(made.left.message);
  return made.right.kernels.map((k) => k.source).join("\\n");
};
`;
const project = (body: string, imports?: string) => ({ "main.ts": main(body, imports), "kernels.ts": kernelsFile });
const textOf = async (sources: Readonly<Record<string, string>>, o?: Parameters<typeof bundle>[1]): Promise<string> => {
  using made = await bundle(sources, o);
  return ((await made.run()).text as () => string)();
};

describe("what a minifier does to a function", () => {
  const scaled =
    "export const text = () => kernels({ s }, map({ s, W: 3, big: 2 ** 70 }, ({ s, W, big }, { key: j }) => (j < W ? s * big : -Infinity)));";
  test("constants inlined and renamed names do not change what it means", async () => {
    const minified = await textOf(project(scaled));
    expect(minified).toBe(await textOf(project(scaled), { minify: false }));
    expect(minified).toContain("1.1805916207174113e+21f");
  });
  const free = "const W = 3;\nexport const text = () => kernels({ s }, map(s, (s) => s * W));\nexport const other = () => W;";
  test("a constant from outside is refused, although the minifier would inline it", async () => {
    expect((await failure(project(free))).message).toContain("W is not known inside the function");
  });
  test("so is a name that the build replaces", async () => {
    const error = await failure(project("declare const __SCALE__: number;\nexport const text = () => kernels({ s }, map(s, (s) => s * __SCALE__));"));
    expect(error.message).toContain("__SCALE__ is not known inside the function");
  });
});

describe("mistakes fail the build", () => {
  test("with file, line, column, caret and what to do", async () => {
    const error = await failure(
      project("const slope = 2;\nexport const biased = map({ s }, ({ s }, { query: i, key: j }) =>\n  j <= i ? s - slope * (i - j) : -Infinity);"),
    );
    expect(error.message).toMatchInlineSnapshot(`
      "main.ts:6:16: slope is not known inside the function
      6 |   j <= i ? s - slope * (i - j) : -Infinity);
        |                ^
      capture it: add it to map's inputs, map({ …, slope }, ({ …, slope }) => …)"
    `);
    expect(error.loc).toMatchObject({ line: 6, column: 15 });
    expect(error.id).toMatch(/main\.ts$/);
  });
  test("all of a file's at once, in captured functions, views and monoids too", async () => {
    const error = await failure({
      ...project(
        `import { cube } from "./helper.js";
export const a = map({ s, cube }, ({ s, cube }) => cube(s));
export const b = view(s, { tap: 2 }, ({ tap }) => ({ key: tap * step }));
export const step = 2;
export const c = monoid({ x: 0 }, (a, b) => ({ x: a.x + b.x + step }));
export const d = grid({ i: 3 }, ({ i }) => { for (;;) return i; });`,
        "grid, input, map, monoid, view",
      ),
      "helper.ts": "const three = 3;\nexport function cube(x: number): number {\n  return x ** three;\n}\n",
    });
    expect(error.message).toMatchInlineSnapshot(`
      "helper.ts:3:15: three is not known inside the function
      3 |   return x ** three;
        |               ^
      pass three as an argument: a captured function sees only its parameters

      main.ts:6:65: step is not known inside the function
      6 | export const b = view(s, { tap: 2 }, ({ tap }) => ({ key: tap * step }));
        |                                                                 ^
      pass it to view: view(x, axes, arrow, { step }), and name it in the second parameter

      main.ts:8:63: step is not known inside the function
      8 | export const c = monoid({ x: 0 }, (a, b) => ({ x: a.x + b.x + step }));
        |                                                               ^
      a combine is closed: write the value out, or make it a component

      main.ts:9:46: a for loop cannot be read
      9 | export const d = grid({ i: 3 }, ({ i }) => { for (;;) return i; });
        |                                              ^
      reduce over an axis with fold or sum; iterate with repeat"
    `);
  });
  test("other functions are none of its business", async () => {
    const body = `const outer = 3;
export const plain = [1, 2].map((x) => x + outer);
{
  const map = (xs: number[], f: (x: number) => number) => xs.map(f);
  map([1], (x) => x * outer);
}
export const text = () => kernels({ s }, map(s, (s) => s + 1));`;
    expect(await textOf(project(body))).toContain("+ 1.0f");
  });
});

describe("what a minifier leaves of a function, read without the plug-in", () => {
  test("means what it computes, or is refused", async () => {
    const source = `let W = 3;
const K = 4;
export const raise = () => { W++; };
export const free = ({ s }: { s: number }) => s * W;
export const inlined = ({ s }: { s: number }) => s * K;
export const folded = ({ s, far }: { s: number; far: number }, { key: j }: { key: number }) => {
  const near = j < 2 ** 3 && !(s > 1e3);
  return near ? s - far / 1000 : -Infinity;
};
`;
    using made = await bundle({ "main.ts": source }, { plugins: [] });
    const { free, inlined, folded } = (await made.run()) as Readonly<Record<string, Arrow>>;
    const read = (fn: Arrow | undefined, names: readonly string[]) =>
      captureMap(
        { fn: fn as Arrow, captured: {}, field: null, inputs: Object.fromEntries(names.map((n) => [n, "f32"])), axes: ["key"] },
        { folder: null },
      );
    const refused = read(free, ["s"]);
    expect(isLeft(refused) && refused.left.message).toMatch(/^\w+ is not known inside the function$/);
    expect(isLeft(refused) && refused.left.hint).toContain("capture it");
    for (const [fn, names] of [
      [inlined, ["s"]],
      [folded, ["s", "far"]],
    ] as const) {
      expect(String(fn)).not.toContain("Infinity"); // minified, that is
      const scalar = read(fn, names);
      if (isLeft(scalar)) throw new Error(showCaptureError(scalar.left));
      for (const s of [-2, 0.5, 2000, Number.NaN])
        for (const key of [0, 7, 8])
          expect(evalScalar(scalar.right, { args: { s, far: 70 }, indices: { key } })).toBe((fn as Arrow)({ s, far: 70 }, { key }));
    }
  });
});

test("the development server rewrites the same, and serves the package file by file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-vite-"));
  writeFileSync(
    join(folder, "main.ts"),
    'import { input, map } from "@mallard-lang/mallard";\nexport const y = map(input({ i: 3 }), (x) => x * 2);\n',
  );
  const server = await createServer({
    root: folder,
    configFile: false,
    logLevel: "silent",
    plugins: [mallard()],
    resolve: { alias },
    server: { middlewareMode: true, watch: null, ws: false },
    optimizeDeps: { noDiscovery: true },
  });
  try {
    const done = await server.transformRequest("/main.ts");
    expect(done?.code).toMatch(/map\(input\(\{ i: 3 \}\), \/\* @__PURE__ \*\/ \w+\(\(x\) => x \* 2, \{/);
    expect(done?.code).toContain("/compiler/capture/ahead.ts");
    expect(done?.code).toContain("/browser.ts");
    expect(server.config.optimizeDeps.exclude).toContain("@mallard-lang/mallard");
  } finally {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("source maps lead from the bundle to the author's columns", async () => {
  const body = "export const text = () =>\n  kernels({ s }, map({ s, W: 3 }, ({ s, W }) => Math.tanh(s) * W));";
  const sources = project(body);
  using made = await bundle(sources, { sourcemap: true });
  const code = made.files["main.mjs"] as string;
  const lines = code.slice(0, code.search(/Math\.tanh\(\w+\)\*/)).split("\n");
  const map = new SourceMap(JSON.parse(made.files["main.mjs.map"] as string));
  const found = map.findEntry(lines.length - 1, (lines.at(-1) as string).length);
  const source = sources["main.ts"].split("\n");
  const line = source.findIndex((l) => l.includes("Math.tanh"));
  expect(found).toMatchObject({ originalLine: line, originalColumn: source[line]?.indexOf("Math.tanh") });
});

test("a bundle for Node that leaves the package outside shares its memory of functions", async () => {
  using made = await bundle(
    { "main.ts": 'import { map, input } from "@mallard-lang/mallard";\nexport const y = map(input({ i: 3 }), (x) => x * 2);\n' },
    { ssr: true },
  );
  expect(made.imports).toEqual(["@mallard-lang/mallard", "@mallard-lang/mallard/ahead"]);
});
