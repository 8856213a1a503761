// The built package in a project of its own, bundled as its users bundle it: the plug-in from the package's `vite` export, and
// what package.json says about browsers where there is no plug-in.
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { built, root, runNode } from "../cli/mallard.js";
import { temporary } from "../train/fixtures.js";

beforeAll(built);

const build = `import { build } from "vite";
import { mallard } from "@mallard-lang/mallard/vite";
const plain = process.argv[2] === "plain";
await build({
  logLevel: "warn",
  plugins: plain ? [] : [mallard()],
  build: {
    outDir: "out",
    target: "es2022",
    // What a page loads ahead needs a document, which Node has not.
    modulePreload: false,
    chunkSizeWarningLimit: 5000,
    // How long plug-ins took is noted on a busy machine, and not on an idle one.
    rolldownOptions: { checks: { pluginTimings: false }, input: "main.ts", preserveEntrySignatures: "strict", output: { entryFileNames: "main.mjs", chunkFileNames: "[name].mjs" } },
  },
});
`;
const main = `import { compile, dot, input, map, MallardError, softmax } from "@mallard-lang/mallard";
import { causal } from "@mallard-lang/mallard/models";
const text = (e: unknown) => (e instanceof Error ? \`\${e.name}: \${e.message}\` : String(e));
const x = { q: input({ query: 2, dim: 2 }), k: input({ key: 2, dim: 2 }), v: input({ key: 2, value: 1 }) };
const given = { q: [1, 0, 0, 1], k: [1, 0, 0, 1], v: [1, 3] };
export async function main() {
  try {
    const program = await compile(x, { causal: causal(x), doubled: map(x.v, (v) => v * 2) }, { device: "js" });
    const { causal: o, doubled } = await program.run(given);
    console.log([...o, ...doubled].map((n) => n.toFixed(3)).join(" "));
  } catch (e) {
    console.log(text(e).split("\\n")[0].replace(/^.*main\\.mjs:\\S+/, ""));
  }
  try {
    await compile(x, x.q);
  } catch (e) {
    console.log(text(e));
  }
}
`;
const run = 'import { main } from "./out/main.mjs";\nawait main();\n';

async function project(plain: boolean): Promise<{ readonly out: string; readonly code: string; readonly said: string }> {
  using folder = temporary();
  mkdirSync(join(folder.path, "node_modules/@mallard-lang"), { recursive: true });
  symlinkSync(root, join(folder.path, "node_modules/@mallard-lang/mallard"));
  symlinkSync(join(root, "node_modules/vite"), join(folder.path, "node_modules/vite"));
  writeFileSync(join(folder.path, "package.json"), '{ "type": "module" }');
  for (const [name, text] of Object.entries({ "build.js": build, "main.ts": main, "run.js": run })) writeFileSync(join(folder.path, name), text);
  const done = await runNode(["build.js", plain ? "plain" : "plugin"], { cwd: folder.path });
  expect([done.code, done.stderr]).toEqual([0, ""]);
  const ran = await runNode(["run.js"], { cwd: folder.path });
  expect([ran.code, ran.stderr]).toEqual([0, ""]);
  return { said: done.stdout, out: ran.stdout, code: readFileSync(join(folder.path, "out/main.mjs"), "utf8") };
}
const nodes = (code: string) => ["ts-morph", "createRequire", "readFileSync", "koffi"].filter((word) => code.includes(word));

test("with the plug-in a page compiles and runs; the native device says that this is a browser", async () => {
  const { out, code } = await project(false);
  expect(nodes(code)).toEqual([]);
  expect(out).toMatchInlineSnapshot(`
    "1.000 2.340 2.000 6.000
    DeviceError: the native device does not work here: a browser runs no native code. To go on, use the portable device: { device: "gpujs" }
    "
  `);
});
test("without it Node stays out all the same, and functions are refused, the language's own first", async () => {
  const { out, code } = await project(true);
  expect(nodes(code)).toEqual([]);
  expect(out).toMatchInlineSnapshot(`
    "CompileError: <function text>:1:1: this function was not read when the bundle was built, and a browser has no parser
    DeviceError: the native device does not work here: a browser runs no native code. To go on, use the portable device: { device: "gpujs" }
    "
  `);
});
