// A rule: how one weight moves, as a formula, per element or per matrix. It lifts over the weight's other axes, the layers
// among them, and may state how far a step goes at most (its bound), which certificates need. `apart`, `pace` and
// `adjusted` make rules of rules. `each` (rules.ts) gives every weight of a tree its rule; fit.ts runs one on a weight.
import { product } from "./arith.js";
import { call, dummy } from "./arrows.js";
import * as build from "./build.js";
import { ArgumentError, quote, RuleError } from "./errors.js";
import { read } from "./formula.js";
import { lifted, sortInputs } from "./map.js";
import type { Node } from "./node.js";
import { describe, handle, nodeOf } from "./tensor.js";
import type { Axes, Indices, Scalar, Spaced, Tensor } from "./types.js";

type StateSpec = { readonly [name: string]: string };
type States<S> = { readonly [K in keyof S]: Tensor<Spaced<S[K] & string>, "f32"> };
type Step<W extends string, S extends StateSpec> = {
  readonly w: Tensor<Spaced<W>, "f32">;
  readonly g: Tensor<Spaced<W>, "f32">;
  readonly lr: Scalar;
  readonly t: Scalar;
} & States<S>;
/** One weight's update as a formula: `""` means per element, `"out in"` per matrix. Lifts over the weight's other axes. */
export interface Rule {
  readonly over: string;
  readonly state: StateSpec;
  readonly keep: readonly string[];
}
/** What a bound is asked for: a slice of one layer's matrix, rows × cols (to × from axes; a head's, where rates differ by
 *  head), of the matrix out × in that the rule moves as one. */
export interface StepSlice {
  readonly rows: number;
  readonly cols: number;
  readonly out: number;
  readonly in: number;
}
/** D: no step moves the slice further than lr·D in that norm, whatever the gradients are. Infinite: some do. */
export interface StepSize {
  readonly spectral: number;
  readonly frobenius: number;
}
export type StepBound = (s: StepSlice) => StepSize;
interface Bounded {
  /** How far the rule's step goes at most, for rate 1, without decoupled decay. Absent: no bound is known. */
  readonly bound?: StepBound;
}
export type Nodes = Readonly<Record<string, Node>>;
/** The axes of one matrix as the rule's body sees them. */
export interface Sides {
  readonly to: readonly string[];
  readonly from: readonly string[];
}
/** What a rule is at run time. */
export class Definition implements Rule {
  constructor(
    readonly over: string,
    readonly state: StateSpec,
    readonly keep: readonly string[],
    /** What each state begins with. */
    readonly initial: Readonly<Record<string, number>>,
    readonly body: (x: Nodes, sides: Sides) => unknown,
    /** null: no bound is known. */
    readonly bound: (s: StepSlice) => StepSize | null,
  ) {}
  /** The same but for what is named. */
  with(change: Partial<Pick<Definition, "keep" | "body" | "bound">>): Definition {
    const { keep, body, bound } = { ...this, ...change };
    return new Definition(this.over, this.state, keep, this.initial, body, bound);
  }
}
export const definition = (what: string, r: unknown): Definition => {
  if (r instanceof Definition) return r;
  throw new ArgumentError(`${what}: ${describe(r)} is no rule`, 'rule("out in", state, body), or pointwise(state, constants, arrow)');
};
const given = ["w", "g", "lr", "t"];
const own = (what: string, taken: readonly string[]): void => {
  const clash = taken.find((k, i) => given.includes(k) || taken.indexOf(k) !== i);
  if (clash !== undefined)
    throw new RuleError(`${what}: "${clash}" is used twice`, `${quote(given)} are given to every rule; states and constants have names of their own`);
};

/** A rule as a formula over one weight: `w`, its gradient `g`, the rate `lr`, the step's number `t` from 1, and the
 *  states, each with the axes its spec names ("" has none: one number for each matrix). It gives `w` and every state.
 *  With "out in", a weight's `to` axes are merged into `out`, its `from` axes into `in`. States begin at 0. */
export function rule<const W extends "" | "out in", const S extends StateSpec>(
  over: W,
  state: S,
  body: (x: Step<W, S>) => { readonly w: Tensor<Spaced<W>, "f32"> } & States<S>,
  o: Bounded = {},
): Rule {
  if (over !== "" && over !== "out in") throw new RuleError(`rule: "${over}" is no form`, '"" works per element, "out in" per matrix');
  own("rule", Object.keys(state));
  for (const [s, { axes }] of Object.entries(read("rule: state", state)))
    for (const a of axes)
      if (!over.split(" ").includes(a))
        throw new RuleError(
          `rule: state "${s}" has axis "${a}"`,
          over === "" ? 'a rule per element has states ""' : '"out in", "out", "in" and "" are its shapes',
        );
  const initial = Object.fromEntries(Object.keys(state).map((s) => [s, 0]));
  return new Definition(over, state, [], initial, (x) => body(handle(x)), boundIn("rule", o));
}
/** The same for a rule that works element by element: its body is one closed arrow over numbers. States begin at the
 *  numbers given. */
