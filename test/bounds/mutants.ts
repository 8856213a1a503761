// The rule of QuacK made wrong, one mistake each: what the budget is there to catch. All of them keep the certificate.
import {
  type Axes,
  at,
  deriveRates,
  dot,
  find,
  input,
  label,
  map,
  mapTree,
  model,
  mul,
  norm,
  type Optimizer,
  type Rates,
  rename,
  type Scalar,
  scale,
  softmax,
  sum,
  type Tensor,
  type Tree,
  view,
  weight,
} from "../../index.js";
import { fixed } from "../../models/index.js";
import { unit } from "./harness.js";

type Weights = Readonly<Record<string, Tensor<Axes, "f32">>>;
type Factors = (x: { readonly w: Weights; readonly loss: Scalar }) => Rates;
const derived: Factors = ({ loss }) => deriveRates(find(loss, "logits"));
/** QuacK with other factors than the derived ones, and another function of them and the first ones. */
export const quackBy = (
  tau: number,
  factors: Factors,
  rate: (x: { readonly f: number; readonly f0: number; readonly tau: number }) => number = ({ f, f0, tau }) => (tau * f) / f0,
  inner: Optimizer = unit,
): Optimizer<{ f0: Rates; inner: Tree }> => ({
  init: (x) => ({ f0: factors({ w: x.w as unknown as Weights, loss: x.loss }), inner: inner.init(x) }), // a flat tree
  update: (x) => {
    const now = factors({ w: x.w as unknown as Weights, loss: x.loss });
    const rates = mapTree(now, (f, path) => map({ f, f0: x.s.f0[path] as Tensor<Axes, "f32">, tau }, rate));
    const { w, s } = inner.update({ ...x, s: x.s.inner, rates });
    return { w, s: { f0: x.s.f0, inner: s } };
  },
  ...(inner.stepBound ? { stepBound: inner.stepBound } : {}),
});
const of = (w: Weights, name: string): Tensor<Axes, "f32"> => w[name] as Tensor<Axes, "f32">;
/** The norm over the axes that do not tell heads apart. */
const over = (x: Tensor<Axes, "f32">, ...apart: readonly string[]): Tensor<Axes, "f32"> =>
  norm(x, ...(Object.keys(x.axes).filter((a) => !["$case", ...apart].includes(a)) as [string, ...string[]]));
const inverse = (x: Tensor<Axes, "f32">): Tensor<Axes, "f32"> => map(x, (x) => 1 / x);

// ── multi-head ───────────────────────────────────────────────────────────────────────────────────────
/** Algorithm 1 as printed: W_K's rate is divided by ‖W_K‖. */
export const misprinted = (tau: number) =>
  quackBy(tau, ({ w }) => ({ wq: inverse(over(of(w, "wk"), "head")), wk: inverse(over(of(w, "wk"), "head")) }));
/** η, and no factor at all; τη for the weights below the logits, and no norm. */
export const plain = unit;
export const withoutNorms = (tau: number) => fixed(unit, { tau });
export const squared = (tau: number) => quackBy(tau, derived, ({ f, f0, tau }) => (tau * f * f) / (f0 * f0));
export const tooLarge = (tau: number) => quackBy(tau, derived, ({ f, f0, tau }) => (1.05 * tau * f) / f0);
/** The factors of the step before. */
export const stale = (tau: number): Optimizer<{ f0: Rates; last: Rates; inner: Tree }> => {
  const factors = (loss: Scalar) => deriveRates(find(loss, "logits"));
  return {
    init: (x) => ({ f0: factors(x.loss), last: factors(x.loss), inner: unit.init(x) }),
    update: (x) => {
      const rates = mapTree(x.s.last, (f, path) => map({ f, f0: x.s.f0[path] as Tensor<Axes, "f32">, tau }, ({ f, f0, tau }) => (tau * f) / f0));
      const { w, s } = unit.update({ ...x, s: x.s.inner, rates });
      return { w, s: { f0: x.s.f0, last: factors(x.loss), inner: s } };
    },
    ...(unit.stepBound ? { stepBound: unit.stepBound } : {}),
  };
};
/** The norms of the weights that the inner rule has made already. */
export const afterwards = (tau: number): Optimizer<{ f0: Rates; inner: Tree }> => {
  const factors = (w: Weights): Rates => ({ wq: inverse(over(of(w, "wk"), "head")), wk: inverse(over(of(w, "wq"), "head")) });
  return {
    init: (x) => ({ f0: factors(x.w as unknown as Weights), inner: unit.init(x) }), // a flat tree
    update: (x) => {
      const moved = unit.update({ ...x, s: x.s.inner }).w as unknown as Weights; // a flat tree
      const rates = mapTree(factors(moved), (f, path) =>
        map({ f, f0: x.s.f0[path] as Tensor<Axes, "f32">, tau }, ({ f, f0, tau }) => (tau * f) / f0),
      );
      const { w, s } = unit.update({ ...x, s: x.s.inner, rates });
      return { w, s: { f0: x.s.f0, inner: s } };
    },
    ...(unit.stepBound ? { stepBound: unit.stepBound } : {}),
  };
};

