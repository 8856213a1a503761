// The folder that compiled kernels are kept in, and whether it is safe to load code from. Code from a folder that
// another user can change is that user's code running as us: so the folder must be ours alone to write, and everybody
// who could replace one of its ancestors must be us or root. A folder that was asked for by name and is unsafe is an
// error; where the usual one is unsafe or cannot be made, a fresh private one serves for this process, and a line says so.
import { existsSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, isAbsolute, join, resolve, sep } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import type { Environment } from "./toolchain.js";

export interface CacheFolder {
  readonly path: string;
  /** Set when a private folder replaces the usual one: the line that tells the user. */
  readonly notice: string | null;
}
/** What a check reads of a file; tests stand other owners in. */
export type Look = (path: string) => {
  readonly uid: number;
  readonly mode: number;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
};
export interface FolderOptions {
  readonly dir?: string | undefined;
  readonly env?: Environment;
  readonly look?: Look;
  /** Where private folders go. */
  readonly temp?: string;
}

export const self = (): number => process.getuid?.() ?? -1;
const octal = (mode: number) => (mode & 0o7777).toString(8).padStart(4, "0");

/** The first thing wrong with a folder we want to load code from, or null. `folder` is absolute and has no links before
 *  its last name. */
export function unsafe(folder: string, look: Look = lstatSync): { readonly path: string; readonly reason: string; readonly todo: string } | null {
  const names = folder.split(sep).filter(Boolean);
  for (let i = names.length; i >= 0; i--) {
    const path = sep + names.slice(0, i).join(sep);
    const last = i === names.length;
    const s = look(path);
    const bad = (reason: string, todo: string) => ({ path, reason, todo });
    if (s.isSymbolicLink()) return bad("is a symbolic link", `remove it or name the folder it leads to with MALLARD_CACHE`);
    if (!s.isDirectory()) return bad("is not a folder", "name another one with MALLARD_CACHE");
    if (last ? s.uid !== self() : s.uid !== self() && s.uid !== 0)
      return bad(`belongs to user ${s.uid}`, "name a folder of your own with MALLARD_CACHE");
    // In a sticky folder (/tmp) others can add names but neither rename nor remove ours.
    const shared = (s.mode & 0o022) !== 0 && (last || (s.mode & 0o1000) === 0);
    if (shared) return bad(`can be written by others (mode ${octal(s.mode)})`, `run chmod go-w ${path}, or name another folder with MALLARD_CACHE`);
  }
  return null;
}

function usual(env: Environment): string {
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "mallard");
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".cache"), "mallard");
}

/** Makes the folder if need be (0700, and so its missing parents) and checks it. The result's path has no links. */
function prepare(folder: string, look: Look): E.Either<DeviceError, string> {
  const wanted = resolve(folder);
  try {
    mkdirSync(dirname(wanted), { recursive: true, mode: 0o700 });
    // Links above are resolved now; what they lead to is checked, so it is of no account who could change them later.
    const path = join(realpathSync(dirname(wanted)), basename(wanted));
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (e) {
      if (!isCode(e, "EEXIST")) throw e;
    }
    const fault = unsafe(path, look);
    return fault ? E.left(new DeviceError({ kind: "UnsafeFolder", folder: path, ...fault })) : E.right(path);
  } catch (e) {
    return E.left(new DeviceError({ kind: "CacheFailed", folder: wanted, reason: reasonOf(e) }));
  }
}

export const isCode = (e: unknown, ...codes: readonly string[]): boolean =>
  e instanceof Error && "code" in e && typeof e.code === "string" && codes.includes(e.code);
export const reasonOf = (e: unknown): string => (e instanceof Error ? e.message : String(e));

const privates = new Set<string>();
function removePrivates(): void {
  for (const path of privates) rmSync(path, { recursive: true, force: true });
}
/** A folder for this process alone, gone when it ends. */
export function privateFolder(look: Look = lstatSync, temp: string = tmpdir()): E.Either<DeviceError, string> {
  try {
    const path = mkdtempSync(join(realpathSync(temp), "mallard-"));
    if (privates.size === 0) process.once("exit", removePrivates);
    privates.add(path);
    const fault = unsafe(path, look);
    return fault ? E.left(new DeviceError({ kind: "UnsafeFolder", folder: path, ...fault })) : E.right(path);
  } catch (e) {
    return E.left(new DeviceError({ kind: "CacheFailed", folder: temp, reason: reasonOf(e) }));
  }
}

/** The process's one replacement, so that what was compiled into it is found again. */
let fallback: string | null = null;

export function openFolder(options: FolderOptions = {}): E.Either<DeviceError, CacheFolder> {
  const env = options.env ?? process.env;
  const look = options.look ?? lstatSync;
  const asked = options.dir || env.MALLARD_CACHE;
  const found = prepare(asked || usual(env), look);
  if (E.isRight(found)) return E.right({ path: found.right, notice: null });
  if (asked) return found;
  const own = fallback && existsSync(fallback) && options.temp === undefined ? E.right(fallback) : privateFolder(look, options.temp);
  if (E.isLeft(own)) return own;
  if (options.temp === undefined) fallback = own.right;
  return E.right({ path: own.right, notice: `${found.left.message}. For now kernels are compiled into ${own.right}, for this process alone` });
}
