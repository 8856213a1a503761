// The built package in a project of its own: what a user's TypeScript file is told, started as users start it.
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { temporary } from "../train/fixtures.js";
import { built, root, runNode } from "./mallard.js";

beforeAll(built);

/** A user's project: the package, and a file. */
function project(folder: string, text: string): void {
  mkdirSync(join(folder, "node_modules/@mallard-lang"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules/@mallard-lang/mallard"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "mine.ts"), text);
}

test("under tsx, errors name the author's line, not the package's, and capture finds the arrow", async () => {
  using folder = temporary();
  project(
    folder.path,
    `import { compile, input, map, sum } from "@mallard-lang/mallard";
const q = input({ query: 4 });
const slope: number = 2;
const text = (e: unknown) => (e instanceof Error ? e.message : String(e));
try {
  console.log(sum(q as never, "qurey"));
} catch (e) {
  console.log(text(e));
}
try {
  await compile({ q }, map({ q }, ({ q }) => q * slope), { device: "js" });
} catch (e) {
  console.log(text(e));
}
`,
  );
  const tsx = pathToFileURL(join(root, "node_modules/tsx/dist/loader.mjs")).href;
  const { code, stdout, stderr } = await runNode(["--import", tsx, "mine.ts"], { cwd: folder.path });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.replaceAll(folder.path, "DIR")).toMatchInlineSnapshot(`
    "sum: no axis "qurey" in { query: 4 }
      hint: did you mean "query"? its axes are "query"
      at DIR/mine.ts:6:15
    DIR/mine.ts:11:50: slope is not known inside the function
    11 |   await compile({ q }, map({ q }, ({ q }) => q * slope), { device: "js" });
       |                                                  ^
    capture it: add it to map's inputs, map({ …, slope }, ({ …, slope }) => …)
    "
  `);
});

test("its declarations are checked whole without types of Node's, and with an older library", async () => {
  using folder = temporary();
  project(
    folder.path,
    `import { dot, input } from "@mallard-lang/mallard";
import { adamw } from "@mallard-lang/mallard/models";
import { MODEL_SIZES } from "@mallard-lang/mallard/trainer";
export const scores = dot(input({ query: 4, dim: 2 }), input({ key: 4, dim: 2 }), "dim");
export const mine = [adamw({}), MODEL_SIZES];
`,
  );
  const options = { strict: true, module: "nodenext", target: "es2022", lib: ["es2022", "dom"], types: [], noEmit: true, skipLibCheck: false };
  writeFileSync(join(folder.path, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["mine.ts"] }));
  const { code, stdout } = await runNode([join(root, "node_modules/typescript/bin/tsc"), "-p", "."], { cwd: folder.path });
  expect([code, stdout]).toEqual([0, ""]);
});