export function pointwise<const S extends { readonly [name: string]: number }, const C extends { readonly [name: string]: number }>(
  state: S,
  constants: C,
  f: (
    x: { readonly w: number; readonly g: number; readonly lr: number; readonly t: number } & Indices<S> & Indices<C>,
  ) => { readonly w: number } & Indices<S>,
  o: Bounded = {},
): Rule {
  const states = Object.keys(state);
  own("pointwise", [...states, ...Object.keys(constants)]);
  const { tensors, captured } = sortInputs("pointwise: constants", constants);
  if (Object.keys(tensors).length > 0)
    throw new RuleError(`pointwise: constant ${quote(Object.keys(tensors))} is a tensor`, "a rule with tensors is written with rule(…)");
  for (const [k, v] of Object.entries({ ...state, ...constants }))
    if (typeof v === "number" && !Number.isFinite(v)) throw new RuleError(`pointwise: "${k}" is ${v}; a finite number is wanted`);
  const values = Object.fromEntries([...given, ...states].map((k) => [k, dummy("f32")]));
  complete("pointwise", states, call("pointwise", f, [{ ...values, ...captured }]));
  const axes = Object.fromEntries(states.map((s) => [s, ""]));
  return new Definition("", axes, [], state, (x) => lifted("pointwise", x, captured, f), boundIn("pointwise", o));
}
function boundIn(what: string, { bound }: Bounded): Definition["bound"] {
  if (bound === undefined) return () => null;
  if (typeof bound !== "function")
    throw new RuleError(`${what}: the bound is ${describe(bound)}`, "a function of { rows, cols, out, in } to { spectral, frobenius }");
  return bound;
}
export function complete(what: string, states: readonly string[], out: unknown): void {
  if (typeof out !== "object" || out === null)
    throw new RuleError(`${what}: the rule gives ${describe(out)}; a record of ${quote(["w", ...states])} is wanted`);
  for (const k of ["w", ...states])
    if (!Object.hasOwn(out, k))
      throw new RuleError(`${what}: the rule forgets ${k === "w" ? "the weight w" : `its state "${k}"`}`, `it gives ${quote(Object.keys(out))}`);
}

// ── rules of rules ───────────────────────────────────────────────────────────────────────────────────
/** The same rule for each index of an axis apart, such as one Newton–Schulz a head. */
export function apart(of: Rule, ...axes: string[]): Rule {
  const r = definition("apart", of);
  return r.with({ keep: [...r.keep, ...axes] });
}
/** A factor of the rate as a function of the step's number, from 1. */
export interface Schedule {
  (t: Scalar): Scalar;
  /** Its greatest value, at any step. */
  readonly peak: number;
}
/** The same rule at `factor` times the rate, a number or a schedule: a group's own rate beside the optimizer's. */
export function pace(of: Rule, factor: number | Schedule): Rule {
  const r = definition("pace", of);
  const varies = typeof factor === "function";
  const most = varies ? factor.peak : factor;
  if (typeof most !== "number" || !Number.isFinite(most))
    throw new RuleError(`pace: ${varies ? "the schedule's peak" : "the factor"} is ${String(most)}`);
  const times = (t: Node): Node => (varies ? nodeOf(factor(handle(t)), "pace: the schedule's value") : build.constant(factor));
  return r.with({
    body: (x, sides) => r.body({ ...x, lr: product(x.lr as Node, times(x.t as Node)) }, sides),
    bound: (s) => {
      const b = r.bound(s);
      return b && { spectral: b.spectral * Math.abs(most), frobenius: b.frobenius * Math.abs(most) };
    },
  });
}

/** The same rule with what it does to the weight changed: `f` sees the weight before and after, the rate and the step's
 *  number, and names the axes of one matrix (`to`, `from`; what a tensor has beside lifts). `bound` says what becomes
 *  of the rule's own, `null` where that has none. */
export function adjusted(
  of: Rule,
  f: (x: {
    readonly w: Tensor<Axes, "f32">;
    readonly next: Tensor<Axes, "f32">;
    readonly lr: Tensor<Axes, "f32">;
    readonly t: Scalar;
    readonly to: readonly string[];
    readonly from: readonly string[];
  }) => Tensor<Axes, "f32">,
  bound: (own: StepSize | null, s: StepSlice) => StepSize | null,
): Rule {
  const r = definition("adjusted", of);
  return r.with({
    body: (x, sides) => {
      const out = r.body(x, sides);
      complete("adjusted", Object.keys(r.state), out);
      const next = nodeOf(Reflect.get(out as object, "w"), "adjusted: the weight"); // complete
      return { ...(out as object), w: nodeOf(f(handle({ w: x.w, next, lr: x.lr, t: x.t, ...sides })), "adjusted: the weight") };
    },
    bound: (s) => bound(r.bound(s), s),
  });
}
