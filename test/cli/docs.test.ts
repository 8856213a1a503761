// The code in README.md and docs/ type-checks against the real thing. A block that begins with a comment "// NAME.ts"
// is a module of that name; blocks of one page import each other by it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { interventionOf } from "../../cli/language-model.js";
import { ATTENTIONS, INTERVENTIONS, OPTIMIZERS, SCHEDULES } from "../../trainer.js";
import { temporary } from "../train/fixtures.js";
import { root } from "./mallard.js";

const pages = ["README.md", ...readdirSync(join(root, "docs")).map((name) => join("docs", name))].filter((p) => p.endsWith(".md"));

const blocks = (page: string): { readonly name: string; readonly code: string }[] =>
  Array.from(readFileSync(join(root, page), "utf8").matchAll(/^```ts\n(\/\/ (\S+\.ts)\n[\s\S]*?)^```$/gm), ([, code, name]) => ({
    name: name!,
    code: code!,
  }));

test("every block of TypeScript names its module", () => {
  for (const page of pages) {
    const all = readFileSync(join(root, page), "utf8").match(/^```ts$/gm)?.length ?? 0;
    expect([page, blocks(page).length]).toEqual([page, all]);
  }
});
test("the code of every page type-checks", () => {
  using folder = temporary();
  for (const page of pages) {
    const own = join(folder.path, basename(page, ".md"));
    mkdirSync(own);
    for (const { name, code } of blocks(page)) writeFileSync(join(own, name), code);
  }
  symlinkSync(join(root, "node_modules"), join(folder.path, "node_modules"));
  writeFileSync(join(folder.path, "package.json"), '{ "type": "module" }');
  const settings = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      paths: {
        "@mallard-lang/mallard": [join(root, "index.ts")],
        "@mallard-lang/mallard/models": [join(root, "models/index.ts")],
        "@mallard-lang/mallard/testing": [join(root, "testing.ts")],
        "@mallard-lang/mallard/vite": [join(root, "vite/index.ts")],
      },
    },
    include: ["*/*.ts"],
  };
  writeFileSync(join(folder.path, "tsconfig.json"), JSON.stringify(settings));
  const done = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder.path], {
    cwd: folder.path,
    encoding: "utf8",
  });
  expect(done.stdout).toBe("");
  expect(done.status).toBe(0);
});
test("the README's variant is the example that its command names", () => {
  const shown = blocks("README.md").find(({ name }) => name === "alibi.ts")!.code;
  const body = (text: string): string => text.slice(text.indexOf("import"));
  expect(body(readFileSync(join(root, "examples/alibi.ts"), "utf8"))).toBe(body(shown));
});
test("links between pages lead somewhere", () => {
  for (const page of pages) {
    for (const [, target] of readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      expect(existsSync(join(root, page, "..", target!)), `${page}: ${target}`).toBe(true);
    }
  }
});
test("training.md has a row for everything that a run can name, in the words of the help", () => {
  const rows = readFileSync(join(root, "docs/training.md"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  const tables = [...[ATTENTIONS, OPTIMIZERS, SCHEDULES].flatMap((t) => Object.entries<{ readonly about: string }>(t))];
  for (const [name, { about }] of [...tables, ...INTERVENTIONS.map((name) => [name, interventionOf(name)] as const)])
    expect(
      rows.filter((row) => new RegExp(`^\\| \`${name}\`( \\(default\\))? \\|`).test(row) && row.split(" | ")[1]?.replace(/ \|$/, "") === about),
      name,
    ).toHaveLength(1);
  for (const [name, { lr }] of Object.entries(OPTIMIZERS))
    expect(rows.find((row) => row.startsWith(`| \`${name}\``))).toMatch(new RegExp(`\\| ${lr} \\|$`));
});
