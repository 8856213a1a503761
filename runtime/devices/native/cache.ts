// The kernel cache: one folder an entry, named by its key, with a file and a manifest (key, size, SHA-256). The file is a shared
// object, or a compiled program that refers to one by its key (programs.ts).
//
// Publishing is atomic: an entry is built and written in a work folder of its own, synced, and renamed into place; when
// two processes build one key the second finds the first's entry there, and both succeed. Opening leaves no gap between
// check and use: files are opened without following links, everything is checked through the descriptor (owner, mode,
// kind, link count, size, hash), and the library is later loaded through that same descriptor (load.ts). An entry that
// fails any check is never used: it is removed, built again, and reported.
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import { build, type Unit, writeNew } from "./build.js";
import { isCode, reasonOf, self } from "./folder.js";
import type { Toolchain } from "./toolchain.js";

/** Raised whenever generated code and this runtime no longer fit together. */
export const ABI = 1;
/** What an entry holds beside its manifest. */
export type Content = "kernels.so" | "program.bin";
const LIBRARY: Content = "kernels.so";
const MANIFEST = "manifest.json";
const DAY = 86_400_000;
const UNUSED_DAYS = 60;
/** Bytes of all entries together; when there are more, those go that were not used for the longest time. */
const MOST_BYTES = 2 ** 30;

/** Of the machine and its compiler, all that compiled code depends on. */
export const machineParts = (tool: Toolchain): readonly string[] => [
  `abi ${ABI}`,
  process.platform,
  process.arch,
  tool.program,
  JSON.stringify([tool.args, tool.flags]),
  tool.version,
  tool.macros,
];
/** Everything the compiled code depends on. */
export const keyOf = (tool: Toolchain, units: readonly Unit[]): string =>
  digestOf([...machineParts(tool), ...units.flatMap((u) => [u.name, u.source])]);
/** Parts are length-prefixed: no two lists run together to one text. */
export function digestOf(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest("hex");
}

/** An open library: the descriptor and the very bytes that were verified. Whoever holds it closes it. */
export interface Verified {
  readonly fd: number;
  readonly path: string;
  readonly key: string;
  readonly bytes: Uint8Array;
}
/** Why an entry is not used. Foreign: somebody else made it or can change it. Corrupt: it is not what was written. */
export interface EntryFault {
  readonly fault: "Foreign" | "Corrupt";
  readonly path: string;
  readonly reason: string;
}
export interface Opened {
  readonly library: Verified;
  readonly built: boolean;
  /** The entry that stood there before and was refused. */
  readonly refused: EntryFault | null;
}
/** The user id that must own entries; tests stand another one in. */
export interface CacheOptions {
  readonly uid?: number;
  readonly jobs?: number;
  /** Bytes that the cache may have before a library is built. */
  readonly most?: number;
}

/** Opens a regular file of ours and reads it whole through its descriptor. */
function readOwn(path: string, limit: number, uid: number): E.Either<EntryFault | null, { readonly fd: number; readonly bytes: Uint8Array }> {
  const fail = (fault: EntryFault["fault"], reason: string) => E.left({ fault, path, reason });
  let fd: number;
  try {
    // O_NONBLOCK: opening a pipe that somebody put there must not wait for its writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    if (isCode(e, "ENOENT")) return E.left(null);
    return isCode(e, "ELOOP", "EMLINK") ? fail("Foreign", "is a symbolic link") : fail("Corrupt", reasonOf(e));
  }
  const close = <A>(result: A): A => {
    closeSync(fd);
    return result;
  };
  const s = fstatSync(fd);
  if (!s.isFile()) return close(fail("Foreign", "is not a regular file"));
  if (s.uid !== uid) return close(fail("Foreign", `belongs to user ${s.uid}`));
  if ((s.mode & 0o022) !== 0) return close(fail("Foreign", "can be written by others"));
  if (s.nlink !== 1) return close(fail("Foreign", `has ${s.nlink} names`));
  if (s.size > limit) return close(fail("Corrupt", `is larger than ${limit} bytes`));
  const bytes = new Uint8Array(s.size);
  try {
    let done = 0;
    while (done < bytes.length) {
      const n = readSync(fd, bytes, done, bytes.length - done, done);
      if (n === 0) return close(fail("Corrupt", "is shorter than its size"));
      done += n;
    }
  } catch (e) {
    return close(fail("Corrupt", reasonOf(e)));
  }
  return E.right({ fd, bytes });
}

