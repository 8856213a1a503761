// A digest of Mallard's own code: what one version compiled another must not find. Releases tell themselves apart by their
// number, but a checkout does not, so it is the files themselves that are read: of the language, the compiler and this
// runtime, by their paths within the package (where that lies is of no account).
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDERS = ["compiler", "dsl", "runtime"] as const;

let known: string | null | undefined;
/** null: this code does not lie in files of its own, because a program has been bundled with it. */
export function sourcesDigest(): string | null {
  known ??= digestOf(import.meta.url);
  return known;
}

/** `module`: the address of a module directly in one of the folders. */
export function digestOf(module: string): string | null {
  try {
    const file = fileURLToPath(module);
    const root = join(file, "..", "..");
    const kind = extname(file);
    const hash = createHash("sha256");
    for (const folder of FOLDERS) {
      const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).filter((n) => n.endsWith(kind) && !n.endsWith(".d.ts"));
      if (names.length === 0) return null;
      for (const name of names.sort()) {
        const text = readFileSync(join(root, folder, name));
        hash.update(`${folder}/${name.split(sep).join("/")} ${text.length}\n`).update(text);
      }
    }
    return hash.digest("hex");
  } catch {
    return null;
  }
}
