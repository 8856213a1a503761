// Compiled programs from process to process: an entry of the kernel cache each, found by the program's identity before any of
// it is compiled (runtime/image.ts). The key is of everything that what is compiled depends on: the identity, Mallard's own
// code, the engine (which computes tables of constants), and the machine with its compiler. An entry is verified as a library
// is; one that cannot be used, or whose library is gone, counts as none, and is written anew when the program is compiled.
import { closeSync } from "node:fs";
import * as E from "fp-ts/lib/Either.js";
import type { Plan } from "../../../compiler/plan.js";
import type { Executable, ProgramStore } from "../../device.js";
import type { Image } from "../../image.js";
import { sourcesDigest } from "../../sources.js";
import { digestOf, discard, keep, machineParts, openEntry, type Verified } from "./cache.js";
import { reasonOf } from "./folder.js";
import type { Toolchain } from "./toolchain.js";

/** Raised when an image's form changes within one version of the code; the code's own digest says the rest. */
const FORMAT = "program 1";

/** Makes an executable of an image and its library. */
export type OpenImage = (image: Image, library: Verified, plan: () => Plan) => Executable;

export class Programs implements ProgramStore {
  readonly #parts: readonly string[] | null;
  constructor(
    readonly folder: string,
    tool: Toolchain,
    readonly opener: OpenImage,
    readonly notice: (line: string) => void,
    sources: string | null = sourcesDigest(),
  ) {
    this.#parts = sources === null ? null : [FORMAT, sources, process.version, ...machineParts(tool)];
  }
  /** null: programs cannot be told from those of another version, and none is kept. */
  key(identity: string): string | null {
    return this.#parts && digestOf([...this.#parts, identity]);
  }
  recall(key: string): Uint8Array | null {
    const found = openEntry(this.folder, key, {}, "program.bin");
    if (E.isLeft(found)) {
      if (found.left) this.refuse(key, `${found.left.path} ${found.left.reason}`);
      return null;
    }
    closeSync(found.right.fd);
    return found.right.bytes;
  }
  /** The entry is removed; what is wrong with it is said, unless it is only that its library has been cleared away. */
  refuse(key: string, why: string | null): void {
    if (why !== null) this.notice(`kernel cache: ${why}: not used, compiled again`);
    discard(this.folder, key);
  }
  /** A cache that cannot be written is told of, and is no reason to fail: the program is there. */
  keep(key: string, bytes: Uint8Array): void {
    try {
      keep(this.folder, key, "program.bin", bytes);
    } catch (e) {
      this.notice(`kernel cache: ${this.folder} ${reasonOf(e)}: the program is compiled again next time`);
    }
  }
  /** null: the library is gone or damaged. */
  open(image: Image, plan: () => Plan): Executable | null {
    const library = openEntry(this.folder, image.library);
    return E.isLeft(library) ? null : this.opener(image, library.right, plan);
  }
}
