// Update rules. A rule says how one weight moves, as a formula: per element, or per matrix, and lifts over the weight's
// other axes, the layers among them. `each` gives every weight of a tree its rule by path. An optimizer sees whole
// trees, so that rules which read other weights, or values of the forward pass, are transformations of optimizers.
import { product } from "./arith.js";
import { call, dummy } from "./arrows.js";
import * as build from "./build.js";
import { showShape } from "./build.js";
import { ArgumentError, quote, RuleError } from "./errors.js";
import { read } from "./formula.js";
import { lifted, sortInputs } from "./map.js";
import type { Node, ParamInfo, Shape } from "./node.js";
import * as scalar from "./scalar.js";
import { describe, handle, isNode, names, nodeOf, omit } from "./tensor.js";
import { flatten, mapLeaves, samePaths } from "./tree.js";
import type { Axes, Indices, Scalar, Spaced, Tensor, Tree } from "./types.js";
import { joinedIndex, partIndices, viewBy } from "./view.js";

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
type Nodes = Readonly<Record<string, Node>>;
/** What a rule is at run time. */
class Definition implements Rule {
  constructor(
    readonly over: string,
    readonly state: StateSpec,
    readonly keep: readonly string[],
    /** What each state begins with. */
    readonly initial: Readonly<Record<string, number>>,
    readonly body: (x: Nodes) => unknown,
  ) {}
}
const definition = (what: string, r: unknown): Definition => {
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
  return new Definition(over, state, [], Object.fromEntries(Object.keys(state).map((s) => [s, 0])), (x) => body(handle(x)));
}
/** The same for a rule that works element by element: its body is one closed arrow over numbers. States begin at the
 *  numbers given. */
export function pointwise<const S extends { readonly [name: string]: number }, const C extends { readonly [name: string]: number }>(
  state: S,
  constants: C,
  f: (
    x: { readonly w: number; readonly g: number; readonly lr: number; readonly t: number } & Indices<S> & Indices<C>,
  ) => { readonly w: number } & Indices<S>,
): Rule {
  const states = Object.keys(state);
  own("pointwise", [...states, ...Object.keys(constants)]);
  const { tensors, captured } = sortInputs("pointwise: constants", constants);
  if (Object.keys(tensors).length > 0)
    throw new RuleError(`pointwise: constant ${quote(Object.keys(tensors))} is a tensor`, "a rule with tensors is written with rule(…)");
  const values = Object.fromEntries([...given, ...states].map((k) => [k, dummy("f32")]));
  complete("pointwise", states, call("pointwise", f, [{ ...values, ...captured }]));
  return new Definition("", Object.fromEntries(states.map((s) => [s, ""])), [], state, (x) => lifted("pointwise", x, captured, f));
}
function complete(what: string, states: readonly string[], out: unknown): void {
  if (typeof out !== "object" || out === null)
    throw new RuleError(`${what}: the rule gives ${describe(out)}; a record of ${quote(["w", ...states])} is wanted`);
  for (const k of ["w", ...states])
    if (!Object.hasOwn(out, k))
      throw new RuleError(`${what}: the rule forgets ${k === "w" ? "the weight w" : `its state "${k}"`}`, `it gives ${quote(Object.keys(out))}`);
}
/** The same rule for each index of an axis apart, such as one Newton–Schulz a head. */
export function apart(of: Rule, ...axes: string[]): Rule {
  const r = definition("apart", of);
  return new Definition(r.over, r.state, [...r.keep, ...axes], r.initial, r.body);
}
/** The same rule at `factor` times the rate: a group's own rate beside the schedule's. */
export function pace(of: Rule, factor: number): Rule {
  const r = definition("pace", of);
  if (!Number.isFinite(factor)) throw new RuleError(`pace: the factor is ${factor}`);
  return new Definition(r.over, r.state, r.keep, r.initial, (x) => r.body({ ...x, lr: product(x.lr as Node, build.constant(factor)) }));
}

/** By weight's path, a factor of its rate (one a head if it has that axis). A weight without entry keeps 1. Flat, not
 *  a mapped tree: typing it after a generic parameter tree recurses without end, and buys nothing. */
export type Rates = { readonly [path: string]: Tensor<Axes, "f32"> };
export interface Optimizer<S extends Tree = Tree> {
  init<P extends Tree>(x: { readonly w: P; readonly loss: Scalar }): S;
  update<P extends Tree>(x: Update<P, S>): { readonly w: P; readonly s: S };
}
export interface Update<P, S> {
  readonly w: P;
  readonly g: P;
  readonly s: S;
  readonly loss: Scalar;
  readonly lr: Scalar;
  readonly t: Scalar;
  readonly rates?: Rates;
}

/** A rule for each weight, by patterns of paths: `*` is any run of characters, `{a,b}` a choice; the first pattern that
 *  matches decides. A pattern that matches no weight, or a weight that no pattern matches, is an error. */
