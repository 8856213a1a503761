// How a verdict's parts are written for people.
import { relative } from "node:path";
import { authored, type Count, type Quadratic } from "../index.js";

/** `1`, `1+scan`, `2+r`: kernels, and what is counted apart. */
export function countText(c: Count): string {
  const apart = (n: number, what: string) => (n === 0 ? "" : n === 1 ? `+${what}` : `+${n}${what}`);
  return `${c.kernels}${apart(c.scans, "scan")}${apart(c.reductions, "r")}`;
}
/** A temporary that grows like the square of the sequences, as JSON has it. */
export const quadraticJson = (q: Quadratic) => ({
  name: q.value.buffer.name,
  bytes: q.bytes,
  places: q.value.places,
  readings: q.readings,
  stopped: q.stopped,
});
export const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 2 : 0);
/** Bytes or operations, with a unit that leaves at most four digits before the point. */
export function amount(n: number, unit: string): string {
  const steps = ["", "k", "M", "G", "T"];
  const step = n <= 0 ? 0 : Math.min(steps.length - 1, Math.floor(Math.log10(n) / 3));
  const value = n / 1000 ** step;
  return `${step === 0 ? value : value.toPrecision(3)} ${steps[step]}${unit}`;
}

type Place = { readonly file: string; readonly line: number; readonly column: number };
export function placeText(places: readonly Place[]): string {
  const [first] = places;
  if (!first) return "(made by the compiler)";
  const p = authored(first);
  const near = relative(process.cwd(), p.file);
  return `(${near.startsWith("..") ? p.file : near}:${p.line}:${p.column})`;
}
