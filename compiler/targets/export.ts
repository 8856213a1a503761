// What exported programs have in common, whatever the target: files as text, what they are of, and names.
import { type Buffer, maxOf } from "../lower/expr.js";
import type { Nest } from "../lower/nest.js";

export interface ExportedFile {
  readonly name: string;
  readonly text: string;
}
export interface About {
  /** What functions and the header are called. */
  readonly name: string;
  /** FILE#export. */
  readonly title: string;
  /** Of Mallard. */
  readonly version: string;
  /** Where the author wrote what a nest computes; "" where nowhere. */
  readonly origin: (n: Nest) => string;
}

/** A path in a tree of tensors as a name. */
export const field = (path: string): string => path.replace(/[^A-Za-z0-9]+/g, "_").replace(/^(?=\d|$)/, "_");
/** Names made unique by a number; `taken` are those that no name may be. */
export function numbered(taken: readonly string[]): (name: string) => string {
  const used = new Set(taken);
  return (name) => {
    let text = name;
    for (let n = 2; used.has(text); n++) text = `${name}_${n}`;
    used.add(text);
    return text;
  };
}
/** `query 128, dim 64`; run-time extents by their greatest value. */
export const shapeOf = (b: Buffer): string =>
  b.axes.map((a) => (typeof a.extent === "number" ? `${a.name} ${a.extent}` : `${a.name} up to ${maxOf(a.extent)}`)).join(", ");
