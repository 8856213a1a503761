// The property that `toHaveBoundedLogitChange` checks: no step of the optimizer moves a logit by more than the certificate,
// nor by more than the budget of the norms at the start. Cases are drawn one by one by fast-check and evaluated together,
// by shape; only a case that fails is run again by itself, to be shrunk.
import * as fc from "fast-check";
import { ArgumentError, type LogitCase, type LogitModel, type LogitOptions, type LogitOutcome, LogitTrials, type Met } from "../index.js";
import { caseOf, type Recipe, recipes } from "./draws.js";

export type Shape = Readonly<Record<string, number>>;
export interface BoundedOptions<S extends Shape = Shape> extends LogitOptions {
  /** Sizes for a variant that is a function of them; up to `shapeCount` different ones are drawn. */
  readonly shapes?: fc.Arbitrary<S>;
  readonly shapeCount?: number;
  /** Cases: 1,000 unless said. */
  readonly runs?: number;
  /** Of the draws; at random unless said. A failure names its own. */
  readonly seed?: number;
  /** Of one failure, with its seed: that case alone. */
  readonly path?: string;
  /** Weights' norms are powers of two from 2^−scales to 2^scales: 20 (twelve orders of magnitude) unless said. */
  readonly scales?: number;
  /** What is checked: both unless said. An optimizer whose rates are not QuacK's keeps the certificate alone. */
  readonly bounds?: readonly Bound[];
}
export type Bound = "certificate" | "budget";
export const bothBounds: readonly Bound[] = ["certificate", "budget"];

export interface Failure {
  readonly bound: Bound;
  readonly shape: Shape;
  readonly trials: LogitTrials;
  readonly recipe: Recipe;
  readonly case: LogitCase;
  readonly outcome: LogitOutcome;
  /** fast-check's, to run it again. */
  readonly seed: number;
  readonly path: string;
}
export interface Held {
  readonly runs: number;
  /** The greatest |Δℓ| as a part of its bound. */
  readonly tightest: Readonly<Record<Bound, number>>;
}
export type Verdict = { readonly failure: Failure } | { readonly held: Held };
/** Every case and what came of it, for those who check more. */
export type Watch = (
  trials: LogitTrials,
  shape: Shape,
  cases: readonly { readonly recipe: Recipe; readonly case: LogitCase }[],
  outcomes: readonly LogitOutcome[],
) => void;

/** |Δℓ| and its bound are sums of positive terms and of the same terms with signs: each has a few roundings. */
const ROUNDING = 1e-9;
/** Where steps are differences of weights, the weights' rounding is in them. */
const DIFFERENCES = 1e-5;
const BATCH = 2048;

const keeps = (m: Met, exact: boolean): boolean => m.change <= m.bound * (1 + (exact ? ROUNDING : DIFFERENCES));
const broken = (o: LogitOutcome, bounds: readonly Bound[]): Bound | undefined => bounds.find((b) => !keeps(o[b], o.exact));

