// The scores of a decoder's attention: causal, with the two changes of the logits that are asked for to keep them small.
// A soft cap bounds the score whatever the logit is; the muP scale takes 1/d for 1/√d, since after training q and k are
// aligned and their product grows with d (Yang 2022). "logits" are the values before the cap, "scores" those after.
import { add, dot, formula, label, MallardError, map, scale, size, softmax } from "../dsl/index.js";
import { latent } from "./attention/04-latent.js";
import { causal } from "./attention/05-causal.js";
import { qkv } from "./attention/base.js";

export interface ScoreOptions {
  /** c·tanh(ℓ/c) of every logit ℓ (Gemma 2: 50). */
  readonly softCap?: number;
  /** Logits are q·k/d, not q·k/√d. */
  readonly muP?: boolean;
}
/** The cap, or 0 for none. */
function capOf({ softCap }: ScoreOptions): number {
  if (softCap === undefined) return 0;
  if (!(softCap > 0 && Number.isFinite(softCap))) throw new MallardError(`softCap is ${softCap}; a finite number above 0 is wanted`);
  return softCap;
}
const plain = (o: ScoreOptions): boolean => o.softCap === undefined && !o.muP;
const power = (o: ScoreOptions): number => (o.muP ? -1 : -0.5);

/** Causal attention of q, k and v. */
export const causalBy = (o: ScoreOptions): typeof causal => {
  if (plain(o)) return causal;
  const c = capOf(o);
  return formula(qkv, ({ q, k, v }) => {
    const l = label(scale(dot(q, k, "dim"), size(q, "dim") ** power(o)), "logits");
    const s =
      c === 0
        ? map(l, (l, { query: i, key: j }) => (j <= i ? l : -Infinity))
        : map({ l, c }, ({ l, c }, { query: i, key: j }) => (j <= i ? c * Math.tanh(l / c) : -Infinity));
    return dot(softmax(label(s, "scores"), "key"), v, "key");
  });
};
/** Latent attention, causal. */
export const latentBy = (o: ScoreOptions): typeof latent => {
  if (plain(o)) return latent;
  const c = capOf(o);
  return formula(latent.inputs, ({ qc, qr, c: ckv, kr, uk, uv }) => {
    const qk = add(dot(qc, dot(ckv, uk, "latent"), "nope"), dot(qr, kr, "rope"));
    const l = label(scale(qk, (size(qc, "nope") + size(qr, "rope")) ** power(o)), "logits");
    const s =
      c === 0
        ? map(l, (l, { query: i, key: j }) => (j <= i ? l : -Infinity))
        : map({ l, c }, ({ l, c }, { query: i, key: j }) => (j <= i ? c * Math.tanh(l / c) : -Infinity));
    return dot(softmax(label(s, "scores"), "key"), dot(ckv, uv, "latent"), "key");
  });
};
