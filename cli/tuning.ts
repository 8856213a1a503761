// `--tune` as a command shows it: which kernel is measured and how long it may still take, on one line of a terminal that is
// written over; else a line now and then. At the end what came of it.
import type { TuneOptions, TuneProgress } from "../trainer.js";
import { note } from "./output.js";

const CLEAR = "\r\u001b[2K";

/** `seconds`: true for the usual time. */
export function tuningOptions(seconds: number | true): TuneOptions {
  const live = process.stderr.isTTY;
  const gains: number[] = [];
  let said = -1;
  const progress = (p: TuneProgress): void => {
    if (p.done > 0 && p.gain !== null) gains[p.done - 1] = p.gain;
    if (p.kernel === null) {
      if (live) process.stderr.write(CLEAR);
      note(summary(p, gains.splice(0)));
      said = -1;
      return;
    }
    const line = `Tuning kernel ${p.done + 1} of ${p.of}, ${Math.ceil(p.secondsLeft)} s left: ${p.kernel}`;
    if (live) process.stderr.write(`${CLEAR}${line.slice(0, (process.stderr.columns || 80) - 1)}`);
    else if (p.done === 0 || p.done >= said + p.of / 5) {
      said = p.done;
      note(line);
    }
  };
  return { ...(seconds === true ? {} : { seconds }), progress };
}

export function summary({ done, of, known }: TuneProgress, gains: readonly number[]): string {
  const faster = gains.filter((g) => g > 1);
  const times = (x: number): string => `${x.toFixed(2)} ×`;
  const range = faster.length === 0 ? "" : ` (${[...new Set([Math.min(...faster), Math.max(...faster)].map(times))].join(" to ")})`;
  return [
    ...(of > 0 ? [`Tuned ${done} of ${of} kernels: ${faster.length === 0 ? "none runs faster otherwise" : `${faster.length} faster${range}`}`] : []),
    ...(known > 0 ? [`${known} ${known === 1 ? "kernel was" : "kernels were"} measured on this machine before`] : []),
  ].join("; ");
}
