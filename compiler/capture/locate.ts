// Finds a function in the file that wrote it, so that a message can show the author's own line. The file is read only
// when something is wrong: what runs is the function, so its text says what it means, and the file where it stands.
// The function found there must be the one that runs: same shape (shape.ts: types, formatting, bound names and what
// loaders add do not count). A file edited since it was loaded, or bundled beyond recognition, gives none: then the message
// shows the function's own text. A compiled file leads to its source through its source map.
import { readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Place } from "../../dsl/places.js";
import { offsetOf } from "./error.js";
import { parseFile } from "./parse.js";
import { shapeOf } from "./shape.js";
import type { FunctionSyntax } from "./syntax.js";

export interface Located {
  readonly file: string;
  readonly text: string;
  /** Its offsets count in `text`. */
  readonly syntax: FunctionSyntax;
}

const pathOf = (file: string) => (file.startsWith("file:") ? fileURLToPath(file) : file);

function load(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

const parsed = new Map<string, readonly FunctionSyntax[]>();
function functionsIn(path: string, text: string): readonly FunctionSyntax[] {
  const key = `${path}\n${text}`;
  let functions = parsed.get(key);
  if (!functions) {
    functions = parseFile(path, text);
    parsed.set(key, functions);
  }
  return functions;
}

/** Where the source map of a compiled file puts a place; the place itself where there is none. */
function original(place: Place): Place {
  const path = pathOf(place.file);
  const text = /\.[cm]?js$/.test(path) ? load(path) : undefined;
  const url = text && /\/\/# sourceMappingURL=(\S+)\s*$/.exec(text)?.[1];
  if (!url) return place;
  try {
    const json = url.startsWith("data:") ? Buffer.from(url.slice(url.indexOf(",") + 1), "base64").toString() : load(resolve(dirname(path), url));
    if (!json) return place;
    const entry = new SourceMap(JSON.parse(json) as SourceMapPayload).findEntry(place.line - 1, place.column - 1);
    if (!("originalSource" in entry)) return place;
    const source = entry.originalSource;
    const file = source.startsWith("file:") ? fileURLToPath(source) : resolve(dirname(path), source);
    return { file, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
  } catch {
    return place; // a map that cannot be read is no map
  }
}

/** The function at or after the call; failing that (it has a name, and was passed by it), the nearest before. */
export function locate(syntax: FunctionSyntax, at: Place): Located | undefined {
  const shape = shapeOf(syntax);
  const mapped = original(at);
  for (const place of mapped === at ? [at] : [mapped, at]) {
    const path = pathOf(place.file);
    const text = load(path);
    if (text === undefined) continue;
    const call = offsetOf(text, place.line, place.column);
    const same = functionsIn(path, text).filter((f) => shapeOf(f) === shape);
    const found = same.find((f) => f.at >= call) ?? same.at(-1);
    if (found) return { file: path, text, syntax: found };
  }
  return undefined;
}
