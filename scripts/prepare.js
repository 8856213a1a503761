// Makes a checkout ready to run: installs the packages that the lockfile names and are not there, then builds. Plain
// Node without packages, because it runs before there are any; called by start.js, test.js and bench.js.
//
// - Development packages are installed too, whatever NODE_ENV or npm's own settings say: the build and the tests are
//   made of them. Nothing here needs install scripts, so --ignore-scripts is fine.
// - Not repeated: installed packages are compared with the lockfile, one by one; the compiler builds incrementally.
// - Several at once in one checkout wait for each other (a lock file with the holder's process id; a dead one's is
//   taken over).
import { spawnSync } from "node:child_process";
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const say = (line) => process.stderr.write(`${line}\n`);
const wait = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Installs and builds; returns false (after a message) where that failed. */
export function prepare() {
  const [major] = process.versions.node.split(".").map(Number);
  if (major < 20) {
    say(`Mallard needs Node.js 20 or newer; this is ${process.version}. Get one from https://nodejs.org`);
    return false;
  }
  return locked(() => install() && build());
}

// ─── packages ────────────────────────────────────────────────────────────────────────────────────────

function install() {
  const missing = missingPackages();
  if (missing.length === 0) return true;
  say(`Installing packages (${missing.slice(0, 3).join(", ")}${missing.length > 3 ? `, and ${missing.length - 3} more` : ""})…`);
  // With the lockfile's versions, as `ci` would, but keeping what is there; and it leaves the lockfile itself alone.
  const code = npm(["install", "--no-save", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (code !== 0) {
    say(`npm install failed with exit code ${code}: see its message above (a network or registry problem needs solving first), then run this again`);
    return false;
  }
  const left = missingPackages();
  if (left.length === 0) return true;
  say(`npm install ended without ${left.join(", ")}: delete node_modules and run this again`);
  return false;
}

/** The packages that belong here by the lockfile and are not installed, or not in its version. */
function missingPackages() {
  const wanted = json(join(root, "package-lock.json"))?.packages;
  if (!wanted) throw new Error("package-lock.json is missing or damaged: restore it with `git checkout package-lock.json`");
  const found = json(join(root, "node_modules/.package-lock.json"))?.packages ?? {};
  return reachable(wanted)
    .filter((path) => found[path]?.version !== wanted[path].version || !existsSync(join(root, path, "package.json")))
    .map((path) => path.replace(/^.*node_modules\//, ""));
}

/** The lockfile lists packages for every platform. Those needed here are found from the root, along all kinds of
 *  dependencies, not through a package that does not run here. */
function reachable(packages) {
  const seen = new Set([""]);
  for (const from of seen) {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = packages[from];
    const names = Object.keys({ ...dependencies, ...(from === "" ? devDependencies : {}), ...optionalDependencies, ...peerDependencies });
    for (const name of names) {
      const to = resolvePackage(packages, from, name);
      if (to !== null && runsHere(packages[to])) seen.add(to);
    }
  }
  seen.delete("");
  return [...seen];
}

/** As Node does: the nearest node_modules upwards that has it. Null for a peer nobody installs. */
function resolvePackage(packages, from, name) {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/")))) {
    const path = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (path in packages) return path;
    if (at === "") return null;
  }
}

/** By the `os`, `cpu` and `libc` fields of package.json: lists of names, each perhaps negated. */
function runsHere({ os, cpu, libc }) {
  const allows = (list, mine) => !list || (list.some((x) => !x.startsWith("!")) ? list.includes(mine) : !list.includes(`!${mine}`));
  return allows(os, process.platform) && allows(cpu, process.arch) && (process.platform !== "linux" || allows(libc, libcHere()));
}
let libcName = "";
function libcHere() {
  if (libcName === "") libcName = process.report.getReport().header.glibcVersionRuntime ? "glibc" : "musl";
  return libcName;
}

function npm(args) {
  const script = process.env.npm_execpath;
  const [command, first] = script?.endsWith(".js") ? [process.execPath, [script]] : [process.platform === "win32" ? "npm.cmd" : "npm", []];
  const done = spawnSync(command, [...first, ...args], { cwd: root, stdio: ["ignore", 2, 2], shell: command.endsWith(".cmd") });
  if (done.error) say(`${command} cannot be run: ${done.error.message}`);
  return done.status ?? 1;
}

// ─── build ───────────────────────────────────────────────────────────────────────────────────────────

function build() {
  const done = node(["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], ["ignore", 2, 2]);
  if (done === 0 && !existsSync(join(root, "dist/cli/main.js"))) {
    // The record of the last build is there, its outputs are not: build everything.
    rmSync(join(root, "dist"), { recursive: true, force: true });
    return node(["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], ["ignore", 2, 2]) === 0 && captures("dist");
  }
  if (done !== 0) say("The build failed: see the compiler's messages above.");
  return done === 0 && captures("dist");
}
/** Reads the library's own arrow functions (captures.js); what stops that is its defect, and said. */
export function captures(folder) {
  if (!existsSync(join(root, "scripts/captures.js"))) return true;
  const done = node(["scripts/captures.js", folder], ["ignore", 2, 2]) === 0;
  if (!done) say("The library's functions cannot be read: see the message above.");
  return done;
}

export const node = (args, stdio = "inherit", env = process.env) => spawnSync(process.execPath, args, { cwd: root, stdio, env }).status ?? 1;

export function json(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}

// ─── one at a time ───────────────────────────────────────────────────────────────────────────────────

function locked(work) {
  const lock = join(root, ".mallard/prepare.lock");
  mkdirSync(dirname(lock), { recursive: true });
  const mine = `${process.pid}`;
  for (let tries = 0; ; tries++) {
    try {
      writeFileSync(lock, mine, { flag: "wx" });
      break;
    } catch (thrown) {
      if (thrown.code !== "EEXIST") throw thrown;
    }
    takeOverIfDead(lock);
    if (tries === 10) say("Waiting for another install or build in this checkout…");
    wait(100);
  }
  const release = () => rmSync(lock, { force: true });
  process.once("exit", release);
  try {
    return work();
  } finally {
    release();
    process.off("exit", release);
  }
}

/** Renaming makes one taker of several; should the lock have changed hands in between, it is put back. */
function takeOverIfDead(lock) {
  const holder = read(lock);
  // Empty: its holder has made it and not written to it yet.
  if (holder === null || holder === "" || alive(Number(holder))) return;
  const aside = `${lock}.${process.pid}`;
  try {
    renameSync(lock, aside);
    if (read(aside) !== holder) linkSync(aside, lock);
  } catch (thrown) {
    if (thrown.code !== "ENOENT" && thrown.code !== "EEXIST") throw thrown;
  }
  rmSync(aside, { force: true });
}
function alive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown.code === "EPERM";
  }
}
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
