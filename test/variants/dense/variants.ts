// The 30 variants densely, from their formulas: every score is stored, every mask is a test of each pair. One function a
// row of the registry, by its name; `span` is the width of windows and the keys that an indexer keeps.
import { add, atLeast, div, exp, keep, logSigmoid, mul, plus, power, relu, root, scale, sigmoid, sub, tanh } from "./pointwise.js";
import { attend, average, contract, cumsum, greatest, softmax, square, total } from "./reductions.js";
import { extent, type Place, type Value } from "./tape.js";
import { gather, pick, rename, shift, split } from "./views.js";

export type Given = Readonly<Record<string, Value>>;
export type Dense = (x: Given, span: number) => Value;

/** Inputs by name; a name that is not there is an error of the test. */
const given =
  <K extends string>(f: (x: Readonly<Record<K, Value>>, span: number) => Value): Dense =>
  (x, span) =>
    f(
      new Proxy(x, {
        get: (all, name) => {
          const v = all[String(name)];
          if (!v) throw new Error(`no input ${String(name)}`);
          return v;
        },
      }) as Readonly<Record<K, Value>>, // what is missing throws above
      span,
    );
type QKV = "q" | "k" | "v";

const i = (p: Place) => p.query as number;
const j = (p: Place) => p.key as number;
const past = (p: Place) => j(p) <= i(p);

/** q·k/√d */
const scores = (q: Value, k: Value): Value => scale(contract(q, k, "dim"), 1 / Math.sqrt(extent(q.shape, "dim")));
/** Σ_j softmax_j(s) v_j, over the pairs that the test lets through. */
const attention = (s: Value, v: Value, test?: (p: Place) => boolean, sink?: Value): Value => attend(test ? keep(s, test) : s, v, ["key"], sink);
/** x / √(mean x² + 10⁻⁶) */
const rms = (x: Value, axis: string): Value => div(x, root(plus(average(square(x), axis), 1e-6)));

const multiHead = given<QKV>(({ q, k, v }) => attention(scores(q, k), v));
const causal = given<QKV>(({ q, k, v }) => attention(scores(q, k), v, past));
const near = (W: number) => (p: Place) => past(p) && i(p) - j(p) < W;

