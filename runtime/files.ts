// Files that are whole or not there. A file is written beside its place under a temporary name, brought to the disk,
// and renamed: whoever reads the name sees the old content or the new, also after a crash. Metrics are JSON lines: each
// record is appended by one write, and a line that a crash tore is taken off when the file is opened again.
import { randomBytes } from "node:crypto";
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as E from "fp-ts/lib/Either.js";

/** `doing` and `path` say what failed; the message adds the system's reason and what to do. */
export class FileError extends Error {
  override readonly name = "FileError";
  readonly code: string | null;
  constructor(
    readonly doing: "write" | "read" | "append to",
    readonly path: string,
    cause: unknown,
  ) {
    const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : null;
    const todo = code === null ? "" : (TODO[code] ?? "");
    super(`cannot ${doing} ${path}: ${cause instanceof Error ? cause.message : String(cause)}${todo}`, { cause });
    this.code = code;
  }
}
/** By the system's code. Others speak for themselves, so this table is not total. */
const TODO: Readonly<Record<string, string>> = {
  ENOENT: ". The file or its folder does not exist: check the path",
  EACCES: ". Choose a place you may write, or change the folder's permissions",
  EROFS: ". The file system is read-only: choose another place",
  ENOSPC: ". The disk is full: free some space; what was there before is untouched",
  EISDIR: ". There is a folder of that name",
};

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Replaces the file's content, or leaves it as it was. An existing file keeps its permissions. */
export async function writeAtomic(path: string, data: string | Uint8Array | Chunks): Promise<E.Either<FileError, void>> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const before = await stat(path).catch(() => null);
    if (before?.isDirectory()) throw Object.assign(new Error("EISDIR: it is a folder"), { code: "EISDIR" });
    const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0), 0o666);
    try {
      if (before) await file.chmod(before.mode & 0o777);
      const chunks = typeof data === "string" ? [Buffer.from(data)] : data instanceof Uint8Array ? [data] : data;
      for await (const chunk of chunks) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
    return E.right(undefined);
  } catch (e) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first failure is the one to report
    return E.left(new FileError("write", path, e));
  }
}

/** Makes the rename itself last. Some systems cannot sync a folder; there the rename lasts as well as they can make it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY).catch(() => null);
  if (!handle) return;
  try {
    await handle.sync().catch(() => undefined);
  } finally {
    await handle.close();
  }
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** JSON has no NaN and no infinities, and a metric may be one: they are written as the strings "NaN", "Infinity", "-Infinity". */
export const toLine = (record: Json): string =>
  JSON.stringify(record, (_, v: unknown) => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v)) + "\n";

/** Appends records to a file, one a line. */
export class JsonLines {
  #fd: number | null;
  private constructor(
    readonly path: string,
    fd: number,
  ) {
    this.#fd = fd;
  }
  /** Makes the file or goes on with it; a torn last line is taken off. */
  static open(path: string): E.Either<FileError, JsonLines> {
    let fd: number | null = null;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, 0o666);
      const end = lastLineEnd(fd);
      if (end < fstatSync(fd).size) ftruncateSync(fd, end);
      return E.right(new JsonLines(path, fd));
    } catch (e) {
      if (fd !== null) closeSync(fd);
      return E.left(new FileError("append to", path, e));
    }
  }
  append(record: Json): E.Either<FileError, void> {
    return this.#with((fd) => {
      const bytes = Buffer.from(toLine(record));
      const done = writeSync(fd, bytes);
      if (done < bytes.length) {
        // The disk is full: half a line must not stay for the next record to continue.
        ftruncateSync(fd, fstatSync(fd).size - done);
        throw Object.assign(new Error("the record was not written whole"), { code: "ENOSPC" });
      }
    });
  }
  /** Brings what was appended to the disk. */
  sync(): E.Either<FileError, void> {
    return this.#with(fsyncSync);
  }
  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }
  [Symbol.dispose](): void {
    this.close();
  }
  #with(action: (fd: number) => void): E.Either<FileError, void> {
    try {
      if (this.#fd === null) throw new Error("the file has been closed");
      return E.right(action(this.#fd));
    } catch (e) {
      return E.left(new FileError("append to", this.path, e));
    }
  }
}

/** The offset behind the last line feed, 0 if there is none. */
function lastLineEnd(fd: number): number {
  const buffer = Buffer.alloc(65536);
  let end = fstatSync(fd).size;
  while (end > 0) {
    const start = Math.max(0, end - buffer.length);
    const n = readSync(fd, buffer, 0, end - start, start);
    const at = buffer.subarray(0, n).lastIndexOf(10);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

/** The records of a file of JSON lines; a torn last line is left out, any other bad line is an error that names it. */
export async function readJsonLines(path: string): Promise<E.Either<FileError, readonly Json[]>> {
  try {
    const lines = (await readFile(path, "utf8")).split("\n");
    lines.pop(); // behind the last line feed: empty, or torn
    return E.right(
      lines.map((line, i): Json => {
        try {
          return JSON.parse(line);
        } catch (e) {
          throw new Error(`line ${i + 1}: ${e instanceof Error ? e.message : String(e)}`);
        }
      }),
    );
  } catch (e) {
    return E.left(new FileError("read", path, e));
  }
}