/** null: there is no entry. */
export function openEntry(
  folder: string,
  key: string,
  options: CacheOptions = {},
  content: Content = LIBRARY,
): E.Either<EntryFault | null, Verified> {
  const uid = options.uid ?? self();
  const entry = join(folder, key);
  try {
    const s = lstatSync(entry);
    if (s.isSymbolicLink() || !s.isDirectory()) return E.left({ fault: "Foreign", path: entry, reason: "is not a folder of its own" });
    if (s.uid !== uid) return E.left({ fault: "Foreign", path: entry, reason: `belongs to user ${s.uid}` });
    if ((s.mode & 0o022) !== 0) return E.left({ fault: "Foreign", path: entry, reason: "can be written by others" });
  } catch (e) {
    return E.left(isCode(e, "ENOENT") ? null : { fault: "Corrupt", path: entry, reason: reasonOf(e) });
  }
  const missing = (name: string): EntryFault => ({ fault: "Corrupt", path: join(entry, name), reason: "is missing" });
  const manifest = readOwn(join(entry, MANIFEST), 4096, uid);
  if (E.isLeft(manifest)) return E.left(manifest.left ?? missing(MANIFEST));
  const corrupt = (name: string, reason: string) => E.left<EntryFault>({ fault: "Corrupt", path: join(entry, name), reason });
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(manifest.right.bytes).toString("utf8"));
    const now = new Date();
    futimesSync(manifest.right.fd, now, now); // when it was last used, for the sweep
  } catch (e) {
    return corrupt(MANIFEST, reasonOf(e));
  } finally {
    closeSync(manifest.right.fd);
  }
  if (typeof claims !== "object" || claims === null || !("key" in claims) || !("sha256" in claims) || claims.key !== key)
    return corrupt(MANIFEST, "is the manifest of something else");
  const file = readOwn(join(entry, content), 2 ** 30, uid);
  if (E.isLeft(file)) return E.left(file.left ?? missing(content));
  const { fd, bytes } = file.right;
  if (createHash("sha256").update(bytes).digest("hex") !== claims.sha256) {
    closeSync(fd);
    return corrupt(content, "does not have the content that was recorded");
  }
  return E.right({ fd, path: join(entry, content), key, bytes });
}

