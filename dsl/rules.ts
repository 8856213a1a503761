// `each` gives every weight of a tree its rule, by path. An optimizer sees whole trees, so that rules which read other
// weights, or values of the forward pass, are transformations of optimizers.
import { quote, RuleError } from "./errors.js";
import { fit, stepBound } from "./fit.js";
import type { Node } from "./node.js";
import { type Definition, definition, type Rule, type StepSize } from "./rule.js";
import { handle, nodeOf } from "./tensor.js";
import { flatten, mapLeaves, samePaths } from "./tree.js";
import type { Axes, Scalar, Tensor, Tree } from "./types.js";

/** By weight's path, a factor of its rate (one a head if it has that axis). A weight without entry keeps 1. Flat, not
 *  a mapped tree: typing it after a generic parameter tree recurses without end, and buys nothing. */
export type Rates = { readonly [path: string]: Tensor<Axes, "f32"> };
export interface Optimizer<S extends Tree = Tree> {
  init<P extends Tree>(x: { readonly w: P; readonly loss: Scalar }): S;
  update<P extends Tree>(x: Update<P, S>): { readonly w: P; readonly s: S };
  /** D: no step moves this weight further than rate·D, in the norm of its slices along `apart` (the axes by which its
   *  rate differs), decoupled decay left out. null where no bound is known. A transformation hands it on. */
  stepBound?(x: { readonly path: string; readonly weight: Tensor<Axes, "f32">; readonly apart: readonly string[] }): StepSize | null;
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

/** What a rule is chosen by: a weight's path, its axes, and which of them it maps to and from (none: a gain, a table). */
export interface Chosen {
  readonly path: string;
  readonly axes: Axes;
  readonly to: readonly string[];
  readonly from: readonly string[];
}
type Groups = { readonly [pattern: string]: Rule };
/** A rule for each weight, by patterns of paths: `*` is any run of characters, `{a,b}` a choice; the first pattern that
 *  matches decides. A pattern that matches no weight, or a weight that no pattern matches, is an error. Or by a function
 *  of the weight. */
export function each(groups: Groups | ((weight: Chosen) => Rule)): Optimizer {
  const by = typeof groups === "function" ? chosenBy(groups) : byPattern(groups);
  const assigned = (w: unknown) => {
    const leaves = flatten(w);
    by.check(leaves.map((l) => l.path));
    const found = leaves.map(({ path, node }) => ({ path, node, rule: by.ruleFor(path, node) }));
    for (const { rule, path } of found)
      for (const axis of rule.keep)
        if (!found.some((f) => f.rule === rule && axis in f.node.axes))
          throw new RuleError(
            `each: the rule of "${path}" works apart by "${axis}", an axis that no weight of that rule has`,
            `"${path}" has ${quote(Object.keys(leaves.find((l) => l.path === path)?.node.axes ?? {}))}`,
          );
    return found.map(({ path, node, rule }) => ({ path, node, fit: fit(path, node, rule) }));
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
    stepBound: ({ path, weight, apart }) => {
      const node = nodeOf(weight, `stepBound: "${path}"`);
      return stepBound(path, node, by.ruleFor(path, node), apart);
    },
  };
  return optimizer;
}
interface Choice {
  ruleFor(path: string, node: Node): Definition;
  /** Every pattern is some weight's first. */
  check(paths: readonly string[]): void;
}
function chosenBy(choose: (weight: Chosen) => Rule): Choice {
  return {
    ruleFor: (path, node) => {
      const { to, from } = (node.op === "leaf" ? node.param : undefined) ?? { to: [], from: [] };
      return definition(`each: the rule for "${path}"`, choose({ path, axes: handle(node.axes), to, from }));
    },
    check: () => {},
  };
}
function byPattern(groups: Groups): Choice {
  const rules = Object.entries(groups).map(([pattern, r]) => ({ pattern, matches: glob(pattern), rule: definition(`each: "${pattern}"`, r) }));
  const first = (path: string) => {
    const found = rules.find((r) => r.matches.test(path));
    if (found) return found;
    throw new RuleError(`each: no rule for weight "${path}"`, `the patterns are ${quote(Object.keys(groups))}; "*" matches every weight`);
  };
  return {
    ruleFor: (path) => first(path).rule,
    check: (paths) => {
      const used = new Set(paths.map((p) => first(p).pattern));
      const idle = rules.find((r) => !used.has(r.pattern));
      if (!idle) return;
      const shadowed = paths.some((p) => idle.matches.test(p));
      throw new RuleError(
        `each: pattern "${idle.pattern}" ${shadowed ? "comes after others that match all its weights" : "matches no weight"}`,
        shadowed ? "the first pattern that matches decides: put it before" : `the weights are ${quote(paths)}`,
      );
    },
  };
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