export function each(groups: { readonly [pattern: string]: Rule }): Optimizer {
  const rules = Object.entries(groups).map(([pattern, r]) => ({ pattern, matches: glob(pattern), rule: definition(`each: "${pattern}"`, r) }));
  const assigned = (w: unknown) => {
    const leaves = flatten(w);
    const used = new Set<string>();
    const found = leaves.map(({ path, node }) => {
      const first = rules.find((r) => r.matches.test(path));
      if (!first)
        throw new RuleError(`each: no rule for weight "${path}"`, `the patterns are ${quote(Object.keys(groups))}; "*" matches every weight`);
      used.add(first.pattern);
      return { path, node, fit: fit(path, node, first.rule) };
    });
    const idle = rules.find((r) => !used.has(r.pattern));
    if (idle) {
      const shadowed = leaves.some((l) => idle.matches.test(l.path));
      throw new RuleError(
        `each: pattern "${idle.pattern}" ${shadowed ? "comes after others that match all its weights" : "matches no weight"}`,
        shadowed ? "the first pattern that matches decides: put it before" : `the weights are ${quote(leaves.map((l) => l.path))}`,
      );
    }
    return found;
  };
  const optimizer: Optimizer = {
    init: ({ w }) => handle(Object.fromEntries(assigned(w).map(({ path, fit }) => [path, fit.initial()]))),
    update: (x) => {
      const gradients = flatten(x.g);
      const found = assigned(x.w);
      samePaths("each: weights and gradients", found, gradients);
      const rates: Readonly<Record<string, unknown>> = x.rates ?? {};
      for (const path of Object.keys(rates))
        if (!found.some((f) => f.path === path))
          throw new RuleError(`each: a rate is given for "${path}", which is no weight`, `the weights are ${quote(found.map((f) => f.path))}`);
      const step = { lr: nodeOf(x.lr, "each: lr"), t: nodeOf(x.t, "each: t") };
      const moved = new Map(
        found.map(({ path, node, fit }, i) => {
          const rate = rates[path] === undefined ? undefined : nodeOf(rates[path], `each: the rate of "${path}"`);
          const state: unknown = Reflect.get(x.s, path);
          return [path, fit.update({ ...step, w: node, g: gradients[i]?.node as Node, rate }, state)] as const; // the same paths
        }),
      );
      const w: typeof x.w = handle(mapLeaves(x.w, (n, path) => moved.get(path)?.w ?? n));
      return { w, s: handle(Object.fromEntries([...moved].map(([path, m]) => [path, m.s]))) };
    },
  };
  return optimizer;
}
function glob(pattern: string): RegExp {
  const text = pattern.replace(/[.+^$()|[\]\\?]/g, "\\$&").replace(
    /\{([^{}]*)\}/g,
    (_, choice: string) =>
      `(?:${choice
        .split(",")
        .map((c) => c.trim())
        .join("|")})`,
  );
  if (/[{}]/.test(text)) throw new RuleError(`each: the braces of pattern "${pattern}" do not close`, "{wq,wk} is a choice of two");
  return new RegExp(`^${text.replaceAll("*", ".*")}$`);
}

// ── one rule on one weight ───────────────────────────────────────────────────────────────────────────
interface Moved {
  readonly w: Node;
  readonly s: Nodes;
}
interface Fit {
  initial(): Nodes;
  update(x: { readonly w: Node; readonly g: Node; readonly lr: Node; readonly t: Node; readonly rate: Node | undefined }, s: unknown): Moved;
}
type Side = readonly (readonly [string, number])[];

