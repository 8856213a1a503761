// The language's types, on the real module: what must compile does, what must not is refused with the message that
// names the axis, and checking stays within a budget.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { MallardError } from "../../dsl/index.js";
import { mistakes as calls } from "./attention.js";
import { mistakes } from "./negative.js";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const require = createRequire(import.meta.url);
const compiler = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
const tsc = (...args: readonly string[]) => spawnSync(process.execPath, [compiler, ...args], { encoding: "utf8", maxBuffer: 1 << 26 });

test("the language's programs compile, the mistakes do not, within the budget", { timeout: 120_000 }, () => {
  const { stdout, status } = tsc("-p", join(here, "tsconfig.json"), "--extendedDiagnostics");
  expect(status, stdout).toBe(0);
  const figure = (name: string) => Number(new RegExp(`${name}:\\s+([\\d.]+)`).exec(stdout)?.[1]);
  // 462 thousand when written. Growth faster than linear in the chain of stress.ts passes this at once.
  expect(figure("Instantiations")).toBeGreaterThan(100_000);
  expect(figure("Instantiations")).toBeLessThan(650_000);
  expect(figure("Check time")).toBeLessThan(10); // 0.3 s alone on a core
});

test("the checker runs: without their marks, the mistakes are errors that name the axis", { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-types-"));
  try {
    const text = readFileSync(join(here, "negative.ts"), "utf8");
    const marks = text.match(/^\/\/ @ts-expect-error/gm)?.length ?? 0;
    const bare = text.replace(/^\/\/ @ts-expect-error/gm, "// ").replaceAll('"../../', `"${root}/`);
    writeFileSync(join(folder, "negative.mts"), bare);
    const config = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: { typeRoots: [join(root, "node_modules/@types")] },
      include: ["negative.mts"],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const { stdout, status } = tsc("-p", join(folder, "tsconfig.json"));
    expect(status).not.toBe(0);
    const lines = new Set([...stdout.matchAll(/negative\.mts[(:](\d+)/g)].map((m) => m[1]));
    expect(lines.size).toBe(marks);
    for (const message of [
      'axis sizes differ: \\"model\\" is 256 on the left, 128 on the right',
      'axis sizes differ: \\"head\\" is 4 here',
      'input \\"k\\" lacks axis \\"key\\"',
      'input \\"q\\": the formula uses up \\"key\\" itself',
      'no input \\"mask\\"',
      'the loss still has axis \\"time\\"',
      "axis exists already",
      "no such axis",
    ])
      expect(stdout.replaceAll('\\"', '"')).toContain(message.replaceAll('\\"', '"'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("one mark removed is one error", { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "mallard-types-"));
  try {
    const text = readFileSync(join(here, "negative.ts"), "utf8")
      .replace("// @ts-expect-error a typo", "// a typo")
      .replaceAll('"../../', `"${root}/`);
    writeFileSync(join(folder, "one.mts"), text);
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: { typeRoots: [join(root, "node_modules/@types")] },
        include: ["one.mts"],
      }),
    );
    expect(() => execFileSync(process.execPath, [compiler, "-p", join(folder, "tsconfig.json")], { encoding: "utf8", stdio: "pipe" })).toThrow();
    const { stdout } = tsc("-p", join(folder, "tsconfig.json"));
    expect(stdout.match(/error TS/g)).toHaveLength(1);
    expect(stdout).toContain("dmi");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each(mistakes.map((m, i) => [i, m] as const))("mistake %i, made by untyped code, is a typed error with its place", (_, { says, run }) => {
  const error = (() => {
    try {
      run();
    } catch (e) {
      return e;
    }
  })();
  expect(error).toBeInstanceOf(MallardError);
  const { message, place } = error as MallardError;
  for (const part of says) expect(message).toContain(part);
  expect(place?.file).toMatch(/negative\.ts$|models/);
});
test.each(calls)("a mistake in a call of attention is a typed error", (run) => expect(run).toThrow(MallardError));

test("the examples have at run time the axes that their types say", async () => {
  await import("./use.js"); // throws where one differs
  await import("./std.js");
  await import("./stress.js");
  await import("./step.js");
});