export const dense: Readonly<Record<string, Dense>> = {
  "multi-head": multiHead,
  // Query head h reads key head ⌊h·H_kv/H⌋.
  "grouped-query": given<QKV>(({ q, k, v }) => {
    const [heads, groups] = [extent(q.shape, "head"), extent(k.shape, "group")];
    const group = q.tape.table({ head: heads }, ({ head = 0 }) => Math.floor((head * groups) / heads));
    return attention(scores(q, gather(k, "group", group)), gather(v, "group", group));
  }),
  "multi-query": multiHead,
  latent: given<"qc" | "qr" | "c" | "kr" | "uk" | "uv">(({ qc, qr, c, kr, uk, uv }) => {
    const s = add(contract(qc, contract(uk, c, "latent"), "nope"), contract(qr, kr, "rope"));
    return attention(scale(s, 1 / Math.sqrt(extent(qc.shape, "nope") + extent(qr.shape, "rope"))), contract(uv, c, "latent"), past);
  }),
  causal,
  window: given<QKV>(({ q, k, v }, W) => attention(scores(q, k), v, near(W))),
  prefix: given<QKV | "prefix">(({ q, k, v, prefix }) => attention(scores(q, k), v, (p) => past(p) || j(p) < prefix.at(p))),
  documents: given<QKV | "doc">(({ q, k, v, doc }) => {
    const at = (p: Place, time: number) => doc.at({ ...p, time });
    return attention(scores(q, k), v, (p) => past(p) && at(p, i(p)) === at(p, j(p)));
  }),
  alibi: given<QKV | "m">(({ q, k, v, m }) => {
    const s = scores(q, k);
    return attention(
      sub(
        s,
        mul(
          m,
          q.tape.table(pairs(s), (p) => Math.abs(i(p) - j(p))),
        ),
      ),
      v,
      past,
    );
  }),
  "t5-bias": given<QKV | "b">(({ q, k, v, b }) => {
    const s = scores(q, k);
    const buckets = extent(b.shape, "bucket");
    const exact = buckets / 2;
    const bucket = q.tape.table(pairs(s), (p) => {
      const back = Math.max(i(p) - j(p), 0);
      if (back < exact) return back;
      return Math.min(buckets - 1, exact + Math.floor((Math.log(back / exact) / Math.log(128 / exact)) * (buckets - exact)));
    });
    return attention(add(s, gather(b, "bucket", bucket)), v, past);
  }),
  "soft-cap": given<QKV>(({ q, k, v }) => attention(scale(tanh(scale(scores(q, k), 1 / 2)), 2), v, past)),
  "qk-norm": given<QKV | "gq" | "gk">(({ q, k, v, gq, gk }) => attention(scores(mul(rms(q, "dim"), gq), mul(rms(k, "dim"), gk)), v, past)),
  cosine: given<QKV | "tau" | "b">(({ q, k, v, tau, b }) => {
    const unit = (x: Value) => div(x, root(total(square(x), "dim")));
    return attention(add(div(contract(unit(q), unit(k), "dim"), atLeast(tau, 0.01)), b), v);
  }),
  sigmoid: given<QKV>(({ q, k, v }) => {
    const s = scores(q, k);
    const weight = sigmoid(plus(s, -Math.log(Math.max(1, extent(s.shape, "key")))));
    return contract(keep(weight, past, 0), v, "key");
  }),
  // As published, one attention a map: where the two nearly cancel, the order of the operations is what the error hangs on.
  differential: given<QKV | "a" | "b" | "c" | "d">(({ q, k, v, a, b, c, d }) => {
    const map = (half: number) => attention(scores(pick(q, "half", half), pick(k, "half", half)), v, past);
    const lambda = plus(sub(exp(contract(a, b, "dim")), exp(contract(c, d, "dim"))), 0.8);
    return scale(rms(sub(map(0), mul(lambda, map(1))), "value"), 1 - 0.8);
  }),
  "sink-logit": given<QKV | "z">(({ q, k, v, z }) => attention(scores(q, k), v, past, z)),
  "off-by-one": given<QKV>(({ q, k, v }) => {
    const zero = q.tape.table({}, () => 0);
    return attention(scores(q, k), v, past, zero);
  }),
  "sink-tokens": given<QKV>(({ q, k, v }, W) => attention(scores(q, k), v, (p) => past(p) && (j(p) < 1 || i(p) - j(p) < W))),
  // The window of 3 × 3 positions around the query's, moved inside the image where it would reach out.
  neighbourhood: given<QKV>(({ q, k, v }) => {
    const first = (at: number, size: number) => Math.max(0, Math.min(at - 1, size - 3));
    const last = (at: number, size: number) => Math.min(size, Math.max(at + 2, 3)) - 1;
    const [h, w] = [extent(q.shape, "y"), extent(q.shape, "x")];
    const inside = (key: number, at: number, size: number) => key >= first(at, size) && key <= last(at, size);
    const s = keep(scores(q, k), ({ y = 0, x = 0, ky = 0, kx = 0 }) => inside(ky, y, h) && inside(kx, x, w));
    return attend(s, v, ["ky", "kx"]);
  }),
  dilated: given<QKV>(({ q, k, v }) => attention(scores(q, k), v, (p) => past(p) && i(p) - j(p) < 2 * 2 && (i(p) - j(p)) % 2 === 0)),
  // σ(z_ij) Π_{j<k<i} (1 − σ(z_ik)), where 1 − σ(z) = σ(−z)
  "stick-breaking": given<QKV>(({ q, k, v }) => {
    const before = (p: Place) => j(p) < i(p);
    const z = scores(q, k);
    const left = cumsum(keep(logSigmoid(scale(z, -1)), before, 0), "key", { reverse: true, exclusive: true });
    return contract(keep(exp(add(logSigmoid(z), left)), before, 0), v, "key");
  }),
  forgetting: given<QKV | "logf">(({ q, k, v, logf }) => {
    const F = cumsum(logf, "time");
    return attention(add(scores(q, k), sub(rename(F, { time: "query" }), rename(F, { time: "key" }))), v, past);
  }),
  "tensor-product": given<"aq" | "bq" | "ak" | "bk" | "av" | "bv">(({ aq, bq, ak, bk, av, bv }, span) => {
    const product = (a: Value, b: Value, rank: string) => scale(contract(a, b, rank), 1 / extent(a.shape, rank));
    return causal({ q: product(aq, bq, "rq"), k: product(ak, bk, "rk"), v: product(av, bv, "rv") }, span);
  }),
  // Σ_{a,b} θ_ab s_{i−a, j−b}, b centred
  "multi-token": given<QKV | "theta">(({ q, k, v, theta }) => {
    const s = keep(scores(q, k), past, 0);
    const [A, B] = [extent(theta.shape, "a"), extent(theta.shape, "b")];
    const taps = Array.from({ length: A * B }, (_, n) => {
      const [a, b] = [Math.floor(n / B), n % B];
      return mul(pick(pick(theta, "a", a), "b", b), shift(shift(s, "query", a), "key", b - Math.floor((B - 1) / 2)));
    });
    return attention(
      taps.reduce((sum, t) => add(sum, t)),
      v,
      past,
    );
  }),
  // Σ_m M_mh (P_m V_h)
  "talking-heads": given<QKV | "L" | "M">(({ q, k, v, L, M }) => contract(attention(contract(scores(q, k), L, "head"), v, past), M, "map")),
  gated: given<QKV | "x" | "w">(({ q, k, v, x, w }, span) => mul(causal({ q, k, v }, span), sigmoid(contract(x, w, "model")))),
  retention: given<QKV | "gamma">(({ q, k, v, gamma }) => {
    const s = contract(q, k, "dim");
    const decay = power(
      gamma,
      q.tape.table(pairs(s), (p) => Math.max(0, i(p) - j(p))),
    );
    return contract(keep(mul(s, decay), past, 0), v, "key");
  }),
  simplicial: given<QKV | "k2" | "v2">(({ q, k, k2, v, v2 }) => {
    const s = scale(contract(mul(q, k), k2, "dim"), 1 / Math.sqrt(extent(q.shape, "dim")));
    const seen = keep(s, (p) => past(p) && (p.key2 as number) <= i(p));
    return attend(seen, mul(v, v2), ["key", "key2"]);
  }),
  // Blocks of 4 keys; the heads of a group choose one block together, by the sum of their weights over compressed blocks.
  "native-sparse": given<QKV | "pool" | "gate">(({ q, k, v, pool, gate }, W) => {
    const blocks = { block: extent(k.shape, "key") / 4, within: 4 };
    const [kb, vb] = [split(k, "key", blocks), split(v, "key", blocks)];
    const at = (block: number, within: number) => 4 * block + within;
    const coarse = keep(scores(q, contract(kb, pool, "within")), (p) => at(p.block as number, 3) <= i(p));
    const chosen = greatest(total(softmax(coarse, "block"), "member"), "block", "slot", 1);
    const fine = keep(scores(q, gather(kb, "block", chosen)), (p) => at(chosen.at(p), p.within as number) <= i(p));
    const branches = [
      attend(coarse, contract(vb, pool, "within"), ["block"]),
      attend(fine, gather(vb, "block", chosen), ["slot", "within"]),
      attention(scores(q, k), v, near(W)),
    ];
    return branches.map((o, c) => mul(o, pick(gate, "branch", c))).reduce((sum, o) => add(sum, o));
  }),
  "lightning-indexer": given<QKV | "qi" | "ki" | "w">(({ q, k, v, qi, ki, w }, n) => {
    const score = keep(contract(relu(contract(qi, ki, "idim")), w, "part"), past);
    const kept = greatest(score, "key", "slot", n);
    const s = keep(scores(q, gather(k, "key", kept)), (p) => kept.at(p) >= 0 && kept.at(p) <= i(p));
    return attend(s, gather(v, "key", kept), ["slot"]);
  }),
};
/** The axes of a table over pairs. */
function pairs(s: Value): { readonly query: number; readonly key: number } {
  return { query: extent(s.shape, "query"), key: extent(s.shape, "key") };
}
