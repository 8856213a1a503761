// What capture says when it cannot read a function: what is wrong, where, and what to write instead.

export interface CaptureError {
  readonly kind: "capture";
  readonly message: string;
  /** The file, or `<function text>` where the function was not found in one: positions then count in its own text. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** The source line with a caret below the place. */
  readonly frame: string;
  readonly hint: string;
}

export const functionText = "<function text>";

/** Everything in one text, as a public function throws it. */
export const showCaptureError = (e: CaptureError): string => `${e.file}:${e.line}:${e.column}: ${e.message}\n${e.frame}\n${e.hint}`;

/** Line and column, from 1, of an offset. `first`: the line that the text begins at. */
export function positionOf(text: string, offset: number, first = 1): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  const start = before.lastIndexOf("\n") + 1;
  return { line: first - 1 + before.split("\n").length, column: offset - start + 1 };
}
export function offsetOf(text: string, line: number, column: number): number {
  let start = 0;
  for (let i = 1; i < line; i++) {
    const next = text.indexOf("\n", start);
    if (next < 0) break;
    start = next + 1;
  }
  return Math.min(start + column - 1, text.length);
}

/** A line of a minified bundle is cut around the caret. */
const widest = 140;

export function frameAt(text: string, offset: number, first = 1): string {
  const { line, column } = positionOf(text, offset, first);
  const source = (text.split("\n")[line - first] ?? "").replace(/\r$/, "");
  const from = source.length <= widest ? 0 : Math.max(0, column - 1 - widest / 2);
  const shown = source.slice(from, from + widest);
  // Tabs stay tabs, so that the caret stands right however wide they are.
  const pad = shown.slice(0, column - 1 - from).replace(/[^\t]/g, " ");
  const number = String(line);
  return `${number} | ${shown}\n${" ".repeat(number.length)} | ${pad}^`;
}
