// QuacK and QK clip as transformations of an optimizer.
import { type Axes, deriveRates, find, MallardError, map, mapTree, max, type Optimizer, type Rates, type Tensor, type Tree } from "../dsl/index.js";
import { sameBound } from "./optim.js";

/** lr(W) = τ η f(W)/f(W)₀ for every weight below the labelled logits. */
export const quack = <S extends Tree>(
  inner: Optimizer<S>,
  {
    tau = 0.1,
    norm = "frobenius",
    combine = "max",
  }: { readonly tau?: number; readonly norm?: "frobenius" | "spectral"; readonly combine?: "max" | "sum" } = {},
): Optimizer<{ f0: Rates; inner: S }> => {
  if (!(tau > 0)) throw new MallardError(`quack: τ is ${tau}; a number above 0 is wanted`);
  const factors = (loss: Tree) => deriveRates(find(loss, "logits"), { norm, combine });
  return {
    ...sameBound(inner),
    init: (x) => ({ f0: factors(x.loss), inner: inner.init(x) }),
    update: (x) => {
      const rates = mapTree(factors(x.loss), (f, path) => map({ f, f0: x.s.f0[path]!, tau }, ({ f, f0, tau }) => (tau * f) / f0));
      const { w, s } = inner.update({ ...x, s: x.s.inner, rates: { ...x.rates, ...rates } });
      return { w, s: { f0: x.s.f0, inner: s } };
    },
  };
};

/** By a weight's name, the power of γ that it takes: together they scale a head's logits by γ. */
const together = { wq: 0.5, wk: 0.5, uq: 0.5, uk: 0.5, qr: 1 };
/** A key head shared by several queries stays: the query's weight takes all of γ. */
const queriesAlone = { ...together, wq: 1, wk: 0 };

/** Kimi K2: after the step, rescale the heads whose greatest unmasked logit passed `limit`. The maximum is an ordinary
 *  fold of the labelled scores: the compiler adds it to the kernel that has them. */
export const qkClip = <S extends Tree>(inner: Optimizer<S>, { limit = 100 } = {}): Optimizer<S> => ({
  ...sameBound(inner),
  init: (x) => inner.init(x),
  update: (x) => {
    const { w, s } = inner.update(x);
    const scores = find(x.loss, "scores");
    if (scores.length === 0) throw new MallardError("qkClip: the loss has no scores", 'name the masked logits: label(s, "scores")');
    const weights = new Map<string, Tensor<Axes, "f32">>();
    mapTree(x.w, (n, path) => {
      weights.set(path, n);
      return n;
    });
    const heads = scores.map(({ path, value }) => {
      const q = weights.get(`${path}.wq`) ?? weights.get(`${path}.uq`);
      if (!q)
        throw new MallardError(
          `qkClip: no query weight ${path}.wq or ${path}.uq for the scores of "${path}"`,
          "QK clip knows multi-head, grouped and latent attention",
        );
      const over = Object.keys(value.axes).filter((a) => !(a in q.axes)) as [string, ...string[]]; // query and key at least
      const top = max(value, ...over),
        k = weights.get(`${path}.wk`);
      return { path, top, powers: k && Object.keys(top.axes).some((a) => !(a in k.axes)) ? queriesAlone : together };
    });
    const clipped = mapTree(w, (w, path) => {
      const own = heads.find((h) => path.startsWith(`${h.path}.`));
      const power = own && Object.entries(own.powers).find(([name]) => path === `${own.path}.${name}`)?.[1];
      return own && power ? map({ w, top: own.top, limit, power }, ({ w, top, limit, power }) => (top > limit ? w * (limit / top) ** power : w)) : w;
    });
    return { w: clipped, s };
  },
});
