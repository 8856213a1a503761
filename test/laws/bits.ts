// Outputs compared by their bits, and the numbers of threads that they are compared at: fewer and more than a machine's cores.
import type { HostArray } from "../../runtime/device.js";
import type { Case } from "./judge.js";

export const THREADS = [1, 2, 3, 8] as const;
export const bitsOf = (x: HostArray): string => Buffer.from(x.buffer, x.byteOffset, x.byteLength).toString("base64");
/** The first output whose bits differ. */
export function unequal(cases: readonly Case[], a: readonly (readonly HostArray[])[], b: readonly (readonly HostArray[])[]): string | null {
  for (const [i, c] of cases.entries())
    for (const [k, x] of (a[i] as readonly HostArray[]).entries()) if (bitsOf(x) !== bitsOf(b[i]?.[k] as HostArray)) return `${c.name}, output ${k}`;
  return null;
}
