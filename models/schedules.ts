// Schedules: the rate as a function of the step's number, from 1. Each is one arrow over numbers, which an expression
// lifts (`schedule(t)`) and a program evaluates (`schedule.at(3)`), and knows its greatest value, so that bounds of steps
// hold under it.
import { type Schedule as Factor, map, RuleError, type Scalar } from "../dsl/index.js";
import { handle } from "../dsl/tensor.js";
import { count, positive } from "./optimizers/checks.js";

export interface Schedule extends Factor {
  /** The value at a step whose number is known. */
  at(t: number): number;
}
const make = (f: (t: Scalar) => Scalar, at: (t: number) => number, peak: number): Schedule => Object.assign((t: Scalar) => f(t), { at, peak });

type Numbers = Readonly<Record<string, number>>;
/** A schedule of one's own: a closed arrow from the step's number and constants to the rate, which never passes `peak`. */
export function schedule<const C extends Numbers>(
  peak: number,
  constants: C,
  f: (x: { readonly t: number } & { readonly [K in keyof C]: number }) => number,
): Schedule {
  positive("schedule", "peak", peak, false);
  if ("t" in constants) throw new RuleError('schedule: a constant is called "t"', "t is the step's number");
  for (const [k, v] of Object.entries(constants)) if (!Number.isFinite(v)) throw new RuleError(`schedule: "${k}" is ${v}; a finite number is wanted`);
  return make(
    (t) => handle(map(handle<{ t: Scalar }>({ ...constants, t }), handle<(x: { t: number }) => number>(f))),
    (t) => f({ ...constants, t }),
    peak,
  );
}

/** The same rate at every step. */
export const constant = (rate: number): Schedule => {
  positive("constant", "the rate", rate, false);
  return schedule(rate, { rate }, ({ rate }) => rate);
};
/** Linear to `peak` in `steps` steps, then constant. */
export const warmup = (peak: number, steps: number): Schedule => {
  positive("warmup", "the peak", peak, false);
  count("warmup", "steps", steps);
  return steps === 0 ? constant(peak) : schedule(peak, { peak, steps }, ({ t, peak, steps }) => peak * Math.min(1, t / steps));
};
const within = (what: string, peak: number, floor: number, steps: number, total: number): void => {
  positive(what, "the peak", peak, false);
  positive(what, "the floor", floor, false);
  if (floor > peak) throw new RuleError(`${what}: the floor ${floor} is above the peak ${peak}`);
  count(what, "the warm-up", steps);
  count(what, "the total", total, 1);
  if (steps >= total) throw new RuleError(`${what}: the warm-up of ${steps} steps fills all of ${total}`);
};
/** Linear to `peak` in `steps` steps, then half a cosine down to `floor` at step `total` (Loshchilov 2016). */
export const cosine = (peak: number, steps: number, total: number, floor = 0): Schedule => {
  within("cosine", peak, floor, steps, total);
  return schedule(peak, { peak, steps, total, floor }, ({ t, peak, steps, total, floor }) => {
    const done = Math.min(1, Math.max(0, (t - steps) / (total - steps)));
    return t < steps ? (peak * t) / steps : floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * done));
  });
};
export interface WsdOptions {
  /** Steps of the linear rise. */
  readonly warmup: number;
  /** Steps of the whole run, and of the fall at its end. */
  readonly total: number;
  readonly decay: number;
  readonly floor?: number;
  /** Of the fall: straight, or 1 − √ of its done part (Hägele 2024). */
  readonly shape?: "linear" | "sqrt";
}
/** Warm-up, stable, decay: linear to `peak`, constant, and down to `floor` in the last `decay` steps (Hu 2024). */
export const wsd = (peak: number, { warmup, total, decay, floor = 0, shape = "linear" }: WsdOptions): Schedule => {
  within("wsd", peak, floor, warmup, total);
  count("wsd", "decay", decay);
  if (warmup + decay > total) throw new RuleError(`wsd: a warm-up of ${warmup} and a decay of ${decay} steps are more than ${total}`);
  if (decay === 0) return times(warmupTo(warmup), constant(peak));
  return schedule(peak, { peak, warmup, total, decay, floor, bent: shape === "sqrt" ? 1 : 0 }, ({ t, peak, warmup, total, decay, floor, bent }) => {
    const done = Math.min(1, Math.max(0, (t - (total - decay)) / decay));
    const down = bent === 1 ? Math.sqrt(done) : done;
    return t < warmup ? (peak * t) / warmup : peak + (floor - peak) * down;
  });
};
const warmupTo = (steps: number) => warmup(1, steps);

// ── schedules of schedules ───────────────────────────────────────────────────────────────────────────
/** The product of two: `times(cosine(3e-3, 0, 1000), warmup(1, 20))`. */
export const times = (a: Schedule, b: Schedule): Schedule =>
  make(
    (t) => map({ a: a(t), b: b(t) }, ({ a, b }) => a * b),
    (t) => a.at(t) * b.at(t),
    a.peak * b.peak,
  );
/** `first` for `steps` steps, then `second`, whose own steps count from 1 again. */
export const joined = (first: Schedule, steps: number, second: Schedule): Schedule => {
  count("joined", "steps", steps);
  return make(
    (t) => {
      const later = map({ t, steps }, ({ t, steps }) => Math.max(1, t - steps));
      return map({ t, steps, a: first(t), b: second(later) }, ({ t, steps, a, b }) => (t <= steps ? a : b));
    },
    (t) => (t <= steps ? first.at(t) : second.at(t - steps)),
    Math.max(first.peak, second.peak),
  );
};
