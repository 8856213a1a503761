// Loads a verified library (cache.ts) through the descriptor that it was verified by. On Linux /proc/self/fd/N names
// the open file itself, so nothing can be put in its place between check and use. Elsewhere the verified bytes are
// copied to a fresh private folder. The loader takes two libraries of one name for one, therefore the descriptor, whose
// number is in the name, stays open until the library is unloaded, and the key inside is compared with the one asked for.
// It also remembers each name under which it met one file; so a file that is loaded already is not loaded again.
import { closeSync, existsSync, fstatSync, unlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import type { default as Koffi } from "koffi";
import { DeviceError } from "../../errors.js";
import { writeNew } from "./build.js";
import type { Verified } from "./cache.js";
import { privateFolder, reasonOf } from "./folder.js";

/** Addresses are numbers to JavaScript. */
export type Address = bigint;
export interface Library {
  readonly handle: ReturnType<typeof Koffi.load>;
  address(symbol: string): E.Either<DeviceError, Address>;
  /** No code of the library may be running, nor be called again. */
  unload(): void;
}

/** Loaded when it is first needed: where its binary is missing everything else still works. */
function foreign(require: (name: string) => unknown): E.Either<DeviceError, typeof Koffi> {
  try {
    return E.right(require("koffi") as typeof Koffi); // its own declarations, which `require` does not carry
  } catch (e) {
    const todo = "install the packages again without --omit=optional, or run with --device gpujs";
    return E.left(new DeviceError({ kind: "Unsupported", reason: `koffi, which loads compiled code, does not work (${reasonOf(e)})`, todo }));
  }
}

interface Loaded {
  readonly key: string;
  readonly library: Omit<Library, "unload">;
  readonly unload: () => void;
  users: number;
}
/** By device and inode: these stay a file's own while its descriptor is open. */
const loaded = new Map<string, Loaded>();
/** One user's hold on a loaded library. */
function hold(id: string, entry: Loaded): Library {
  entry.users++;
  let held = true;
  return {
    ...entry.library,
    unload() {
      if (!held) return;
      held = false;
      if (--entry.users > 0) return;
      loaded.delete(id);
      entry.unload();
    },
  };
}

let copies: E.Either<DeviceError, string> | null = null;
let copied = 0;

/** Takes over the descriptor: it is closed when loading fails or the library is unloaded. */
export function load(
  verified: Verified,
  throughDescriptor: boolean = existsSync("/proc/self/fd"),
  require: (name: string) => unknown = createRequire(import.meta.url),
): E.Either<DeviceError, Library> {
  const { fd, key, path: file } = verified;
  const ffi = foreign(require);
  if (E.isLeft(ffi)) {
    closeSync(fd);
    return ffi;
  }
  const koffi = ffi.right;
  const fail = (reason: string) => {
    closeSync(fd);
    return E.left(new DeviceError({ kind: "LoadFailed", file, reason }));
  };
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const id = `${dev}:${ino}:${throughDescriptor}`;
  const known = loaded.get(id);
  if (known) {
    if (known.key !== key) return fail("it was loaded for another key before");
    closeSync(fd);
    return E.right(hold(id, known));
  }
  let path = `/proc/self/fd/${fd}`;
  if (!throughDescriptor) {
    copies ??= privateFolder();
    if (E.isLeft(copies)) {
      closeSync(fd);
      return copies;
    }
    path = join(copies.right, `kernels-${copied++}.so`);
  }
  let handle: Library["handle"];
  try {
    if (!throughDescriptor) writeNew(path, verified.bytes);
    handle = koffi.load(path);
  } catch (e) {
    return fail(reasonOf(e));
  }
  const address = (symbol: string): E.Either<DeviceError, Address> => {
    try {
      return E.right(handle.symbol(symbol));
    } catch (e) {
      return E.left(new DeviceError({ kind: "LoadFailed", file, reason: reasonOf(e) }));
    }
  };
  const inside = address("mallard_key");
  if (E.isLeft(inside) || koffi.decode.string(inside.right, key.length) !== key) {
    handle.unload();
    return fail("it is not the library that was compiled for this key");
  }
  const entry: Loaded = {
    key,
    library: { handle, address },
    unload: () => {
      handle.unload();
      closeSync(fd);
      if (!throughDescriptor) unlinkSync(path);
    },
    users: 0,
  };
  loaded.set(id, entry);
  return E.right(hold(id, entry));
}
