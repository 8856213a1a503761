// Finds the system's C compiler and tells exactly which one it is. CC may hold arguments; it is split here and the
// program is started directly, so no text ever passes a shell. What identifies a compiler for the kernel cache is its
// version text and every macro it predefines under our flags, by which -march=native is resolved to this processor.
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";

/** No contraction but by explicit fma, no reordering, so that bits are the source's. errno is never looked at, and arenas
 *  are reused under other types. A target adds its own (`withFlags`). */
export const FLAGS: readonly string[] = ["-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-fPIC", "-pthread"];
/** How a compiler is told to use this very processor: the first spelling it takes. */
const NATIVE: readonly (readonly string[])[] = [["-march=native"], ["-mcpu=native"], []];
/** What GCC spends a seventh of its time on and kernels gain nothing from: loops without calls and branches have no common tails,
 *  jumps to thread or code to hoist, and nothing unwinds through them. clang does not know these names. */
const GCC_FLAGS = ["-fno-code-hoisting", "-fno-tree-tail-merge", "-fno-thread-jumps", "-fno-gcse", "-fno-asynchronous-unwind-tables"];
const CANDIDATES = ["cc", "gcc", "clang"];
const PROBE_MS = 30_000;

/** A process's environment, by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface Toolchain {
  /** Absolute path of the program. */
  readonly program: string;
  /** Arguments that came with CC. */
  readonly args: readonly string[];
  readonly flags: readonly string[];
  readonly version: string;
  /** The output of -dM -E, sorted. */
  readonly macros: string;
}
/** The same compiler with a target's flags, which come last and so prevail. How this processor is named stays the
 *  spelling that the compiler took. */
export const withFlags = (tool: Toolchain, flags: readonly string[]): Toolchain => ({
  ...tool,
  flags: [...tool.flags, ...flags.filter((f) => !tool.flags.includes(f) && !NATIVE.flat().includes(f))],
});
export interface ToolchainOptions {
  /** Instead of CC. */
  readonly cc?: string | undefined;
  readonly env?: Environment;
}