/** How a rule sees a weight: its axes merged to those the rule is over, and back. */
function fit(path: string, w: Node, r: Definition): Fit {
  const { to, from } = r.over === "" ? { to: [], from: [] } : sides(path, w, r);
  const sideOf: Readonly<Record<string, Side>> = { out: to, in: from };
  const merged = [...to, ...from].map(([a]) => a);
  const rest = omit(w.axes, merged);
  /** The state's axes as they are kept: like the weight's, where its spec has them. */
  const shape = (spec: string): Shape => {
    if (r.over === "") return w.axes;
    const gone = Object.entries(sideOf).flatMap(([name, side]) => (spec.split(" ").includes(name) ? [] : side.map(([a]) => a)));
    return omit(w.axes, gone);
  };
  /** Merged axes that x has, into `out` and `in`. */
  const matrix = (x: Node): Node => {
    const made: Record<string, number> = {};
    let at: Readonly<Record<string, scalar.Scalar>> = {};
    for (const [name, side] of Object.entries(sideOf)) {
      if (!side.some(([a]) => a in x.axes)) continue;
      made[name] = side.reduce((p, [, e]) => p * e, 1);
      const parts = partIndices(side, scalar.index(name));
      at = { ...at, ...Object.fromEntries(Object.entries(parts).filter(([a]) => a in x.axes)) };
    }
    return Object.keys(made).length === 0 ? x : viewBy(x, made, at);
  };
  /** And back, in the order of `like`. */
  const back = (x: Node, like: Shape): Node => {
    const present = Object.entries(sideOf).filter(([name, side]) => side.length > 0 && name in x.axes);
    if (present.length === 0) return ordered(x, like);
    const parts = present.flatMap(([, side]) => side.map(([a]) => a));
    const made = Object.fromEntries(Object.entries(like).filter(([a]) => parts.includes(a)));
    return ordered(viewBy(x, made, Object.fromEntries(present.map(([name, side]) => [name, joinedIndex(side)]))), like);
  };
  return {
    initial: () => Object.fromEntries(Object.entries(r.state).map(([s, spec]) => [s, filled(r.initial[s] ?? 0, shape(spec))])),
    update: ({ w, g, lr, t, rate }, s) => {
      const states = Object.fromEntries(
        Object.keys(r.state).map((k) => {
          const n: unknown = typeof s === "object" && s !== null && !isNode(s) ? Reflect.get(s, k) : undefined;
          if (!isNode(n)) throw new RuleError(`each: the state lacks "${k}" of "${path}"`, "a state comes from this optimizer's own init or update");
          return [k, matrix(n)];
        }),
      );
      if (rate)
        for (const a of names(rate.axes))
          if (rate.axes[a] !== w.axes[a])
            throw new RuleError(`each: the rate of "${path}" has axis "${a}", which the weight ${a in w.axes ? "has in another size" : "lacks"}`);
      const out = r.body({ w: matrix(w), g: matrix(g), lr: rate ? product(lr, matrix(rate)) : lr, t, ...states });
      complete(`the rule of "${path}"`, Object.keys(r.state), out);
      const result = (k: string, like: Shape): Node => {
        const n = nodeOf(Reflect.get(out as object, k), `the rule of "${path}": "${k}"`); // complete
        const whole = back(n, like);
        if (showSet(whole.axes) !== showSet(like))
          throw new RuleError(
            `the rule of "${path}": "${k}" comes back as ${showShape(whole.axes)}, it is ${showShape(like)}`,
            `the rule works over "${r.over}" and lifts over ${quote(names(rest))}`,
          );
        return whole;
      };
      return { w: result("w", w.axes), s: Object.fromEntries(Object.entries(r.state).map(([k, spec]) => [k, result(k, shape(spec))])) };
    },
  };
}
const showSet = (s: Shape): string =>
  Object.entries(s)
    .map(([a, e]) => `${a}:${build.showExtent(e)}`)
    .sort()
    .join(",");
const filled = (value: number, axes: Shape): Node => build.map({}, { kind: "scalar", body: scalar.constant(value) }, "f32", axes);
/** The same values with the axes in the order of `like`, which is the order of the buffer they are written to. */
function ordered(x: Node, like: Shape): Node {
  const order = names(like).filter((a) => a in x.axes);
  if (order.length !== names(x.axes).length || order.every((a, i) => names(x.axes)[i] === a)) return x;
  const own = Object.fromEntries(order.map((a) => [a, x.axes[a] ?? 0]));
  // As many axes made as read: they take the read axes' places one by one, in this order.
  return viewBy(x, own, Object.fromEntries(names(x.axes).map((a) => [a, scalar.index(a)])));
}
function sides(path: string, w: Node, r: Definition): { readonly to: Side; readonly from: Side } {
  const info: ParamInfo | undefined = w.op === "leaf" ? w.param : undefined;
  if (!info)
    throw new RuleError(
      `each: "${path}" is no weight of a model, so which of its axes are out and which in is unknown`,
      "a rule over matrices takes a model's own parameters",
    );
  const side = (axes: readonly string[]): Side => axes.filter((a) => !r.keep.includes(a)).map((a) => [a, w.axes[a] as number]); // weights have fixed sizes
  const [to, from] = [side(info.to), side(info.from)];
  if (to.length === 0 || from.length === 0)
    throw new RuleError(
      `each: "${path}" is no matrix${r.keep.length > 0 ? ` apart from ${quote(r.keep)}` : ""}: ${showShape(w.axes)} has no ${to.length === 0 ? "out" : "in"} axis, and its rule works over "${r.over}"`,
      "give gains and tables a rule per element, under a pattern that comes first",
    );
  const taken = names(
    omit(
      w.axes,
      [...to, ...from].map(([a]) => a),
    ),
  ).filter((a) => a === "out" || a === "in");
  if (taken.length > 0)
    throw new RuleError(`each: "${path}" lifts over an axis called ${quote(taken)}`, "rename it: out and in are the matrix's own axes");
  return { to, from };
}
