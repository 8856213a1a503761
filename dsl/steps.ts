// How far an optimizer's step goes at most: D by weight, which certificates and budgets of the logits' change are made of.
import * as build from "./build.js";
import { ArgumentError, quote, RuleError } from "./errors.js";
import type { Optimizer, Rates } from "./rules.js";
import { handle, names, nodeOf } from "./tensor.js";
import { flatten } from "./tree.js";
import type { Tree } from "./types.js";

/** D by weight for every weight in `rates`: with rate lr, a step moves a slice of the weight (one for each index of the
 *  rate's axes) by at most lr·D in this norm, decoupled decay left out.
 *  @throws RuleError for a weight whose rule has no bound, such as SGD's. */
export function stepsOf(optimizer: Optimizer, params: Tree, rates: Rates, norm: "frobenius" | "spectral"): Rates {
  if (norm !== "frobenius" && norm !== "spectral")
    throw new ArgumentError(`stepsOf: no norm "${String(norm)}"`, 'norms are "frobenius" and "spectral"');
  const weights = new Map(flatten(params).map((l) => [l.path, l.node]));
  return Object.fromEntries(
    Object.entries(rates).map(([path, rate]) => {
      const weight = weights.get(path);
      if (!weight) throw new RuleError(`stepsOf: a rate is given for "${path}", which is no weight`, `the weights are ${quote(weights.keys())}`);
      if (!optimizer.stepBound)
        throw new RuleError(
          "stepsOf: the optimizer states no bound of its step",
          "a transformation hands on the inner optimizer's: stepBound: (x) => inner.stepBound?.(x) ?? null",
        );
      const d = optimizer.stepBound({ path, weight: handle(weight), apart: names(nodeOf(rate, `stepsOf: the rate of "${path}"`).axes) });
      if (d === null || d[norm] === Number.POSITIVE_INFINITY)
        throw new RuleError(
          `stepsOf: the step of "${path}" has no bound: ${d ? "its settings let it grow, as Adam's where β₁² is not below β₂" : "it grows with the gradient, as SGD's does, or weights are rescaled beside it, as by QK clip"}`,
          "clip the step to a stated D: clipStep(sgd(), { limit: D }); or state the rule's own: rule(over, state, body, { bound })",
        );
      return [path, handle(build.constant(d[norm]))];
    }),
  );
}