/** Checks the property. Throws what is wrong with the model or the optimizer. */
export function boundedLogitChange<S extends Shape>(
  variant: LogitModel | ((shape: S) => LogitModel),
  options: BoundedOptions<S>,
  watch?: Watch,
): Verdict {
  const { runs = 1000, seed = Math.floor(Math.random() * 2 ** 31), scales = 20, bounds = bothBounds } = options;
  const known = typeof variant === "function" ? shapesOf(options, seed) : { drawn: [{} as S], shorter: () => [] }; // a model has its own sizes
  const shapes = [...known.drawn];
  const opened = new Map<number, LogitTrials>();
  const trialsAt = (i: number): LogitTrials => {
    const t = opened.get(i) ?? new LogitTrials(typeof variant === "function" ? variant(shapes[i] as S) : variant, options);
    opened.set(i, t);
    return t;
  };
  const weights = trialsAt(0).weights.length;
  const drawn = fc.record({ shape: fc.nat({ max: shapes.length - 1 }), recipe: recipes(weights, scales) });

  const alone = (d: { readonly shape: number; readonly recipe: Recipe }) => {
    const trials = trialsAt(d.shape);
    const c = caseOf(trials, d.recipe);
    return { trials, case: c, outcome: trials.run([c])[0] as LogitOutcome };
  };
  const shrunk = (path: string): Failure => {
    const found = fc.check(
      fc.property(drawn, (d) => broken(alone(d).outcome, bounds) === undefined),
      { seed, path, numRuns: runs },
    );
    const counterexample = found.counterexample?.[0];
    if (!found.failed || !counterexample || found.counterexamplePath === null)
      throw new Error(`a case that failed among others holds by itself (seed ${seed}, path ${path}): cases of a batch are not independent`);
    // Fewer shapes are drawn than there are: perhaps the same recipe fails at a smaller one, axis by axis.
    const { recipe } = counterexample;
    const failure = (shape: number): Failure | undefined => {
      const { trials, case: c, outcome } = alone({ shape, recipe });
      const bound = broken(outcome, bounds);
      return bound && { bound, shape: shapes[shape] as S, trials, recipe, case: c, outcome, seed, path: found.counterexamplePath as string };
    };
    let best = failure(counterexample.shape);
    for (const axis of Object.keys(shapes[counterexample.shape] as S))
      for (const smaller of best ? known.shorter(best.shape as S, axis) : []) {
        const failed = failure(shapes.push(smaller) - 1);
        if (!failed) continue;
        best = failed;
        break;
      }
    if (best) return best;
    throw new Error(`a case fails only sometimes (seed ${seed}, path ${path})`);
  };
  if (options.path !== undefined) {
    const [d] = fc.sample(drawn, { seed, path: options.path, numRuns: 1 });
    const one = d && alone(d);
    if (d && one && broken(one.outcome, bounds) !== undefined) return { failure: shrunk(options.path) };
    return { held: { runs: 1, tightest: { certificate: part(one?.outcome.certificate), budget: part(one?.outcome.budget) } } };
  }

  const all = fc.sample(drawn, { seed, numRuns: runs });
  const tightest = { certificate: 0, budget: 0 };
  let first = Number.POSITIVE_INFINITY;
  for (const shape of known.drawn.keys()) {
    const own = [...all.entries()].filter(([, d]) => d.shape === shape);
    for (let from = 0; from < own.length; from += BATCH) {
      const batch = own.slice(from, from + BATCH).map(([i, d]) => ({ i, recipe: d.recipe, case: caseOf(trialsAt(shape), d.recipe) }));
      const outcomes = trialsAt(shape).run(batch.map((b) => b.case));
      watch?.(trialsAt(shape), shapes[shape] as S, batch, outcomes);
      for (const [k, o] of outcomes.entries()) {
        if (broken(o, bounds) !== undefined) first = Math.min(first, batch[k]?.i ?? first);
        tightest.certificate = Math.max(tightest.certificate, part(o.certificate));
        tightest.budget = Math.max(tightest.budget, part(o.budget));
      }
    }
  }
  if (Number.isFinite(first)) return { failure: shrunk(String(first)) };
  if (tightest.certificate === 0)
    throw new ArgumentError(
      "no step moves a logit, so nothing is tested",
      "does the optimizer move the weights below the logits, at a rate above 0?",
    );
  return { held: { runs, tightest } };
}
const part = (m: Met | undefined): number => (m && m.change > 0 ? m.change / m.bound : 0);

/** Lengths of an axis that are tried with a case that fails. */
const TRIES = 2;

interface Shapes<S> {
  /** The smallest, as fast-check shrinks to it, and others; smaller ones first, so that cases shrink to them. */
  readonly drawn: readonly S[];
  /** Some that differ from it in this axis alone, which is shorter: the shortest first. */
  readonly shorter: (than: S, axis: string) => readonly S[];
}
function shapesOf<S extends Shape>({ shapes, shapeCount = 6 }: BoundedOptions<S>, seed: number): Shapes<S> {
  if (!shapes)
    throw new ArgumentError(
      "the variant is a function of sizes, which are not given",
      "{ shapes: shapes({ model: [1, 6], head: [1, 3], dim: [1, 4] }) }",
    );
  const least = fc.check(
    fc.property(shapes, () => false),
    { seed },
  ).counterexample?.[0];
  const unique = (all: readonly S[]): readonly S[] => [...new Map(all.map((s) => [JSON.stringify(s), s])).values()];
  const elements = (s: S) => Object.values(s).reduce((p, n) => p * n, 1);
  const sorted = (all: readonly S[]): readonly S[] => [...all].sort((a, b) => elements(a) - elements(b));
  const first = least ? [least as S] : [];
  return {
    drawn: sorted(unique([...first, ...fc.sample(shapes, { seed, numRuns: 20 * shapeCount })]).slice(0, shapeCount)),
    shorter: (than, axis) =>
      sorted(
        unique([...first, ...fc.sample(shapes, { seed, numRuns: 2000 })]).filter(
          (s) => (s[axis] as number) < (than[axis] as number) && Object.entries(s).every(([a, n]) => a === axis || n === than[a]),
        ),
      ).slice(0, TRIES),
  };
}
