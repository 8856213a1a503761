// Outputs compared by their bits, and the numbers of threads that they are compared at: fewer and more than a machine's cores.
import type { HostArray } from "../../runtime/device.js";
import type { Case } from "./judge.js";

export const THREADS = [1, 2, 3, 8] as const;
/** One NaN is as good as another: no standard says which an operation gives. */
export function bitsOf(x: HostArray): string {
  const one = x instanceof Float32Array && x.some(Number.isNaN) ? x.map((v) => (Number.isNaN(v) ? Number.NaN : v)) : x;
  return Buffer.from(one.buffer, one.byteOffset, one.byteLength).toString("base64");
}
/** The first output whose bits differ. */
export function unequal(cases: readonly Case[], a: readonly (readonly HostArray[])[], b: readonly (readonly HostArray[])[]): string | null {
  for (const [i, c] of cases.entries())
    for (const [k, x] of (a[i] as readonly HostArray[]).entries()) if (bitsOf(x) !== bitsOf(b[i]?.[k] as HostArray)) return `${c.name}, output ${k}`;
  return null;
}
