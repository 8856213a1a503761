// How much a page loads, as servers send it: minified and gzipped. What is not used stays out.
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { type Bundle, bundle, fixture } from "./bundle.js";

/** Bytes of a file and of all that it imports at once; `lazy`: of what it loads later, that too whose name begins so. */
function loaded({ files }: Bundle, entry: string, lazy = /^$/): number {
  const seen = new Set<string>();
  const todo = [entry];
  for (let name = todo.pop(); name; name = todo.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const code = files[name] as string; // the bundler wrote it
    const names = (pattern: RegExp) => [...code.matchAll(pattern)].map(([, found]) => found as string);
    todo.push(...names(/(?:from|import)\s*["'`]\.\/([\w.-]+\.mjs)["'`]/g));
    todo.push(...names(/import\(\s*["'`]\.\/([\w.-]+\.mjs)["'`]\s*\)/g).filter((n) => lazy.test(n)));
  }
  return [...seen].reduce((n, name) => n + gzipSync(files[name] as string).length, 0);
}
const kB = (bytes: number): number => bytes / 1000;
const foreign = ["ts-morph", "createRequire", "koffi", "readFileSync", "node:fs", "GPU.js"];

test("the language, the compiler and the WGSL target are less than 150 kB, and nothing of other targets, of a parser or of Node", async () => {
  using made = await bundle(fixture("language.ts"));
  expect(Object.keys(made.files)).toEqual(["main.mjs"]);
  const code = made.files["main.mjs"] as string;
  expect(foreign.filter((word) => code.includes(word))).toEqual([]);
  expect(code).toContain("@workgroup_size");
  expect(["__attribute__", "#include", "this.thread.x"].filter((word) => code.includes(word))).toEqual([]);
  expect(kB(loaded(made, "main.mjs"))).toBeLessThan(150);
});
test("a page on WebGPU loads neither gpu.js nor what is made for it; nor does one that prints WGSL", async () => {
  using printer = await bundle({ "main.ts": 'export { kernelsOfProgram, wgslPrinter } from "@mallard-lang/mallard";\n' });
  expect(Object.keys(printer.files)).toEqual(["main.mjs"]);
  expect(["__attribute__", "#include", "this.thread.x"].filter((word) => (printer.files["main.mjs"] as string).includes(word))).toEqual([]);

  using made = await bundle({ "main.ts": 'export { compile } from "@mallard-lang/mallard";\n' });
  expect(foreign.filter((word) => (made.files["main.mjs"] as string).includes(word))).toEqual([]);
  const page = loaded(made, "main.mjs", /^webgpu/);
  expect(page).toBeGreaterThan(loaded(made, "main.mjs"));
  expect(kB(page)).toBeLessThan(165); // the runtime and the device beside them
  expect(kB(loaded(made, "main.mjs", /./))).toBeGreaterThan(kB(page) + 100);
});
test("an expression that is only built brings no compiler", async () => {
  using made = await bundle({
    "main.ts": 'import { input, map } from "@mallard-lang/mallard";\nexport const y = map(input({ i: 3 }), (x) => x * 2);\n',
  });
  expect(kB(loaded(made, "main.mjs"))).toBeLessThan(10);
});
