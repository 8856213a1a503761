// Choice by measurement. Recipes choose by rules of thumb, which are the same on every machine; asked to tune, a device times
// other choices for the contractions of a program (and whatever else has settings, compiler/loop/choices.ts) before it
// compiles the program, and keeps what it finds for the next time (tune-store.ts). No choice changes a bit of any result.
//
// The search is bounded: kernels in the order of what they cost in a step by estimate, until those left are worth a fiftieth
// together or the time is up. For each kernel every setting is moved alone from the recipe's choice; those that gain are joined,
// the greatest first; the best of all is timed once more against the recipe's, and taken only if it is faster in both halves of
// that by more than the recipe's own time differs between the halves. Choices take turns within a round, and a time is
// the least of its rounds: what else the machine does lengthens times, never shortens them.
import * as E from "fp-ts/lib/Either.js";
import { admitted, type Choice, type Choices } from "../compiler/loop/choices.js";
import type { Plan } from "../compiler/plan.js";
import { prelude } from "../compiler/targets/c/prelude.js";
import { trial } from "../compiler/targets/c/trial.js";
import { type Tunable, tunables } from "../compiler/targets/c/tunables.js";
import type { Choose } from "./devices/native/device.js";
import { type Bench, stopwatch } from "./devices/native/stopwatch.js";
import type { DeviceError } from "./errors.js";
import { kernelKey, type Measured, machineOf, TuneStore } from "./tune-store.js";

export interface TuneProgress {
  /** The kernel that is measured now; null at the end. */
  readonly kernel: string | null;
  /** How many of the program's kernels are measured, of how many there are to measure; and how many were known before. */
  readonly done: number;
  readonly of: number;
  readonly known: number;
  /** How many times as fast the last one is as chosen: 1 where the recipe's choice stays; null where none was measured. */
  readonly gain: number | null;
  readonly secondsLeft: number;
}
export interface TuneOptions {
  /** Seconds for all programs of a session together; 60 unless said. A kernel that is begun is finished. */
  readonly seconds?: number;
  /** Called before each kernel and at the end of each program that has any. */
  readonly progress?: (p: TuneProgress) => void;
  /** Ends the search; what is done is kept. */
  readonly signal?: AbortSignal;
}
export const TUNE_SECONDS = 60;

/** Of the estimated time of all kernels, what is not worth measuring. */
const REST = 0.02;
/** For the estimate alone: operations and bytes a second. */
const SPEED = { operations: 1e11, bytes: 2e10 };
/** Seconds for one comparison, and how many rounds it may have. */
const SLICE = 0.5;
const ROUNDS = { least: 6, most: 60 };
/** A gain that is taken, at least. */
const MARGIN = 0.02;

/** One for each device: its programs share the time. `notice`: a line for the user. */
export function tuner(o: TuneOptions, notice: (line: string) => void): Choose {
  const seconds = o.seconds ?? TUNE_SECONDS;
  let spent = 0;
  let store: TuneStore | undefined;
  const search = async (plan: Plan, bench: Bench): Promise<E.Either<DeviceError, Choices>> => {
    if (!store) {
      store = new TuneStore(bench.folder, machineOf(bench.toolchain, bench.pool.threads));
      if (store.refused) notice(`tuning: ${store.refused}: not used, measured again`);
    }
    const choices = new Map<string, Choice>();
    const take = (t: Tunable, m: Measured) => {
      if (Object.keys(m.choice).length > 0) choices.set(t.text, admitted(t.settings, m.choice));
    };
    const kernels = worthwhile(tunables(plan));
    const pending: { readonly kernel: Tunable; readonly key: string }[] = [];
    for (const kernel of kernels) {
      const key = kernelKey(prelude, kernel.text, kernel.settings);
      const measured = store.get(key);
      if (measured) take(kernel, measured);
      else pending.push({ kernel, key });
    }
    const known = kernels.length - pending.length;
    const began = performance.now();
    const left = () => seconds - spent - (performance.now() - began) / 1e3;
    const stopped = () => left() <= 0 || o.signal?.aborted === true;
    let [done, gain]: [number, number | null] = [0, null];
    const report = (kernel: string | null) => o.progress?.({ kernel, done, of: pending.length, known, gain, secondsLeft: Math.max(0, left()) });
    for (const { kernel, key } of pending) {
      if (stopped()) break;
      report(kernel.name);
      const measured = await measure(kernel, bench, stopped);
      if (E.isLeft(measured)) {
        // Too large to stand beside the program itself: it goes by the recipe.
        if (measured.left.kind !== "OutOfMemory") return measured;
        notice(`tuning: ${kernel.name} is not measured: ${measured.left.message}`);
        gain = null;
      } else if (measured.right) {
        const kept = store.put(key, measured.right);
        if (E.isLeft(kept)) return kept;
        take(kernel, measured.right);
        gain = measured.right.own / measured.right.chosen;
      } else break; // stopped on the way
      done++;
    }
    // Of a program that comes after the end of the search there is nothing to say.
    if (done > 0 || (kernels.length > 0 && !o.signal?.aborted)) report(null);
    spent += (performance.now() - began) / 1e3;
    return E.right(choices);
  };
  let turn: Promise<unknown> = Promise.resolve();
  return (plan, bench) => {
    const mine = turn.then(() => search(plan, bench));
    turn = mine.catch(() => undefined); // its caller has the error
    return mine;
  };
}