// ── shared weights ───────────────────────────────────────────────────────────────────────────────────
/** The first member's norm in place of the greatest. */
export const groupWithoutMaximum = (tau: number) =>
  quackBy(tau, ({ w }) => ({ wq: inverse(over(of(w, "wk"), "group")), wk: inverse(over(at(of(w, "wq"), { member: 0 }), "group")) }));
/** The first head's product of norms in place of the greatest, for the weights that the heads share. */
export const latentWithoutMaximum = (tau: number) =>
  quackBy(tau, ({ w, loss }) => {
    const first = (name: string) => over(at(of(w, name), { head: 0 }));
    const right = deriveRates(find(loss, "logits"));
    return {
      ...right,
      dkv: inverse(mul(mul(first("uq"), over(of(w, "dq"))), first("uk"))),
      kr: inverse(mul(first("qr"), over(of(w, "dq")))),
    };
  });

// ── rotary positions ─────────────────────────────────────────────────────────────────────────────────
/** The rotation as its terms, not declared to be one map of norm 1. */
const turned = (x: Tensor<Axes, "f32">, position: string): Tensor<Axes, "f32"> => {
  const own = rename(x, { [position]: "position" }) as unknown as Tensor<{ position: number; rope: number }>;
  const partner = view(own, { rope: own.axes.rope }, ({ rope }, { rope: D }) => ({ rope: (rope + D / 2) % D }));
  const out = map({ x: own, partner }, ({ x, partner }, { position, rope }, { rope: D }) => {
    const angle = position * 1e6 ** ((-2 * (rope % (D / 2))) / D);
    return x * Math.cos(angle) + partner * ((rope < D / 2 ? -1 : 1) * Math.sin(angle));
  });
  return rename(out as unknown as Tensor<Axes, "f32">, { position: position as never }) as unknown as Tensor<Axes, "f32">; // query or key
};
/** Latent attention's logits again, the rotations as sums of terms: what the factors are derived from. */
export const ropeAsPaths = (tau: number) =>
  quackBy(tau, ({ w }) => {
    const extent = (name: string, axis: string) => of(w, name).axes[axis] as number;
    const [d, cq, head, nope, rope, latent] = [
      extent("dq", "model"),
      extent("dq", "cq"),
      extent("uq", "head"),
      extent("uq", "nope"),
      extent("qr", "rope"),
      extent("uk", "latent"),
    ];
    const parts = {
      dq: weight({ model: d }, { cq }),
      uq: weight({ cq }, { head, nope }),
      qr: weight({ cq }, { head, rope }),
      dkv: weight({ model: d }, { latent }),
      uk: weight({ latent }, { head, nope }),
      kr: weight({ model: d }, { rope }),
    };
    const wrong = model(parts, { x: "time model" }, ({ dq, uq, qr, dkv, uk, kr, x }) => {
      const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
      const c = dot(xi, dq, "model");
      const q = turned(dot(c, qr, "cq") as unknown as Tensor<Axes, "f32">, "query");
      const k = turned(dot(xj, kr, "model") as unknown as Tensor<Axes, "f32">, "key");
      const nopes = dot(dot(c, uq, "cq"), dot(dot(xj, dkv, "model"), uk, "latent"), "nope") as unknown as Tensor<Axes, "f32">;
      const l = label(
        scale(
          map({ a: nopes, b: dot(q, k, "rope") }, ({ a, b }) => a + b),
          (nope + rope) ** -0.5,
        ),
        "logits",
      );
      return sum(softmax(l, "key"), "key") as unknown as Tensor<{ query: number }>;
    });
    const { dq, uq, qr, dkv, uk, kr } = w;
    const y = wrong.apply({ dq, uq, qr, dkv, uk, kr } as never, { x: input({ time: 2, model: d }) }); // factors are of the weights alone
    return deriveRates(find(y as Tree, "logits"), { combine: "sum" });
  });
