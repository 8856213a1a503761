// How far an optimizer's steps change a model's logits, against what is guaranteed: the certificate (true of any step)
// and the budget (true of QuacK's rates; docs/quack.md, "Certificate and budget"). Many cases at a time, in f64 on the oracle.
//
// A case has weights at three times: `start` (where the optimizer's state begins, and the norms of step 0 are taken),
// `before` (one update is made there, whose state alone is kept) and `now`. The gradients of the update that is measured
// lie along the logits' own gradient, which for a product of matrices is the rank-one direction aligned with the partner
// weight and the inputs, or in a given direction. The step is the optimizer's own; the change of the logits is computed
// by expansion (compiler/graph/change.ts), the bounds are the language's expressions.
import { order, rebuild } from "../../compiler/graph/walk.js";
import type { Graph } from "../../compiler/pipeline.js";
import * as build from "../../dsl/build.js";
import { deriveRates, type Optimizer, type Rates, stepsOf, type Tree } from "../../dsl/index.js";
import type { Leaf, Node, Shape } from "../../dsl/node.js";
import { withoutRecording } from "../../dsl/places.js";
import { paramsBelow } from "../../dsl/rates.js";
import { nodeOf } from "../../dsl/tensor.js";
import { evaluate } from "../devices/js/oracle.js";
import { initial, type Session } from "../session.js";
import { applied, CASE, inputLeaves, inputsOf, type LogitModel, type ModelInput, weightsOf } from "./logit-model.js";
import { expanded, howOf, type LogitOptions, type LogitWeight, type Programs, programsFor } from "./logit-programs.js";
import { isStep } from "./logit-steps.js";
import { sliceNorms, slicesOf } from "./slices.js";

export type Arrays = Readonly<Record<string, Float64Array>>;
export interface LogitCase {
  /** By path, in the weight's axis order. */
  readonly start: Arrays;
  readonly before: Arrays;
  readonly now: Arrays;
  /** By name. At one position the norm is at most 1. */
  readonly inputs: Arrays;
  /** Which logit the gradient is of: a number in [0, 1). */
  readonly pick: number;
  /** By path: gradients in place of the logit's own. */
  readonly gradients?: Arrays;
  /** −1 descends: the step shrinks the logit where it can. */
  readonly sign: 1 | -1;
}
export interface LogitOutcome {
  /** Where |Δℓ| comes nearest to the certificate, or passes it furthest: the logit, and the three values there. */
  readonly certificate: Met;
  /** The same for the budget. */
  readonly budget: Met;
  /** Indices of the logit that the gradients were of. */
  readonly picked: Readonly<Record<string, number>>;
  readonly steps: Arrays;
  /** false: weights did not move by −lr·u alone, and steps are differences of weights, with their rounding. */
  readonly exact: boolean;
}
export interface Met {
  /** The logit's indices, the case's left out. */
  readonly at: Readonly<Record<string, number>>;
  readonly change: number;
  readonly bound: number;
}

/** ‖G‖ of the gradients that are given to the optimizer: a bound holds for any. */
const GRADIENT = 1e3;

export class LogitTrials {
  readonly weights: readonly LogitWeight[];
  readonly inputs: readonly ModelInput[];
  /** D, by weight. */
  readonly steps: Rates;
  readonly #programs = new Map<number, Programs>();