/** The most costly first, without those that cost next to nothing. */
function worthwhile(kernels: readonly Tunable[]): readonly Tunable[] {
  const cost = ({ work }: Tunable) => Math.max(work.operations / SPEED.operations, work.bytes / SPEED.bytes);
  const all = kernels.reduce((n, k) => n + cost(k), 0);
  let before = 0;
  return [...kernels]
    .sort((a, b) => cost(b) - cost(a))
    .filter((k) => {
      const wanted = before <= (1 - REST) * all;
      before += cost(k);
      return wanted;
    });
}

/** null: stopped before there was a result. */
async function measure(kernel: Tunable, bench: Bench, stopped: () => boolean): Promise<E.Either<DeviceError, Measured | null>> {
  const moves = Object.entries(kernel.settings).flatMap(([name, [, ...others]]) => others.map((value) => ({ name, value })));
  const first = await compare(
    kernel,
    moves.map(({ name, value }): Choice => ({ [name]: value })),
    bench,
    stopped,
  );
  if (E.isLeft(first) || !first.right) return first as E.Either<DeviceError, null>; // a left, or null
  // The best value of each setting that gains at all, the greatest gain first.
  const gains = new Map<string, { readonly value: Choice[string]; readonly seconds: number }>();
  const own = first.right.own;
  moves.forEach(({ name, value }, i) => {
    const seconds = first.right?.times[i] as number;
    if (seconds < own * (1 - MARGIN / 2) && seconds < (gains.get(name)?.seconds ?? Infinity)) gains.set(name, { value, seconds });
  });
  const single = first.right.best;
  const better = [...gains].sort(([, a], [, b]) => a.seconds - b.seconds);
  if (better.length < 2 && single) {
    const { name, value } = moves[single.at] as (typeof moves)[number];
    return E.right({ choice: { [name]: value }, own: single.own, chosen: single.seconds });
  }
  if (better.length < 2) return E.right({ choice: {}, own, chosen: own });
  const joined = better.map((_, n): Choice => Object.fromEntries(better.slice(0, n + 1).map(([name, { value }]) => [name, value])));
  const second = await compare(kernel, joined, bench, stopped);
  if (E.isLeft(second) || !second.right) return second as E.Either<DeviceError, null>; // a left, or null
  const { best } = second.right;
  return E.right(best ? { choice: joined[best.at] as Choice, own: best.own, chosen: best.seconds } : { choice: {}, own, chosen: own });
}

interface Compared {
  /** Least seconds by the recipe and of each choice. */
  readonly own: number;
  readonly times: readonly number[];
  /** The fastest choice, where it is faster than the recipe's by more than chance. */
  readonly best: { readonly at: number; readonly own: number; readonly seconds: number } | null;
}
async function compare(
  kernel: Tunable,
  others: readonly Choice[],
  bench: Bench,
  stopped: () => boolean,
): Promise<E.Either<DeviceError, Compared | null>> {
  const watch = await stopwatch(bench, trial([{}, ...others].map(kernel.print), kernel.value), ROUNDS.most);
  if (E.isLeft(watch)) return watch;
  const all = [...Array(others.length + 1).keys()];
  try {
    // The first round touches memory; the second says how many rounds there is time for.
    for (let warm = 0; ; warm++) {
      const start = performance.now();
      const ran = await watch.right.run(1, all);
      if (E.isLeft(ran)) return ran;
      if (stopped()) return E.right(null);
      if (warm === 0) continue;
      const rounds = Math.round(Math.max(ROUNDS.least, Math.min(ROUNDS.most, SLICE / ((performance.now() - start) / 1e3))));
      const times = await watch.right.run(rounds, all);
      if (E.isLeft(times)) return times;
      const [own, ...rest] = times.right as readonly [Float64Array, ...Float64Array[]];
      const best = least(rest.map((t) => Math.min(...t)));
      if (best === undefined) return E.right({ own: Math.min(...own), times: [], best: null });
      if (stopped()) return E.right(null);
      const again = await watch.right.run(rounds, [0, best + 1]);
      if (E.isLeft(again)) return again;
      const [a, b] = again.right as readonly [Float64Array, Float64Array];
      return E.right({
        own: Math.min(...own),
        times: rest.map((t) => Math.min(...t)),
        best: surely(a, b) ? { at: best, own: Math.min(...a), seconds: Math.min(...b) } : null,
      });
    }
  } finally {
    watch.right[Symbol.dispose]();
  }
}
const least = (xs: readonly number[]): number | undefined => (xs.length === 0 ? undefined : xs.indexOf(Math.min(...xs)));

/** Is b faster than a: in the odd rounds and in the even ones, by more than a's differ? */
export function surely(a: Float64Array, b: Float64Array): boolean {
  const halves = (x: Float64Array) => [0, 1].map((odd) => Math.min(...x.filter((_, i) => i % 2 === odd))) as [number, number];
  const [as, bs] = [halves(a), halves(b)];
  const margin = Math.max(MARGIN, (2 * Math.abs(as[0] - as[1])) / Math.min(...as));
  return Math.max(...bs) * (1 + margin) < Math.min(...as);
}
