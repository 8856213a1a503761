// The layers of the design, held by reading every import: dsl imports nothing of ours; compiler imports dsl; runtime
// imports compiler and dsl; models import dsl alone; what stands beside them imports the public index. No cycles.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** What a folder's files may import, by the first element of the path; files beside the folders by their name. */
const layers: Readonly<Record<string, readonly string[]>> = {
  dsl: ["dsl"],
  compiler: ["compiler", "dsl"],
  runtime: ["runtime", "compiler", "dsl"],
  models: ["models", "dsl"],
  "index.ts": ["dsl", "compiler", "runtime"],
  "browser.ts": ["dsl", "runtime"],
  "trainer.ts": ["runtime"],
  "trainer.browser.ts": ["runtime"],
  "testing.ts": ["testing"],
  testing: ["testing", "index.ts", "models"],
  vite: ["vite", "compiler"],
  cli: ["cli", "index.ts", "trainer.ts", "models"],
  bench: ["bench", "index.ts", "trainer.ts", "models", "vite"],
  experiments: ["experiments", "index.ts", "models"],
  examples: ["examples", "index.ts", "trainer.ts", "models", "vite"],
};

/** Imports against the layers that are known and still there. Each line is a debt: pay it and remove the line, which
 *  a test below asks for as soon as nothing needs it. */
const debts: readonly { readonly from: RegExp; readonly to: string; readonly why: string }[] = [];

const filesIn = (path: string): readonly string[] => {
  const full = join(root, path);
  const stat = statSync(full, { throwIfNoEntry: false });
  if (!stat) return [];
  if (stat.isFile()) return [path];
  return readdirSync(full).flatMap((name) => filesIn(join(path, name)));
};
const sources = Object.keys(layers)
  .flatMap(filesIn)
  .filter((f) => f.endsWith(".ts") && !f.endsWith(".test.ts"));

export interface Import {
  readonly from: string;
  readonly to: string;
  /** Erased by the compiler: no cycle at run time. */
  readonly type: boolean;
}
/** Imports of our own files; `type` where nothing of the statement exists at run time. */
export function importsOf(file: string, text: string): readonly Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const statements = [...code.matchAll(/^\s*(?:import|export)\s+(type\s+)?((?:[^'"`;]*?)\s+from\s+)?["'](\.[^"']+)["']/gm)].map(
    ([, type, names, to]) => ({ type: Boolean(type) || onlyTypes(names ?? ""), to: to as string }),
  );
  const dynamic = [...code.matchAll(/\bimport\(\s*["'](\.[^"']+)["']\s*\)/g)].map(([, to]) => ({ type: false, to: to as string }));
  return [...statements, ...dynamic].map(({ type, to }) => ({
    from: file,
    to: relative(root, join(root, dirname(file), to.replace(/\.js$/, ".ts"))),
    type,
  }));
}
const onlyTypes = (names: string): boolean => {
  const inner = /^\{([\s\S]*)\}\s+from\s+$/.exec(names.trimStart())?.[1];
  const each = inner
    ?.split(",")
    .map((n) => n.trim())
    .filter((n) => n !== "");
  return each !== undefined && each.length > 0 && each.every((n) => n.startsWith("type "));
};
const all = sources.flatMap((f) => importsOf(f, readFileSync(join(root, f), "utf8")));
const layerOf = (file: string) => file.split("/")[0] as string;

/** A cycle among these edges, as a path that returns to its start. */
export function cycleIn(edges: readonly Import[]): readonly string[] | undefined {
  const next = new Map<string, string[]>();
  for (const e of edges) next.set(e.from, [...(next.get(e.from) ?? []), e.to]);
  const done = new Set<string>();
  for (const start of next.keys()) {
    const path: string[] = [];
    const stack: { readonly file: string; readonly depth: number }[] = [{ file: start, depth: 0 }];
    for (let top = stack.pop(); top; top = stack.pop()) {
      for (const left of path.splice(top.depth)) done.add(left);
      if (path.includes(top.file)) return [...path.slice(path.indexOf(top.file)), top.file];
      if (done.has(top.file)) continue;
      path.push(top.file);
      for (const to of next.get(top.file) ?? []) stack.push({ file: to, depth: path.length });
    }
    for (const left of path) done.add(left);
  }
  return undefined;
}

describe("layers", () => {
  test("there are files to look at", () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(all.length).toBeGreaterThan(150);
  });
  const astray = all.filter(({ from, to }) => !layers[layerOf(from)]?.includes(layerOf(to)));
  test("every import stays within its layer", () => {
    const wrong = astray.filter(({ from, to }) => !debts.some((d) => d.from.test(from) && d.to === to));
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });
  test("no debt is listed that is paid", () => {
    expect(debts.filter((d) => !astray.some(({ from, to }) => d.from.test(from) && d.to === to))).toEqual([]);
  });
  test("every import is of a file that exists", () => {
    expect(all.filter(({ to }) => !statSync(join(root, to), { throwIfNoEntry: false })).map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });
  test("no cycles at run time", () => {
    expect(cycleIn(all.filter((e) => !e.type))?.join(" → ")).toBeUndefined();
  });
  test("dsl and models use no package", () => {
    const packages = sources
      .filter((f) => ["dsl", "models"].includes(layerOf(f)))
      .flatMap((f) =>
        [...readFileSync(join(root, f), "utf8").matchAll(/^(?:import|export)\b[^'"`;]*?from\s+["']([^."'][^"']*)["']/gm)].map(
          (m) => `${f} imports ${m[1]}`,
        ),
      );
    expect(packages.filter((p) => !p.includes("fp-ts/lib/"))).toEqual([]);
  });
});
describe("this test itself", () => {
  const edges = (text: string) => importsOf("dsl/a.ts", text);
  test("reads the forms that imports have", () => {
    expect(
      edges(
        'import { a,\n  b } from "./b.js";\nimport type { C } from "../compiler/c.js";\nexport * from "./d.js";\nimport "./e.js";\nconst f = await import("./f.js");\nexport { type G } from "./g.js";\n// import "./no.js"',
      ),
    ).toEqual([
      { from: "dsl/a.ts", to: "dsl/b.ts", type: false },
      { from: "dsl/a.ts", to: "compiler/c.ts", type: true },
      { from: "dsl/a.ts", to: "dsl/d.ts", type: false },
      { from: "dsl/a.ts", to: "dsl/e.ts", type: false },
      { from: "dsl/a.ts", to: "dsl/g.ts", type: true },
      { from: "dsl/a.ts", to: "dsl/f.ts", type: false },
    ]);
  });
  test("finds a cycle, and none in a diamond", () => {
    const edge = (from: string, to: string): Import => ({ from, to, type: false });
    expect(cycleIn([edge("a", "b"), edge("b", "c"), edge("c", "b")])).toEqual(["b", "c", "b"]);
    expect(cycleIn([edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")])).toBeUndefined();
  });
});
