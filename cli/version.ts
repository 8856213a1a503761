// This package's version, from its package.json (beside dist/, or beside cli/ when run from source).
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the package that this file belongs to. */
export function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    try {
      const found: unknown = JSON.parse(readFileSync(join(at, "package.json"), "utf8"));
      if (typeof found === "object" && found !== null && "name" in found && found.name === "@mallard-lang/mallard") return at;
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
    }
    if (dirname(at) === at) throw new Error("the package.json of Mallard is missing: install the package again");
  }
}
export function version(): string {
  const found: unknown = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8"));
  return typeof found === "object" && found !== null && "version" in found ? String(found.version) : "unknown";
}
