// QK clip (Kimi K2): after the step, the heads whose greatest logit passed a limit have their weights scaled, so that it
// would have been the limit. The logits are the labelled ones, before soft cap and bias; which pairs are masked, the
// scores tell. Their maximum is an ordinary fold, which the compiler joins to the kernel that has them.
import { type Axes, find, map, mapTree, max, type Optimizer, RuleError, type Tensor, type Tree, unmasked } from "../dsl/index.js";
import { positive } from "./optimizers/checks.js";

/** By a weight's name, the power of γ that it takes. */
export type Powers = Readonly<Record<string, number>>;
/** Multi-head: both sides share γ. A key head that serves several query heads stays, and the query's weight takes all. */
const multiHead: Powers = { wq: 0.5, wk: 0.5 };
const grouped: Powers = { wq: 1 };
/** The rotary key is one for all heads: it stays, and the rotary query takes all. */
const latent: Powers = { uq: 0.5, uk: 0.5, qr: 1 };

export interface QkClipOptions {
  /** t: no logit is to pass it. 100 unless said; Kimi K2 has 100, its small models 30. */
  readonly limit?: number;
  /** For attentions whose weights have other names, by the name below the attention's path, the power of γ that each
   *  takes: over every product of weights that a logit sums, they are to add up to 1. */
  readonly powers?: Powers;
}
interface Head {
  readonly path: string;
  /** The greatest logit since the last step, by layer and head. */
  readonly top: Tensor;
  readonly powers: Powers;
}

/** After each step γ = limit/S for heads with S > limit, S the greatest unmasked signed logit of the step's forward pass. */
export const qkClip = <S extends Tree>(inner: Optimizer<S>, { limit = 100, powers }: QkClipOptions = {}): Optimizer<S> => {
  positive("qkClip", "limit", limit);
  for (const [name, p] of Object.entries(powers ?? {})) positive("qkClip", `the power of "${name}"`, p, false);
  return {
    stepBound: () => null, // a rescaled weight moves by a share of itself, which no D bounds
    init: (x) => inner.init(x),
    update: (x) => {
      const { w, s } = inner.update(x);
      const weights = new Map<string, Tensor>();
      mapTree<Tree>(x.w, (n, path) => {
        weights.set(path, n);
        return n;
      });
      const heads = headsOf(x.loss, weights, powers);
      const clipped = mapTree(w, (w, path) => {
        const own = heads.find((h) => Object.keys(h.powers).some((name) => path === below(h.path, name)));
        const power = own?.powers[path.slice(below(own.path, "").length)];
        return own && power
          ? map({ w, top: own.top, limit, power }, ({ w, top, limit, power }) => (top > limit ? w * (limit / top) ** power : w))
          : w;
      });
      return { w: clipped, s };
    },
  };
};
const below = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);

function headsOf(loss: Tree, weights: ReadonlyMap<string, Tensor>, given: Powers | undefined): readonly Head[] {
  const scores = find(loss, "scores"),
    logits = find(loss, "logits");
  if (scores.length === 0 || logits.length === 0)
    throw new RuleError(
      `qkClip: the loss has no ${scores.length === 0 ? "scores" : "logits"}`,
      'name both where they are computed: label(l, "logits") before mask, cap and bias, label(s, "scores") after',
    );
  return scores.map(({ path, value: s }) => {
    const own = logits.filter((l) => l.path === path);
    const [l, more] = own;
    if (!l || more || scores.filter((x) => x.path === path).length > 1)
      throw new RuleError(
        `qkClip: ${own.length} logits and ${scores.filter((x) => x.path === path).length} scores are labelled at "${path}"; one of each is wanted`,
        "an attention of several maps has no form of QK clip",
      );
    const powers = powersAt(path, weights, given, s);
    const query = weights.get(below(path, Object.keys(powers)[0] ?? "")) as Tensor<Axes, "f32">; // powersAt found it
    const over = Object.keys(s.axes).filter((a) => !(a in query.axes)) as [string, ...string[]]; // query and key at least
    return { path, top: max(unmasked(l.value, s), ...over), powers };
  });
}
/** The form of the attention at a path, by its weights' names. */
function powersAt(path: string, weights: ReadonlyMap<string, Tensor>, given: Powers | undefined, scores: Tensor): Powers {
  const at = (name: string) => weights.get(below(path, name));
  const complete = (powers: Powers) => Object.keys(powers).every((name) => at(name));
  if (given) {
    const lacks = Object.keys(given).find((name) => !at(name));
    if (lacks !== undefined || Object.keys(given).length === 0)
      throw new RuleError(
        `qkClip: there is no weight "${below(path, lacks ?? "")}"`,
        `the weights are ${[...weights.keys()].map((k) => `"${k}"`).join(", ")}`,
      );
    return given;
  }
  if (complete(latent)) return latent;
  const [q, k] = [at("wq"), at("wk")];
  if (q && k) return Object.keys(scores.axes).some((a) => a in q.axes && !(a in k.axes)) ? grouped : multiHead;
  throw new RuleError(
    `qkClip: the attention at "${path}" has no weights wq and wk, nor uq, uk and qr`,
    "QK clip knows multi-head, grouped and latent attention by these names; for others give the powers of γ: qkClip(…, { powers: { q: 0.5, k: 0.5 } })",
  );
}