  /** Throws what is wrong with the model (a logit without a bound), and with the optimizer (a step without one). */
  constructor(
    readonly model: LogitModel,
    readonly options: LogitOptions,
  ) {
    this.inputs = inputsOf(model, options.sizes ?? {});
    const one = weightsOf(model, 1);
    const { logits, labels } = applied(model, one.tree, inputLeaves(this.inputs, 1));
    const rates = deriveRates(logits, howOf(options));
    expanded(Object.values(rates).map((r) => nodeOf(r, "the rate")));
    this.steps = stepsOf(options.optimizer as unknown as Optimizer, model.params as Tree, rates, options.norm ?? "frobenius"); // its state is its own
    const below = new Set(labels.flatMap(paramsBelow));
    this.weights = [...one.leaves].flatMap(([path, leaf]) => {
      if (!below.has(leaf)) return [];
      const { [CASE]: _, ...axes } = leaf.axes as Readonly<Record<string, number>>; // of fixed sizes, as weights' are
      const rate = rates[leaf.name];
      const known = rate ? Object.keys(nodeOf(rate, "the rate").axes) : labels.flatMap((l) => Object.keys(l.axes));
      const apart = Object.keys(axes).filter((a) => known.includes(a));
      return [{ path, axes, apart, rated: rate !== undefined, slices: slicesOf(axes, apart, leaf.param?.to ?? []) }];
    });
  }
  /** In f64 throughout. */
  run(cases: readonly LogitCase[]): readonly LogitOutcome[] {
    if (cases.length === 0) return [];
    const p = this.#prepared(cases, (x) => x);
    const exact = this.#moved(p, evaluated(p.programs.updates, p.env), F64);
    return this.#outcomes(p, exact, evaluated(p.programs.bounds, p.env));
  }
  /** The update on a device, from numbers that are exact in f32: its steps judged in f64, and the change and the bounds as
   *  the device itself computes them from these steps. */
  async runOn(
    session: Session,
    cases: readonly LogitCase[],
  ): Promise<{ readonly inF64: readonly LogitOutcome[]; readonly itself: readonly LogitOutcome[] }> {
    if (cases.length === 0) return { inF64: [], itself: [] };
    const p = this.#prepared(cases, Math.fround);
    const exact = this.#moved(p, await computed(session, "updates", p.programs.updates, p.env), F32);
    const inF64 = this.#outcomes(p, exact, evaluated(p.programs.bounds, p.env));
    return { inF64, itself: this.#outcomes(p, exact, await computed(session, "bounds", p.programs.bounds, p.env)) };
  }

  /** Everything up to the update: the weights, the inputs, and the gradients of the chosen logits. */
  #prepared(cases: readonly LogitCase[], round: (x: number) => number): Prepared {
    const n = cases.length;
    // What is wrong was found, with its place, when this object was made.
    const programs = this.#programs.get(n) ?? withoutRecording(() => programsFor(this, n));
    this.#programs.set(n, programs);
    const env = new Map<Leaf, Float64Array>();
    const set = (leaf: Leaf, of: (c: LogitCase) => Float64Array | undefined) => env.set(leaf, joined(leaf, cases, of).map(round));
    for (const [name, leaf] of Object.entries(programs.x)) set(leaf, (c) => c.inputs[name]);
    const moves = new Set(this.weights.map((w) => w.path));
    for (const time of ["start", "before", "now"] as const)
      for (const [path, leaf] of programs[time].leaves) {
        // What the logits do not depend on is as it begins, the same at all times.
        if (moves.has(path)) set(leaf, (c) => c[time][path]);
        else env.set(leaf, unmoved(leaf));
      }
    const frozenAt = evaluated(programs.frozen, env);
    for (const [i, leaf] of programs.stands.entries()) env.set(leaf, frozenAt[i] as Float64Array);

    const counts = programs.logits.map((l) => sizeOf(l.axes) / n);
    const all = counts.reduce((s, k) => s + k, 0);
    const ones = programs.picks.map((leaf) => new Float64Array(sizeOf(leaf.axes)));
    for (const [i, leaf] of programs.picks.entries()) env.set(leaf, ones[i] as Float64Array);
    const picked = cases.map(({ pick }, k): Readonly<Record<string, number>> => {
      let at = Math.min(all - 1, Math.floor(pick * all));
      let label = 0;
      for (; at >= (counts[label] as number); label++) at -= counts[label] as number;
      (ones[label] as Float64Array)[k * (counts[label] as number) + at] = 1;
      return coordinatesOf((programs.logits[label] as Node).axes, at);
    });
    const [chosen, ...gradients] = evaluated(programs.gradient, env) as readonly [Float64Array, ...Float64Array[]];
    for (const [i, w] of this.weights.entries()) {
      const size = w.slices.slice.length;
      const g = (gradients[i] as Float64Array).slice();
      for (const [k, c] of cases.entries()) {
        const own = g.subarray(k * size, (k + 1) * size);
        own.set(c.gradients?.[w.path] ?? own);
        // The step is −lr·G: away from 0, so that terms of higher order add to those of the first.
        resize(own, c.sign * ((chosen[k] as number) < 0 ? 1 : -1) * GRADIENT);
      }
      env.set(programs.g[i] as Leaf, g.map(round));
    }
    return { programs, env, counts, picked, cases: n };
  }