export interface Spawned {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
/** Starts a program without a shell and without standard input; `error` if it could not be started or took too long. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Environment; readonly timeout?: number } = {},
): Promise<E.Either<string, Spawned>> {
  return new Promise((settle) => {
    const child = spawn(program, args, { ...options, shell: false, stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (b: Buffer) => out.push(b));
    child.stderr.on("data", (b: Buffer) => err.push(b));
    child.on("error", (e) => settle(E.left(e.message)));
    child.on("close", (code, signal) =>
      settle(
        signal && options.timeout && code === null
          ? E.left(`ended by ${signal} (limit ${options.timeout} ms)`)
          : E.right({ code, stdout: Buffer.concat(out).toString("utf8"), stderr: Buffer.concat(err).toString("utf8") }),
      ),
    );
  });
}

/** Splits a command as a POSIX shell would: blanks separate; '…' is literal; in "…" and outside a backslash quotes the
 *  next character. Nothing is expanded. */
export function splitCommand(command: string): E.Either<DeviceError, readonly string[]> {
  const bad = (reason: string) => E.left(new DeviceError({ kind: "BadCommand", command, reason }));
  const words: string[] = [];
  let word: string | null = null;
  let quote: "'" | '"' | null = null;
  for (let i = 0; i < command.length; i++) {
    const c = command[i]!;
    if (c === "\0") return bad("a zero character");
    if (quote === "'") {
      if (c === "'") quote = null;
      else word += c;
    } else if (c === "\\") {
      const next = command[++i];
      if (next === undefined) return bad("a backslash at the end");
      // Within double quotes a backslash stands for itself except before these.
      word = (word ?? "") + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next);
    } else if (quote === '"') {
      if (c === '"') quote = null;
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (/\s/.test(c)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + c;
  }
  if (quote) return bad(`an open ${quote} quote`);
  if (word !== null) words.push(word);
  if (words.length === 0 || words[0] === "") return bad("no program");
  return E.right(words);
}

/** The file that a program's name stands for. Relative entries of PATH are left out: what they mean changes with the folder. */
export async function which(name: string, env: Environment): Promise<string | null> {
  const places = name.includes("/")
    ? [resolve(name)]
    : (env.PATH ?? "")
        .split(delimiter)
        .filter(isAbsolute)
        .map((folder) => join(folder, name));
  for (const place of places) {
    try {
      await access(place, constants.X_OK);
      if ((await stat(place)).isFile()) return place;
    } catch {
      // not here: the next place
    }
  }
  return null;
}

/** Macros a compiler predefines, by name. */
export function parseMacros(text: string): ReadonlyMap<string, string> {
  const out = new Map<string, string>();
  for (const line of text.split("\n")) {
    const m = /^#define (\w+)(?:\([^)]*\))? ?(.*)$/.exec(line);
    if (m) out.set(m[1]!, m[2]!.trim());
  }
  return out;
}

/** Why generated C cannot be trusted to this compiler, or null. */
export function unsuitable(macros: ReadonlyMap<string, string>): string | null {
  const gcc = Number(macros.get("__GNUC__") ?? 0);
  if (!macros.has("__clang__") && gcc === 0) return "it has no GNU C vector extensions (gcc and clang have them)";
  if (!macros.has("__clang__") && gcc < 7) return `GCC ${gcc} is too old: 7 or newer is needed`;
  if (macros.get("__SIZEOF_POINTER__") !== "8") return "it compiles for a processor of less than 64 bits";
  if (macros.get("__BYTE_ORDER__") !== "__ORDER_LITTLE_ENDIAN__") return "it compiles for a big-endian processor";
  for (const fast of ["__FAST_MATH__", "__ASSOCIATIVE_MATH__", "__RECIPROCAL_MATH__", "__NO_SIGNED_ZEROS__"])
    if (macros.has(fast)) return `fast-math is on (${fast}): results would depend on the compiler; take that flag out of CC`;
  if ((macros.get("__FINITE_MATH_ONLY__") ?? "0") !== "0") return "-ffinite-math-only is on: infinities and NaN would be lost; take it out of CC";
  const method = macros.get("__FLT_EVAL_METHOD__") ?? "0";
  if (method !== "0" && method !== "16") return `it evaluates f32 in a wider format (__FLT_EVAL_METHOD__ ${method})`;
  return null;
}

async function identify(program: string, args: readonly string[], env: Environment): Promise<E.Either<string, Toolchain>> {
  const macrosWith = (flags: readonly string[]) => run(program, [...args, ...flags, "-dM", "-E", "-x", "c", "/dev/null"], { env, timeout: PROBE_MS });
  const likely = [...FLAGS, ...(NATIVE[0] as readonly string[])];
  const [version, first] = await Promise.all([run(program, [...args, "--version"], { env, timeout: PROBE_MS }), macrosWith(likely)]);
  if (E.isLeft(version)) return version;
  if (version.right.code !== 0)
    return E.left(`--version ended with ${[version.right.code, firstLine(version.right.stderr)].filter((x) => x !== "").join(": ")}`);
  let refused = "";
  for (const native of NATIVE) {
    const flags = [...FLAGS, ...native];
    const probe = native === NATIVE[0] ? first : await macrosWith(flags);
    if (E.isLeft(probe)) return probe;
    if (probe.right.code !== 0) {
      refused = firstLine(probe.right.stderr);
      continue;
    }
    const macros = probe.right.stdout.split("\n").filter(Boolean).sort().join("\n");
    const known = parseMacros(macros);
    const reason = unsuitable(known);
    const own = known.has("__clang__") ? flags : [...flags, ...GCC_FLAGS];
    return reason ? E.left(reason) : E.right({ program, args, flags: own, version: version.right.stdout.trim(), macros });
  }
  return E.left(`it does not take ${FLAGS.join(" ")}: ${refused}`);
}
const firstLine = (text: string) => text.trim().split("\n")[0] ?? "";

/** The compiler of `cc`, else of CC, else the first of cc, gcc and clang that works. A compiler that was asked for by
 *  name is not replaced by another. */
export async function findToolchain(options: ToolchainOptions = {}): Promise<E.Either<DeviceError, Toolchain>> {
  const env = options.env ?? process.env;
  if (process.platform === "win32")
    return E.left(
      new DeviceError({ kind: "Unsupported", reason: "Windows has no POSIX threads", todo: "use it under WSL, or run with --device gpujs" }),
    );
  const asked = (options.cc ?? env.CC ?? "").trim();
  const commands: (readonly string[])[] = [];
  if (asked === "") commands.push(...CANDIDATES.map((c) => [c]));
  else if (isAbsolute(asked) && (await which(asked, env)))
    commands.push([asked]); // a path with blanks that nobody quoted
  else {
    const words = splitCommand(asked);
    if (E.isLeft(words)) return words;
    commands.push(words.right);
  }
  const tried: { command: string; reason: string }[] = [];
  for (const [name, ...args] of commands) {
    const program = await which(name!, env);
    const found = program ? await identify(program, args, env) : E.left(name!.includes("/") ? "no such program" : "not found in PATH");
    if (E.isRight(found)) return found;
    tried.push({ command: [name, ...args].join(" "), reason: found.left });
  }
  return E.left(new DeviceError({ kind: "NoCompiler", tried }));
}
