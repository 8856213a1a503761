// Keeps the syntax of functions: by function, by text, and on disk, so that a warm start loads no parser. That of the library's
// own functions comes with a build (scripts/captures.js), so that a first start seldom does. The key is
// the function's own text, which is all that its syntax depends on, so an entry is never stale; what a function
// captures, and the axes of the map it stands in, are no part of it, because reading the syntax is done afresh.
//
// The disk is only ever a help: a folder that is missing, full, read-only or another user's, and entries that are
// damaged, count as empty. An entry carries a digest of itself; it is written under another name and renamed.
import { createHash, randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Arrow } from "../../dsl/node.js";
import { parseFunction } from "./parse.js";
import { type FunctionSyntax, syntaxVersion } from "./syntax.js";
import { textOf } from "./text.js";

/** $MALLARD_CACHE, or `mallard` in the user's cache folder. */
export function defaultCacheFolder(env: Readonly<Record<string, string | undefined>> = process.env, platform: string = process.platform): string {
  if (env.MALLARD_CACHE) return env.MALLARD_CACHE;
  if (platform === "win32") return join(env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"), "mallard");
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "mallard");
  return join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "mallard");
}

const digest = (text: string) => createHash("sha256").update(text).digest("hex");

/** What the syntax of a text is found by. */
export const syntaxKey = (text: string): string => digest(`${syntaxVersion}\n${text}`);

const byFunction = new WeakMap<Arrow, FunctionSyntax>();
const byText = new Map<string, FunctionSyntax>();

/** `folder` null: no disk. */
export function syntaxOf(fn: Arrow, folder: string | null): FunctionSyntax {
  const known = byFunction.get(fn);
  if (known) return known;
  const text = textOf(fn);
  const key = syntaxKey(text);
  const syntax = byText.get(key) ?? fetch(key, text, folder);
  byText.set(key, syntax);
  byFunction.set(fn, syntax);
  return syntax;
}

/** Of the library's own functions, beside the code where a build left it. */
let shipped: Readonly<Record<string, FunctionSyntax>> | undefined;
function shippedWith(module: string): Readonly<Record<string, FunctionSyntax>> {
  try {
    return JSON.parse(readFileSync(new URL("../../captures.json", module), "utf8")).functions ?? {}; // as scripts/captures.js wrote it
  } catch {
    return {}; // run from source, where there is none
  }
}

function fetch(key: string, text: string, folder: string | null): FunctionSyntax {
  shipped ??= shippedWith(import.meta.url);
  const own = Object.hasOwn(shipped, key) ? shipped[key] : undefined;
  if (own) return own;
  const place = folder === null ? null : entry(folder, key);
  const stored = place && read(place);
  if (stored) return stored;
  const syntax = parseFunction(text);
  if (place) write(place, syntax);
  return syntax;
}

const entry = (folder: string, key: string) => join(folder, "capture", `${key}.json`);

/** What others can write to, they could make mean something else. */
function isOurs(path: string): boolean {
  const s = lstatSync(path);
  return !s.isSymbolicLink() && (typeof process.getuid !== "function" || (s.uid === process.getuid() && (s.mode & 0o022) === 0));
}

function read(path: string): FunctionSyntax | undefined {
  try {
    if (!isOurs(join(path, "..")) || !isOurs(path)) return undefined;
    const text = readFileSync(path, "utf8");
    const split = text.indexOf("\n");
    const body = text.slice(split + 1);
    return text.slice(0, split) === digest(body) ? (JSON.parse(body) as FunctionSyntax) : undefined; // the digest says that we wrote it
  } catch {
    return undefined;
  }
}

function write(path: string, syntax: FunctionSyntax): void {
  const body = JSON.stringify(syntax);
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString("hex")}`;
  try {
    mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
    if (!isOurs(join(path, ".."))) return;
    writeFileSync(temporary, `${digest(body)}\n${body}`, { mode: 0o600, flag: "wx" });
    renameSync(temporary, path);
  } catch {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // the folder is not one: there is nothing to remove
    }
  }
}
