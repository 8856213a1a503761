// What this machine has of what devices need, found by trying it: the findings behind `mallard doctor`.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type Either, isLeft } from "fp-ts/lib/Either.js";
import { openFolder } from "../devices/native/folder.js";
import { findToolchain, run as spawnTool, type Toolchain } from "../devices/native/toolchain.js";
import { DEVICES } from "./config.js";
import { DEVICE_CHECKS, webgpuFound } from "./devices.js";
import { textOf } from "./problem.js";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or why it does not work and what to do. */
  readonly detail: string;
}
export interface Findings {
  readonly devices: readonly Check[];
  readonly checks: readonly Check[];
}
export async function examine(): Promise<Findings> {
  const checks = [
    node(),
    ...(await compiler()),
    cache(),
    await loads("koffi", "loads compiled kernels"),
    await loads("ts-morph", "reads arrow functions"),
    threads(),
  ];
  const devices: Check[] = [];
  for (const name of DEVICES) {
    if (name === "webgpu") {
      devices.push(check(name, await webgpuFound(), "works: "));
      continue;
    }
    const why = await DEVICE_CHECKS[name]();
    devices.push({ name, ok: why === null, detail: why ?? ABOUT[name] });
  }
  checks.push(check("SwiftShader", await webgpuFound("software"), "webgpu on the processor, for tests (--adapter software): "));
  return { devices, checks };
}

const ABOUT = {
  native: "works: C compiled for this processor, the default",
  gpujs: "works: portable, slow",
  js: "works: the f64 oracle, for checking",
} as const satisfies Record<Exclude<(typeof DEVICES)[number], "webgpu">, string>;
const check = (name: string, found: Either<string, string>, before: string): Check =>
  isLeft(found) ? { name, ok: false, detail: found.left } : { name, ok: true, detail: before + found.right };

function node(): Check {
  const major = Number(process.versions.node.split(".")[0]);
  return { name: "Node.js", ok: major >= 20, detail: major >= 20 ? process.version : `${process.version} is too old: install Node.js 20 or newer` };
}

async function compiler(): Promise<Check[]> {
  const found = await findToolchain();
  if (isLeft(found)) return [{ name: "C compiler", ok: false, detail: found.left.message }];
  const name = `${found.right.version.split("\n")[0]} (${[found.right.program, ...found.right.args].join(" ")})`;
  const why = await tinyProgram(found.right);
  return [{ name: "C compiler", ok: why === null, detail: why === null ? name : `${name} ${why}` }];
}

/** Compiles and runs a program that needs headers, the maths library and vector extensions; null where all is well. */
async function tinyProgram(tool: Toolchain): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), "mallard-doctor-"));
  try {
    const source = join(folder, "tiny.c");
    const binary = join(folder, "tiny");
    await writeFile(
      source,
      '#include <math.h>\n#include <stdio.h>\ntypedef float v4 __attribute__((vector_size(16)));\nint main(int n, char **a) { v4 x = {1, 2, 3, 4}; x = x * x + (float)n; printf("%g\\n", fma(x[3], 2.0, (double)x[0])); return 0; }\n',
    );
    const built = await spawnTool(tool.program, [...tool.args, ...tool.flags, source, "-o", binary, "-lm"], { cwd: folder, timeout: 60_000 });
    if (isLeft(built)) return `cannot be run: ${built.left}`;
    if (built.right.code !== 0)
      return `compiles nothing: ${built.right.stderr.trim()}\n(Debian: apt install gcc libc6-dev; macOS: xcode-select --install)`;
    const ran = await spawnTool(binary, [], { timeout: 60_000 });
    if (isLeft(ran)) return `makes programs that do not run: ${ran.left}`;
    return ran.right.code === 0 && ran.right.stdout.trim() === "36"
      ? null
      : `makes programs that compute wrongly: ${ran.right.stdout.trim()} instead of 36`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function cache(): Check {
  const folder = openFolder();
  if (isLeft(folder)) return { name: "Cache", ok: false, detail: folder.left.message };
  return { name: "Cache", ok: folder.right.notice === null, detail: folder.right.notice ?? folder.right.path };
}

async function loads(name: "koffi" | "ts-morph", role: string): Promise<Check> {
  try {
    await (name === "koffi" ? import("koffi") : import("ts-morph"));
    return { name, ok: true, detail: role };
  } catch (thrown) {
    return { name, ok: false, detail: `${role}, but does not load: ${textOf(thrown)}; install again with \`npm install --include=optional\`` };
  }
}

const threads = (): Check => ({ name: "Threads", ok: true, detail: `${availableParallelism()} used by default` });