  /** The steps and their norms from what the update gave; by case, whether they are steps of the rule alone. */
  #moved(p: Prepared, moved: readonly Float64Array[], tolerance: number): readonly boolean[] {
    const exact = new Array<boolean>(p.cases).fill(true);
    for (const [i, w] of this.weights.entries()) {
      const size = w.slices.slice.length;
      const now = p.env.get(p.programs.now.leaves.get(w.path) as Leaf) as Float64Array;
      const [step, next] = [(moved[2 * i] as Float64Array).slice(), moved[2 * i + 1] as Float64Array];
      const norms = new Float64Array(p.cases * w.slices.count);
      for (let k = 0; k < p.cases; k++) {
        const part = (x: Float64Array) => x.subarray(k * size, (k + 1) * size);
        if (!isStep(part(next), part(now), part(step), (e) => w.slices.slice[e] as number, tolerance)) {
          exact[k] = false;
          for (let e = k * size; e < (k + 1) * size; e++) step[e] = (next[e] as number) - (now[e] as number);
        }
        norms.set(sliceNorms(w.slices, step, k * size, this.options.norm ?? "frobenius"), k * w.slices.count);
      }
      p.env.set(p.programs.steps[i] as Leaf, step);
      p.env.set(p.programs.moves[i] as Leaf, norms);
    }
    return exact;
  }

  #outcomes(p: Prepared, exact: readonly boolean[], values: readonly Float64Array[]): readonly LogitOutcome[] {
    const met = (k: number, which: 1 | 2): Met => {
      let worst: Met = { at: {}, change: 0, bound: Number.POSITIVE_INFINITY };
      for (const [i, l] of p.programs.logits.entries()) {
        const [changes, bounds] = [values[3 * i] as Float64Array, values[3 * i + which] as Float64Array];
        const own = p.counts[i] as number;
        for (let e = k * own; e < (k + 1) * own; e++) {
          const [change, bound] = [Math.abs(changes[e] as number), bounds[e] as number];
          // What is no number is the worst of all.
          if (change === 0 || change / bound <= worst.change / worst.bound || Number.isNaN(worst.change / worst.bound)) continue;
          worst = { at: coordinatesOf(l.axes, e), change, bound };
        }
      }
      return worst;
    };
    return p.picked.map((picked, k): LogitOutcome => {
      const steps = this.weights.map((w, i) => {
        const size = w.slices.slice.length;
        return [w.path, (p.env.get(p.programs.steps[i] as Leaf) as Float64Array).slice(k * size, (k + 1) * size)] as const;
      });
      return {
        certificate: met(k, 1),
        budget: met(k, 2),
        picked,
        steps: Object.fromEntries(steps),
        exact: (exact[k] as boolean) && !p.programs.plain,
      };
    });
  }
}
/** What a step and its remainder may differ by, relative to the weight: roundings of the update's arithmetic. */
const F64 = 1e-9;
const F32 = 1e-5;

interface Prepared {
  readonly programs: Programs;
  readonly env: Map<Leaf, Float64Array>;
  /** By label: logits a case. */
  readonly counts: readonly number[];
  readonly picked: readonly Readonly<Record<string, number>>[];
  readonly cases: number;
}
/** x to this Euclidean norm, in place, whatever its scale; 0 stays. */
function resize(x: Float64Array, norm: number): void {
  const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  if (most === 0) return;
  const root = Math.sqrt(x.reduce((s, v) => s + (v / most) ** 2, 0));
  for (const [e, v] of x.entries()) x[e] = ((v / most) * norm) / root;
}
const first = new WeakMap<Leaf, Float64Array>();
function unmoved(leaf: Leaf): Float64Array {
  const values = first.get(leaf) ?? Float64Array.from(initial(leaf, 0));
  first.set(leaf, values);
  return values;
}
const evaluated = (g: Graph, env: ReadonlyMap<Leaf, Float64Array>) => evaluate(g.roots, env, new Map(), g.originals);
/** The same on a device. Weights at three times have one name: as a device sees them, all leaves are inputs. */
async function computed(session: Session, name: string, g: Graph, env: ReadonlyMap<Leaf, Float64Array>): Promise<readonly Float64Array[]> {
  const given = new Map<Node, Leaf>();
  const inputs: Record<string, Leaf> = {};
  const data: Record<string, Float64Array> = {};
  for (const n of order(g.roots)) {
    if (n.op !== "leaf" || n.role === "bound") continue;
    const input = build.leaf("input", "", n.axes, n.dtype);
    given.set(n, input);
    inputs[`x${given.size}`] = input;
    data[`x${given.size}`] = env.get(n) as Float64Array;
  }
  const { roots } = rebuild(g.roots, (n) => given.get(n) ?? n);
  using program = await session.program({ name, inputs, outputs: Object.fromEntries(roots.map((n, i) => [`y${i}`, n])) });
  const got = await program.run(data);
  return roots.map((_, i) => Float64Array.from(got[`y${i}`] ?? []));
}
const sizeOf = (axes: Shape): number => Object.values(axes).reduce<number>((p, e) => p * (e as number), 1);
/** The cases' arrays one after the other; 0 for what no case gives. */
function joined(leaf: Leaf, cases: readonly LogitCase[], of: (c: LogitCase) => Float64Array | undefined): Float64Array {
  const out = new Float64Array(sizeOf(leaf.axes));
  for (const [k, c] of cases.entries()) {
    const own = of(c);
    if (own) out.set(own, (k * out.length) / cases.length);
  }
  return out;
}
function coordinatesOf(axes: Shape, element: number): Readonly<Record<string, number>> {
  const out: (readonly [string, number])[] = [];
  let rest = element;
  for (const [axis, size] of Object.entries(axes).reverse()) {
    if (axis !== CASE) out.unshift([axis, rest % (size as number)]);
    rest = Math.floor(rest / (size as number));
  }
  return Object.fromEntries(out);
}
