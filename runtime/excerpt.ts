// The author's text at a place, for reports. A place in JavaScript that was compiled with a source map is shown where it
// was written.
import { existsSync, readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { dirname, resolve } from "node:path";
import { frameAt, offsetOf } from "../compiler/capture/error.js";
import type { Place } from "../dsl/places.js";

interface Mapped {
  readonly map: SourceMap;
  readonly sources: readonly (string | null)[];
  readonly names: readonly string[];
}
const maps = new Map<string, Mapped | null>();
function mapOf(file: string): Mapped | null {
  const known = maps.get(file);
  if (known !== undefined) return known;
  let made: Mapped | null = null;
  try {
    const text: unknown = existsSync(`${file}.map`) ? JSON.parse(readFileSync(`${file}.map`, "utf8")) : null;
    if (typeof text === "object" && text !== null && "sources" in text && Array.isArray(text.sources)) {
      const contents = "sourcesContent" in text && Array.isArray(text.sourcesContent) ? text.sourcesContent : [];
      made = { map: new SourceMap(text as ConstructorParameters<typeof SourceMap>[0]), sources: contents, names: text.sources };
    }
  } catch {
    made = null; // a map that cannot be read: the JavaScript itself is shown
  }
  maps.set(file, made);
  return made;
}

interface Found {
  readonly place: Place;
  /** The file's text, where the map carries it. */
  readonly text: string | null;
}
function found(place: Place): Found {
  const map = /\.[cm]?js$/.test(place.file) ? mapOf(place.file) : null;
  const entry = map?.map.findEntry(place.line - 1, place.column - 1);
  if (!map || !entry || !("originalSource" in entry)) return { place, text: null };
  const { originalSource, originalLine, originalColumn } = entry;
  const file = originalSource.startsWith("file:") ? new URL(originalSource).pathname : resolve(dirname(place.file), originalSource);
  return { place: { file, line: originalLine + 1, column: originalColumn + 1 }, text: map.sources[map.names.indexOf(originalSource)] ?? null };
}

export const authored = (place: Place): Place => found(place).place;

/** The line with a caret under the place; null where the file is gone. */
export function excerpt(given: Place): string | null {
  const { place, text } = found(given);
  try {
    const source = text ?? readFileSync(place.file, "utf8");
    return frameAt(source, offsetOf(source, place.line, place.column));
  } catch {
    return null; // a place in a file that is not there any more is still a place
  }
}

/** The expression that begins at a place, up to the end of its call: `dot(x, wq, "model")`; null where the file is gone. Blanks
 *  and line ends are single blanks. */
export function expressionAt(given: Place): string | null {
  const { place, text } = found(given);
  try {
    const source = text ?? readFileSync(place.file, "utf8");
    return callAt(source.slice(offsetOf(source, place.line, place.column)));
  } catch {
    return null;
  }
}
/** To the bracket that closes the first one, or to the line's end if there is none on it. Brackets in strings count for nothing. */
export function callAt(source: string): string {
  let depth = 0;
  let quote = "";
  let end = 0;
  for (; end < source.length; end++) {
    const c = source[end] as string;
    if (quote !== "") {
      if (c === "\\") end++;
      else if (c === quote) quote = "";
    } else if (c === '"' || c === "'" || c === "`") quote = c;
    else if ("([{".includes(c)) depth++;
    else if (")]}".includes(c)) {
      depth--;
      if (depth <= 0) break;
    } else if (c === "\n" && depth === 0) break;
  }
  const whole = depth === 0 && end < source.length && source[end] !== "\n" ? end + 1 : end;
  return source.slice(0, whole).replace(/\s+/g, " ").trim();
}
