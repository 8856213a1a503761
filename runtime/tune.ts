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

interface Pending {
  readonly kernel: Tunable;
  readonly key: string;
  readonly moves: readonly Choice[];
}

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
    const pending: Pending[] = [];
    let known = 0;
    for (const kernel of worthwhile(tunables(plan))) {
      const key = kernelKey(prelude, kernel.text, kernel.settings);
      const measured = store.get(key);
      if (measured) {
        known++;
        take(kernel, measured);
        continue;
      }
      const moves = movesOf(kernel);
      if (moves.length > 0) pending.push({ kernel, key, moves });
    }
    const began = performance.now();
    const left = () => seconds - spent - (performance.now() - began) / 1e3;
    const stopped = () => left() <= 0 || o.signal?.aborted === true;
    let [done, gain]: [number, number | null] = [0, null];
    const report = (kernel: string | null) => o.progress?.({ kernel, done, of: pending.length, known, gain, secondsLeft: Math.max(0, left()) });
    for (const next of pending) {
      if (stopped()) break;
      const { kernel, key } = next;
      report(kernel.name);
      const measured = await measure(next, bench, stopped);
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
    if (done > 0 || (known + pending.length > 0 && !o.signal?.aborted)) report(null);
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

/** Every setting moved alone from the recipe's choice, where that makes another kernel. */
const movesOf = (kernel: Tunable): readonly Choice[] =>
  Object.entries(kernel.settings)
    .flatMap(([name, [, ...others]]) => others.map((value): Choice => ({ [name]: value })))
    .filter((move) => kernel.print(move).source !== kernel.text);

/** null: stopped before there was a result. */
async function measure({ kernel, moves }: Pending, bench: Bench, stopped: () => boolean): Promise<E.Either<DeviceError, Measured | null>> {
  const first = await compare(kernel, moves, bench, stopped);
  if (E.isLeft(first)) return first;
  if (!first.right) return E.right(null);
  const { own, times } = first.right;
  // The best value of each setting that gains at all, the greatest gain first.
  const gains = new Map<string, { readonly move: Choice; readonly seconds: number }>();
  moves.forEach((move, i) => {
    const [setting, seconds] = [Object.keys(move)[0] as string, times[i] as number];
    if (seconds < own * (1 - MARGIN / 2) && seconds < (gains.get(setting)?.seconds ?? Infinity)) gains.set(setting, { move, seconds });
  });
  const better = [...gains.values()].sort((a, b) => a.seconds - b.seconds).map((g) => g.move);
  if (better.length < 2) return E.right(first.right.found);
  const joined = better.map((_, n): Choice => Object.assign({}, ...better.slice(0, n + 1)));
  const second = await compare(kernel, joined, bench, stopped);
  if (E.isLeft(second)) return second;
  return E.right(second.right?.found ?? null);
}

interface Compared {
  /** Least seconds by the recipe, and of each choice. */
  readonly own: number;
  readonly times: readonly number[];
  /** The fastest choice, if it is surely faster than the recipe's. */
  readonly found: Measured;
}
async function compare(
  kernel: Tunable,
  choices: readonly Choice[],
  bench: Bench,
  stopped: () => boolean,
): Promise<E.Either<DeviceError, Compared | null>> {
  const watch = await stopwatch(bench, trial([{}, ...choices].map(kernel.print), kernel.value), ROUNDS.most);
  if (E.isLeft(watch)) return watch;
  try {
    const all = [...Array(choices.length + 1).keys()];
    // The first round touches memory; the second says how many rounds there is time for.
    const touched = await watch.right.run(1, all);
    if (E.isLeft(touched)) return touched;
    if (stopped()) return E.right(null);
    const start = performance.now();
    const one = await watch.right.run(1, all);
    if (E.isLeft(one)) return one;
    const rounds = Math.round(Math.max(ROUNDS.least, Math.min(ROUNDS.most, SLICE / ((performance.now() - start) / 1e3))));
    const times = await watch.right.run(rounds, all);
    if (E.isLeft(times)) return times;
    const [own, ...others] = times.right.map((t) => Math.min(...t)) as [number, ...number[]];
    const best = others.indexOf(Math.min(...others));
    if (stopped()) return E.right(null);
    const again = await watch.right.run(rounds, [0, best + 1]);
    if (E.isLeft(again)) return again;
    const [a, b] = again.right as readonly [Float64Array, Float64Array];
    const none: Measured = { choice: {}, own, chosen: own };
    const found = surely(a, b) ? { choice: choices[best] as Choice, own: Math.min(...a), chosen: Math.min(...b) } : none;
    return E.right({ own, times: others, found });
  } finally {
    watch.right[Symbol.dispose]();
  }
}

/** Is b faster than a: in the odd rounds and in the even ones, by more than a's differ? */
export function surely(a: Float64Array, b: Float64Array): boolean {
  const halves = (x: Float64Array) => [0, 1].map((odd) => Math.min(...x.filter((_, i) => i % 2 === odd))) as [number, number];
  const [as, bs] = [halves(a), halves(b)];
  const margin = Math.max(MARGIN, (2 * Math.abs(as[0] - as[1])) / Math.min(...as));
  return Math.max(...bs) * (1 + margin) < Math.min(...as);
}
