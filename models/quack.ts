// QuacK as a transformation of an optimizer, and the ablation it is compared with: both give the weights below the
// labelled logits a rate of their own, and leave every other weight, and the optimizer's rules, as they are.
import { constant, deriveRates, find, map, mapTree, type Optimizer, type Rates, RuleError, scale, type Tree } from "../dsl/index.js";
import { flatten } from "../dsl/tree.js";
import { positive } from "./optimizers/checks.js";
import { sameBound } from "./optimizers/clip.js";

export interface QuackOptions {
  /** τ: 0.1 unless said. */
  readonly tau?: number;
  readonly norm?: "frobenius" | "spectral";
  /** The greatest of the paths' bounds, or their sum. */
  readonly combine?: "max" | "sum";
  /** Under every norm: above 0, a weight that begins at zero does not stop its partners. */
  readonly floor?: number;
  /** Normalisations on the way (QK norm, latent norms) pass as maps of norm 1, which they are not. */
  readonly heuristic?: boolean;
}
/** lr(W) = τ η f(W)/f(W)₀ for every weight below the labelled logits. */
export const quack = <S extends Tree>(
  inner: Optimizer<S>,
  { tau = 0.1, floor = 0, ...how }: QuackOptions = {},
): Optimizer<{ f0: Rates; inner: S }> => {
  if (!(tau > 0 && Number.isFinite(tau))) throw new RuleError(`quack: τ is ${tau}; a finite number above 0 is wanted`);
  positive("quack", "floor", floor, false);
  const factors = (loss: Tree) => deriveRates(find(loss, "logits"), { ...how, floor });
  return {
    ...sameBound(inner),
    init: (x) => {
      const f0 = factors(x.loss);
      if (floor === 0) refuseZero(x.w, f0);
      return { f0, inner: inner.init(x) };
    },
    update: (x) => {
      const rates = mapTree(factors(x.loss), (f, path) => {
        const f0 = x.s.f0[path];
        if (!f0) throw new RuleError(`quack: the state has no first factor of "${path}"`, "a state comes from this optimizer's own init or update");
        return map({ f, f0, tau }, ({ f, f0, tau }) => (tau * f) / f0);
      });
      const { w, s } = inner.update({ ...x, s: x.s.inner, rates: faster(x.rates, rates) });
      return { w, s: { f0: x.s.f0, inner: s } };
    },
  };
};
/** f of a weight's partners is 1/‖W‖ times others: of a weight that begins at zero, infinite, and 0 by f/f₀ for ever. */
function refuseZero(w: Tree, factors: Rates): void {
  for (const { path, node } of flatten(w)) {
    const init = node.op === "leaf" ? node.param?.init : undefined;
    if (init && path in factors && ("std" in init ? init.std === 0 : init.fill === 0))
      throw new RuleError(
        `quack: weight "${path}" begins at zero, which makes the rates of its partners zero for ever`,
        "give it another start, or a floor under every norm: quack(…, { floor: 1e-3 })",
      );
  }
}
/** Rates given from outside and these: factors multiply. */
const faster = (outer: Rates | undefined, own: Rates): Rates => ({
  ...outer,
  ...mapTree(own, (r, path) => {
    const given = outer?.[path];
    return given ? map({ given, r }, ({ given, r }) => given * r) : r;
  }),
});

/** The paper's ablation: every weight below the logits at τ times its rate, whatever the norms are. */
export const fixed = <S extends Tree>(inner: Optimizer<S>, { tau = 0.1 }: { readonly tau?: number } = {}): Optimizer<S> => {
  if (!(tau > 0 && Number.isFinite(tau))) throw new RuleError(`fixed: τ is ${tau}; a finite number above 0 is wanted`);
  return {
    ...sameBound(inner),
    init: (x) => inner.init(x),
    update: (x) => {
      const slowed: Rates = mapTree(deriveRates(find(x.loss, "logits"), { heuristic: true }), (_, path) => {
        const given = x.rates?.[path];
        return given ? scale(given, tau) : constant(tau);
      });
      return inner.update({ ...x, rates: { ...x.rates, ...slowed } });
    },
  };
};
