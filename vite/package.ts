// Which files are Mallard's own: those of the package as it is installed (its dist/), and those of a checkout.
import { readFileSync } from "node:fs";
import { dirname } from "node:path";

export const PACKAGE = "@mallard-lang/mallard";

const slashes = (path: string) => path.replaceAll("\\", "/");
const roots = new Map<string, string | null>();
/** The folder that holds dsl/ and compiler/, with a slash behind it, if the file belongs to the package. */
export function homeOf(path: string): string | null {
  const file = slashes(path);
  const folder = dirname(file);
  const known = roots.get(folder);
  if (known !== undefined) return known;
  const root = rootOf(folder);
  const home = root === null ? null : file.startsWith(`${root}/dist/`) ? `${root}/dist/` : `${root}/`;
  roots.set(folder, home);
  return home;
}
function rootOf(folder: string): string | null {
  for (let at = folder; ; at = dirname(at)) {
    const found = nameAt(at);
    if (found !== undefined) return found === PACKAGE ? at : null;
    if (at === dirname(at)) return null;
  }
}
function nameAt(folder: string): unknown {
  try {
    const json: unknown = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    return typeof json === "object" && json !== null && "name" in json ? json.name : null;
  } catch {
    return undefined; // none here, or none that can be read: the one above counts
  }
}

/** The language itself, as an author imports it. */
export const isLanguageFile = (file: string): boolean => {
  const home = homeOf(file);
  return home !== null && /^(?:index|browser|dsl\/index)\.[jt]s$/.test(slashes(file).slice(home.length));
};
/** What is read of a file: the calls of the language (an author's, and those of the trainer, which watches its gradients); in the
 *  language's own files, the functions at the top; and nothing of what works on expressions, which takes no functions of
 *  numbers. */
export function kindOf(file: string): "author's" | "language" | "machinery" {
  const home = homeOf(file);
  if (home === null) return "author's";
  const inside = slashes(file).slice(home.length);
  if (/^(?:compiler|vite|cli)\/|^dsl\/(?:derivative\/|scalar|primitives|build|node|places|types|random)/.test(inside)) return "machinery";
  return inside.startsWith("dsl/") ? "language" : "author's";
}

/** Files that need Node, or that a page has no use for, and what stands for them in a browser: package.json has the same, under "exports" and "browser". */
const twins: ReadonlyMap<string, string> = new Map([
  ["index", "browser"],
  ["trainer", "trainer.browser"],
  ["compiler/capture/source", "compiler/capture/source.browser"],
  ["compiler/graph/verify", "compiler/graph/verify.browser"],
  ["compiler/loop/verify", "compiler/loop/verify.browser"],
  ["compiler/lower/verify", "compiler/lower/verify.browser"],
  ["runtime/devices/native/index", "runtime/devices/native/absent"],
  ["runtime/devices/webgpu/adapter", "runtime/devices/webgpu/adapter.browser"],
]);
/** Can an import of this specifier mean one of them? */
export const mayHaveTwin = /^(?:\.|\/|[A-Za-z]:).*\/(?:source|verify|index|trainer|adapter)\.[jt]s$/;
export function browserTwin(file: string): string | null {
  const home = homeOf(file);
  if (home === null) return null;
  const inside = /^(.*)(\.[jt]s)$/.exec(slashes(file).slice(home.length));
  const twin = inside?.[1] && twins.get(inside[1]);
  return twin ? home + twin + inside[2] : null;
}
