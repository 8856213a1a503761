// Clipping: gradients by their common norm or by value, as transformations of an optimizer; a weight's step to a stated
// D, as a transformation of a rule.
import {
  type Axes,
  add,
  adjusted,
  constant,
  leavesOf,
  map,
  mapTree,
  mul,
  norm as normOver,
  type Optimizer,
  type Rule,
  RuleError,
  type Scalar,
  sum,
  type Tensor,
  type Tree,
} from "../../dsl/index.js";
import { spectralBound } from "../spectral.js";
import { positive } from "./checks.js";

/** What a transformation hands on of the inner optimizer's bound, where its own work does not touch the step. */
export const sameBound = (inner: Pick<Optimizer, "stepBound">): Pick<Optimizer, "stepBound"> =>
  inner.stepBound ? { stepBound: (x) => inner.stepBound?.(x) ?? null } : {};

const squareSum = (x: Tensor): Scalar => {
  const s = map(x, (g) => g * g);
  const [first, ...rest] = Object.keys(s.axes);
  return first === undefined ? (map({ s }, ({ s }) => s) as Scalar) : sum(s, first, ...rest);
};
/** The Euclidean norm of all leaves together. */
export const globalNorm = (tree: Tree): Scalar =>
  map(
    leavesOf(tree)
      .map(({ tensor }) => squareSum(tensor))
      .reduce((a, b) => add(a, b), constant(0)),
    (s) => (s === 0 ? 0 : Math.sqrt(s)),
  );
/** Gradients whose common norm passes `limit` are scaled down to it (Pascanu 2013). */
export const clipNorm = <S extends Tree>(inner: Optimizer<S>, { limit = 1 }: { readonly limit?: number } = {}): Optimizer<S> => {
  positive("clipNorm", "limit", limit);
  return {
    ...sameBound(inner),
    init: (x) => inner.init(x),
    update: (x) => {
      const factor = map({ n: globalNorm(x.g), limit }, ({ n, limit }) => (n > limit ? limit / n : 1));
      return inner.update({ ...x, g: mapTree(x.g, (g) => mul(g, factor)) });
    },
  };
};
/** Every element of the gradient is cut off at ±`limit`. */
export const clipValue = <S extends Tree>(inner: Optimizer<S>, { limit = 1 }: { readonly limit?: number } = {}): Optimizer<S> => {
  positive("clipValue", "limit", limit);
  return {
    ...sameBound(inner),
    init: (x) => inner.init(x),
    update: (x) => inner.update({ ...x, g: mapTree(x.g, (g) => map({ g, limit }, ({ g, limit }) => Math.max(-limit, Math.min(limit, g)))) }),
  };
};

/** The rule with its step, decay included, cut down to lr·`limit` in this norm, matrix by matrix (`apart` by the rule's
 *  axes apart; a gain counts as one column): D is `limit`, whatever the rule and the gradient are. */
export const clipStep = (of: Rule, { limit, norm = "frobenius" }: { readonly limit: number; readonly norm?: "frobenius" | "spectral" }): Rule => {
  positive("clipStep", "limit", limit);
  if (norm !== "frobenius" && norm !== "spectral") throw new RuleError(`clipStep: no norm "${String(norm)}"`, 'norms are "frobenius" and "spectral"');
  const spectral = norm === "spectral";
  return adjusted(
    of,
    ({ w, next, lr, to, from }) => {
      const step = map({ w, next, lr }, ({ w, next, lr }) => (lr === 0 ? 0 : (next - w) / lr));
      const [first, ...rest] = [...to, ...from];
      const alone = map(step, (s) => Math.abs(s));
      const n: Tensor = first === undefined ? alone : spectral ? spectralBound(step, to, from) : normOver(step, first, ...rest);
      return map({ w, next, n, limit }, ({ w, next, n, limit }) => (n > limit ? w + (next - w) * (limit / n) : next)) as Tensor<Axes, "f32">;
    },
    (own, { rows, cols }) => {
      const clipped = { spectral: limit, frobenius: spectral ? limit * Math.sqrt(Math.min(rows, cols)) : limit };
      return own ? { spectral: Math.min(own.spectral, clipped.spectral), frobenius: Math.min(own.frobenius, clipped.frobenius) } : clipped;
    },
  );
};