const syncFolder = (path: string) => {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
/** Renamed away first, so that nobody meets half an entry; a link is removed, not what it leads to. */
export function discard(folder: string, key: string): void {
  const away = join(folder, `.trash-${randomBytes(8).toString("hex")}`);
  try {
    renameSync(join(folder, key), away);
  } catch (e) {
    if (isCode(e, "ENOENT")) return; // another process was faster
    throw e;
  }
  try {
    rmSync(away, { recursive: true, force: true });
  } catch {
    // Another user's files inside: out of the way is enough, and the sweep tries again.
  }
}

/** Makes an entry within `work` and puts it in place; what it opens is that or the one that another process put there first.
 *  Left says why there is none. */
function publish(
  folder: string,
  work: string,
  key: string,
  content: Content,
  bytes: Uint8Array,
  options: CacheOptions,
): E.Either<string, { readonly entry: Verified; readonly refused: EntryFault | null }> {
  const manifest = JSON.stringify({ key, sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length });
  // A program is soon made again of its library; what a crash tears fails its check.
  const lasting = content === LIBRARY;
  let refused: EntryFault | null = null;
  for (let attempt = 0; attempt < 5; attempt++) {
    const made = join(work, `entry-${attempt}`);
    mkdirSync(made, { mode: 0o700 });
    writeNew(join(made, content), bytes, lasting);
    writeNew(join(made, MANIFEST), manifest, lasting);
    if (lasting) syncFolder(made);
    try {
      // Fails on an entry that is there, be it another builder's or a bad one. (A file is ENOTDIR.)
      renameSync(made, join(folder, key));
      if (lasting) syncFolder(folder);
    } catch (e) {
      if (!isCode(e, "EEXIST", "ENOTEMPTY", "ENOTDIR")) throw e;
    }
    const opened = openEntry(folder, key, options, content);
    if (E.isRight(opened)) return E.right({ entry: opened.right, refused });
    if (opened.left === null) continue; // swept away by another process between the two calls
    refused ??= opened.left;
    discard(folder, key);
  }
  return E.left(`the entry ${key} is replaced over and over: ${refused?.path ?? ""} ${refused?.reason ?? "vanishes"}`);
}
/** Keeps bytes under a key. Throws what the file system says. */
export function keep(folder: string, key: string, content: Content, bytes: Uint8Array): void {
  const work = mkdtempSync(join(folder, ".work-"));
  try {
    const published = publish(folder, work, key, content, bytes, {});
    if (E.isRight(published)) closeSync(published.right.entry.fd);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The library of these units: from the cache, or compiled now. `folder` has been checked (folder.ts). */
export async function obtain(
  folder: string,
  tool: Toolchain,
  units: readonly Unit[],
  options: CacheOptions = {},
): Promise<E.Either<DeviceError, Opened>> {
  const key = keyOf(tool, units);
  const failed = (reason: string) => new DeviceError({ kind: "CacheFailed", folder, reason });
  let refused: EntryFault | null = null;
  let work: string | null = null;
  try {
    const known = openEntry(folder, key, options);
    if (E.isRight(known)) return E.right({ library: known.right, built: false, refused });
    refused = known.left;
    sweep(folder, options.most ?? MOST_BYTES);
    work = mkdtempSync(join(folder, ".work-"));
    const keep = (unit: Unit) => {
      const file = join(folder, `refused-${unit.name}-${key.slice(0, 12)}.c`);
      rmSync(file, { force: true });
      writeFileSync(file, unit.source, { flag: "wx", mode: 0o600 });
      return file;
    };
    const compiled = await build(tool, units, key, work, keep, options.jobs);
    if (E.isLeft(compiled)) return compiled;
    // The bytes are written anew rather than the linker's file moved: one name, mode 0600, whatever the umask was.
    const published = publish(folder, work, key, LIBRARY, readFileSync(compiled.right), options);
    if (E.isLeft(published)) return E.left(failed(published.left));
    return E.right({ library: published.right.entry, built: true, refused: refused ?? published.right.refused });
  } catch (e) {
    return E.left(failed(reasonOf(e)));
  } finally {
    if (work) rmSync(work, { recursive: true, force: true });
  }
}

const swept = new Set<string>();
/** Once a process: work folders that a killed process left, entries that nobody has used for long, and more than the bound. */
function sweep(folder: string, most: number): void {
  if (swept.has(folder)) return;
  swept.add(folder);
  const now = Date.now();
  const entries: { readonly path: string; readonly used: number; readonly bytes: number }[] = [];
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const isEntry = /^[0-9a-f]{64}$/.test(name);
    const days = name.startsWith(".work-") || name.startsWith(".trash-") ? 1 : isEntry || name.startsWith("refused-") ? UNUSED_DAYS : null;
    if (days === null) continue;
    try {
      // An entry's manifest is touched on each use; a folder's own time tells when it was made.
      const used = (isEntry ? lstatSync(join(path, MANIFEST)) : lstatSync(path)).mtimeMs;
      if (now - used > days * DAY) rmSync(path, { recursive: true, force: true });
      else if (isEntry) entries.push({ path, used, bytes: readdirSync(path).reduce((n, file) => n + lstatSync(join(path, file)).size, 0) });
    } catch {
      // Gone meanwhile, or no entry at all: openEntry judges it when it is asked for.
    }
  }
  let bytes = entries.reduce((n, e) => n + e.bytes, 0);
  for (const e of entries.sort((a, b) => a.used - b.used)) {
    if (bytes <= most) return;
    bytes -= e.bytes;
    try {
      rmSync(e.path, { recursive: true, force: true });
    } catch {
      // Another process was faster, or may do it.
    }
  }
}
