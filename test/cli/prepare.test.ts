// scripts/prepare.js in a checkout of its own, with an npm and a compiler that only note that they were called.
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporary } from "../train/fixtures.js";
import { type Ran, root, runNode } from "./mallard.js";

const NPM = `
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
appendFileSync("calls.log", process.argv.slice(2).join(" ") + "\\n");
await new Promise((done) => setTimeout(done, 300));
const packages = {};
for (const [path, version] of [["node_modules/a", "1.0.0"], ["node_modules/typescript", "7.0.0"]]) {
  mkdirSync(path + "/bin", { recursive: true });
  writeFileSync(path + "/package.json", "{}");
  packages[path] = { version };
}
writeFileSync("node_modules/typescript/bin/tsc", \`
  const fs = require("node:fs");
  fs.appendFileSync("calls.log", "tsc\\\\n");
  fs.mkdirSync("dist/cli", { recursive: true });
  fs.writeFileSync("dist/cli/main.js", fs.readFileSync("main.js"));
\`);
writeFileSync("node_modules/.package-lock.json", JSON.stringify({ packages }));
`;
const LOCK = {
  packages: {
    "": { dependencies: { a: "^1.0.0" }, devDependencies: { typescript: "^7.0.0" }, optionalDependencies: { elsewhere: "1.0.0" } },
    "node_modules/a": { version: "1.0.0", optionalDependencies: { "a-elsewhere": "1.0.0" } },
    "node_modules/a-elsewhere": { version: "1.0.0", optional: true, os: ["nowhere"], dependencies: { "only-there": "1.0.0" } },
    "node_modules/elsewhere": { version: "1.0.0", optional: true, cpu: [`!${process.arch}`] },
    "node_modules/only-there": { version: "1.0.0", optional: true },
    "node_modules/typescript": { version: "7.0.0", dev: true },
  },
};

const MAIN = `
console.log(JSON.stringify(process.argv.slice(2)));
if (process.argv.includes("--wait")) {
  process.on("SIGINT", () => process.exit(130));
  setInterval(() => {}, 1000);
  console.log("waiting");
} else process.exitCode = 3;
`;

function checkout(): { readonly path: string; prepare(env?: NodeJS.ProcessEnv): Promise<Ran>; calls(): string[]; [Symbol.dispose](): void } {
  const folder = temporary();
  const at = (...parts: string[]): string => join(folder.path, ...parts);
  mkdirSync(at("scripts"));
  for (const name of ["prepare.js", "start.js"]) copyFileSync(join(root, "scripts", name), at("scripts", name));
  writeFileSync(at("main.js"), MAIN);
  writeFileSync(at("package.json"), '{ "type": "module" }');
  writeFileSync(at("package-lock.json"), JSON.stringify(LOCK));
  writeFileSync(at("npm-cli.js"), NPM);
  return {
    path: folder.path,
    prepare: (env = {}) =>
      runNode(["-e", 'import("./scripts/prepare.js").then((m) => process.exit(m.prepare() ? 0 : 1))'], {
        cwd: folder.path,
        env: { npm_execpath: at("npm-cli.js"), ...env },
      }),
    calls: () => readFileSync(at("calls.log"), "utf8").trimEnd().split("\n"),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}
const installs = (calls: readonly string[]): string[] => calls.filter((c) => c.startsWith("install"));

test("installs development packages too, whatever NODE_ENV says, and then builds", async () => {
  using c = checkout();
  const ran = await c.prepare({ NODE_ENV: "production" });
  expect(ran).toMatchObject({ code: 0, stdout: "" });
  expect(c.calls()).toEqual(["install --no-save --include=dev --include=optional --no-audit --no-fund --loglevel=error", "tsc"]);
});
test("does not install again, though packages of other platforms are not there", async () => {
  using c = checkout();
  await c.prepare();
  expect((await c.prepare()).code).toBe(0);
  expect(c.calls().map((call) => call.split(" ")[0])).toEqual(["install", "tsc", "tsc"]);
});
test("installs again where a package is gone or the lockfile wants another version", async () => {
  using c = checkout();
  await c.prepare();
  rmSync(join(c.path, "node_modules/a"), { recursive: true });
  await c.prepare();
  expect(installs(c.calls())).toHaveLength(2);
  const lock = structuredClone(LOCK);
  lock.packages["node_modules/a"].version = "1.1.0";
  writeFileSync(join(c.path, "package-lock.json"), JSON.stringify(lock));
  // The npm of this test installs 1.0.0 for ever.
  const ran = await c.prepare();
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain("npm install ended without a");
});
test("several at once install once", async () => {
  using c = checkout();
  const all = await Promise.all([c.prepare(), c.prepare(), c.prepare()]);
  expect(all.map((r) => r.code)).toEqual([0, 0, 0]);
  expect(installs(c.calls())).toHaveLength(1);
});
test("a lock left by a dead process is taken over", async () => {
  using c = checkout();
  mkdirSync(join(c.path, ".mallard"));
  // A process id above the greatest that systems give.
  writeFileSync(join(c.path, ".mallard/prepare.lock"), "99999999");
  const all = await Promise.all([c.prepare(), c.prepare()]);
  expect(all.map((r) => r.code)).toEqual([0, 0]);
  expect(installs(c.calls())).toHaveLength(1);
});
test("a failing npm is reported and nothing is built", async () => {
  using c = checkout();
  writeFileSync(join(c.path, "npm-cli.js"), 'import { appendFileSync } from "node:fs"; appendFileSync("calls.log", "install\\n"); process.exit(7);');
  const ran = await c.prepare();
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain("npm install failed with exit code 7");
  expect(c.calls()).toEqual(["install"]);
});
test("builds anew where the outputs are gone but the compiler's record of them is not", async () => {
  using c = checkout();
  await c.prepare();
  rmSync(join(c.path, "dist/cli"), { recursive: true });
  writeFileSync(
    join(c.path, "node_modules/typescript/bin/tsc"),
    `const fs = require("node:fs");
fs.appendFileSync("calls.log", "tsc\\n");
if (!fs.existsSync("dist")) { fs.mkdirSync("dist/cli", { recursive: true }); fs.writeFileSync("dist/cli/main.js", ""); }`,
  );
  expect((await c.prepare()).code).toBe(0);
  expect(c.calls().slice(2)).toEqual(["tsc", "tsc"]);
});

test("npm start passes arguments on and ends as the training does", async () => {
  using c = checkout();
  const ran = await runNode(["scripts/start.js", "--steps", "5"], { cwd: c.path, env: { npm_execpath: join(c.path, "npm-cli.js") } });
  expect(ran.code).toBe(3);
  expect(ran.stdout).toBe('["train","--steps","5"]\n');
});
test("npm start hands a signal on and waits for the end", async () => {
  using c = checkout();
  await c.prepare();
  const child = spawn(process.execPath, ["scripts/start.js", "--wait"], { cwd: c.path, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((done) => child.on("close", (code) => done(code)));
  for await (const data of child.stdout) if (String(data).includes("waiting")) break;
  child.kill("SIGINT");
  expect(await ended).toBe(130);
});
