// The machine's own limits, measured in the same rounds as what they are limits of: fused multiply-adds in registers for
// every vector width, and OpenBLAS's product of two matrices of 1024.
import { isLeft } from "fp-ts/lib/Either.js";
import { openPeak, type Peak } from "../index.js";
import type { Contestant, Showing } from "./contestant.js";
import { openBlas, squareTask } from "./peers.js";
import { type Row, row } from "./results.js";

/** The product that OpenBLAS's rate is stated by. */
const N = 1024;

export interface Limits {
  readonly peak: Peak | null;
  /** OpenBLAS as it is: its slices are of tasks. */
  readonly blas: Contestant | null;
  /** Whose slices are GFLOP/s whatever the task: the widths of fma, then OpenBLAS. */
  readonly all: readonly Contestant[];
  close(): void;
}
/** `skip` is told what is missing. */
export async function openLimits(threads: number, skip: (line: string) => void): Promise<Limits> {
  const [peak, blas] = [await openPeak(threads), await openBlas(threads)];
  if (isLeft(peak)) skip(`skipped: the machine's peak: ${peak.left.message}`);
  if (isLeft(blas)) skip(`skipped: ${blas.left}`);
  const all: Contestant[] = [];
  if (!isLeft(peak))
    for (const width of peak.right.widths)
      all.push({
        name: `fma of ${width} floats`,
        detail: "",
        slice: (_, seconds) => peak.right.measure(["fma", width], seconds),
        close: () => undefined,
      });
  if (!isLeft(blas))
    all.push({
      ...blas.right,
      name: `OpenBLAS ${N}`,
      slice: async (_, seconds) => (await blas.right.slice(squareTask(N), seconds)).map((s) => (2 * N ** 3) / s / 1e9),
      close: () => undefined,
    });
  return {
    peak: isLeft(peak) ? null : peak.right,
    blas: isLeft(blas) ? null : blas.right,
    all,
    close: () => {
      if (!isLeft(peak)) peak.right.close();
      if (!isLeft(blas)) blas.right.close();
    },
  };
}

/** Seconds as GFLOP/s. */
export const speedOf = ({ medians, all }: Showing, operations: number): Showing => {
  const gflops = (seconds: number) => operations / seconds / 1e9;
  return { medians: medians.map(gflops), all: all.map(gflops) };
};
/** How far ours reaches each limit. `least`: the share of OpenBLAS's rate that is wanted. */
export const limitRows = (
  { all }: Limits,
  measured: ReadonlyMap<Contestant, Showing>,
  same: Pick<Row, "part" | "what"> & { readonly group?: string; readonly ours: Showing },
  least?: number,
): readonly Row[] =>
  all.flatMap((limit) => {
    const theirs = measured.get(limit);
    if (!theirs) return [];
    const bar = limit.name.startsWith("OpenBLAS") && least !== undefined ? { on: "ratio" as const, limit: least } : undefined;
    return [row({ ...same, unit: "GFLOP/s", better: "more", against: limit.name, theirs, bar })];
  });
