// Parts of std/ written in the language itself, to see whether the five primitives are enough.
import {
  at,
  dot,
  fold,
  formula,
  grid,
  input,
  ints,
  logSumExp,
  map,
  monoid,
  mul,
  scan,
  size,
  sizes,
  stopGradient,
  type Tensor,
  view,
} from "../../dsl/index.js";

/** Rotary positions, rotate-half (Su 2021). */
export const rope = formula({ x: "time dim" }, ({ x }) => {
  const partner = view(x, sizes(x, "dim"), ({ dim }, { dim: D }) => ({ dim: (dim + D / 2) % D }));
  return map({ x, partner, base: 10000 }, ({ x, partner, base }, { time, dim }, { dim: D }) => {
    const angle = time * base ** ((-2 * (dim % (D / 2))) / D);
    return x * Math.cos(angle) + (dim < D / 2 ? -partner : partner) * Math.sin(angle);
  });
});

/** Cross-entropy with z-loss; no probabilities are stored. */
export const crossEntropy = (z: number) =>
  formula({ logits: "vocab", target: ints("") }, ({ logits, target }) =>
    map({ lse: logSumExp(logits, "vocab"), hit: at(logits, { vocab: target }), z }, ({ lse, hit, z }) => lse - hit + z * lse * lse),
  );

/** Online softmax as a fold whose third component alone has the axis `value`. */
const online = monoid({ m: -Infinity, l: 0, o: 0 }, (a, b) => {
  const m = Math.max(a.m, b.m),
    ea = Math.exp(a.m - m),
    eb = Math.exp(b.m - m);
  return { m, l: a.l * ea + b.l * eb, o: a.o * ea + b.o * eb };
});
export const softmaxDot = formula({ s: "query key", v: "key value" }, ({ s, v }) => {
  const { l, o } = fold({ m: s, l: map(s, () => 1), o: map({ s, v }, ({ v }) => v) }, online, "key");
  return map({ l, o }, ({ l, o }) => (l > 0 ? o / l : 0));
});

/** Retention as a recurrence: S_t = γ S_{t−1} + k_t v_tᵀ. */
const linear = monoid({ a: 1, b: 0 }, (x, y) => ({ a: x.a * y.a, b: x.b * y.a + y.b }));
export const recurrent = formula({ q: "time dim", k: "time dim", v: "time value", gamma: "" }, ({ q, k, v, gamma }) => {
  const kv = mul(k, v),
    S = scan({ a: map({ kv, gamma }, ({ gamma }) => gamma), b: kv }, linear, "time").b;
  return dot(q, S, "dim");
});

/** The diagonal of a square: both axes read by one. */
export const diagonal = formula({ s: "query key" }, ({ s }) => view(s, sizes(s, "query"), ({ query }) => ({ query, key: query })));
/** One step of decoding: the training formula, read at one query. */
export const straightThrough = formula({ x: "" }, ({ x }) => map({ x, r: stopGradient(map(x, (x) => Math.round(x) - x)) }, ({ x, r }) => x + r));

const x = input({ batch: 2, head: 8, time: 128, dim: 64 });
rope({ x }) satisfies Tensor<{ batch: 2; head: 8; time: 128; dim: 64 }>;
softmaxDot({ s: input({ head: 8, query: 16, key: 32 }), v: input({ head: 8, key: 32, value: 4 }) }) satisfies Tensor<{
  head: 8;
  query: 16;
  value: 4;
}>;
crossEntropy(1e-4)({ logits: input({ batch: 2, time: 8, vocab: 256 }), target: input({ batch: 2, time: 8 }, "i32") }) satisfies Tensor<{
  batch: 2;
  time: 8;
}>;
diagonal({ s: input({ head: 8, query: 16, key: 16 }) }) satisfies Tensor<{ head: 8; query: 16 }>;
recurrent({ q: x, k: x, v: input({ batch: 2, head: 8, time: 128, value: 32 }), gamma: input({ head: 8 }) }) satisfies Tensor<{
  batch: 2;
  head: 8;
  time: 128;
  value: 32;
}>;
grid({ i: 4, j: 4 }, ({ i, j }) => i >= j) satisfies Tensor<{ i: 4; j: 4 }, "bool">;
size(x, "dim") satisfies 64;
