// The one-call form with map's convention: nine variants, one line each.
import { attention, cumsum, formula, input, ints, rename } from "../../dsl/index.js";
import { qkv } from "../../models/attention/base.js";

export const causal = formula(qkv, (x) => attention(x, ({ s }, { query: i, key: j }) => (j <= i ? s : -Infinity)));
export const window = (W: number) =>
  formula(qkv, (x) => attention({ ...x, W }, ({ s, W }, { query: i, key: j }) => (j <= i && i - j < W ? s : -Infinity)));
export const prefix = formula({ ...qkv, prefix: ints("") }, (x) =>
  attention(x, ({ s, prefix }, { query: i, key: j }) => (j <= i || j < prefix ? s : -Infinity)),
);
export const documents = formula({ ...qkv, doc: ints("time") }, ({ q, k, v, doc }) =>
  attention({ q, k, v, di: rename(doc, { time: "query" }), dj: rename(doc, { time: "key" }) }, ({ s, di, dj }, { query: i, key: j }) =>
    j <= i && di === dj ? s : -Infinity,
  ),
);
export const alibi = formula({ ...qkv, m: "" }, (x) => attention(x, ({ s, m }, { query: i, key: j }) => (j <= i ? s - m * (i - j) : -Infinity)));
export const softCap = (c: number) =>
  formula(qkv, (x) => attention({ ...x, c }, ({ s, c }, { query: i, key: j }) => (j <= i ? c * Math.tanh(s / c) : -Infinity)));
export const sinkTokens = (n: number, W: number) =>
  formula(qkv, (x) => attention({ ...x, n, W }, ({ s, n, W }, { query: i, key: j }) => (j <= i && (j < n || i - j < W) ? s : -Infinity)));
export const dilated = (W: number, d: number) =>
  formula(qkv, (x) =>
    attention({ ...x, W, d }, ({ s, W, d }, { query: i, key: j }) => (j <= i && i - j < d * W && (i - j) % d === 0 ? s : -Infinity)),
  );
export const forgetting = formula({ ...qkv, logf: "time" }, ({ q, k, v, logf }) => {
  const F = cumsum(logf, "time");
  return attention({ q, k, v, Fi: rename(F, { time: "query" }), Fj: rename(F, { time: "key" }) }, ({ s, Fi, Fj }, { query: i, key: j }) =>
    j <= i ? s + Fi - Fj : -Infinity,
  );
});

const q = input({ batch: 2, head: 8, query: 128, dim: 64 }),
  k = input({ batch: 2, head: 8, key: 96, dim: 64 }),
  v = input({ batch: 2, head: 8, key: 96, value: 32 });
alibi({ q, k, v, m: input({ head: 8 }) }).axes satisfies { batch: 2; head: 8; query: 128; value: 32 };
attention({ q, k, v, m: input({ layer: 3 }) }, ({ s, m }, { layer }) => s - m * layer).axes satisfies {
  layer: 3;
  batch: 2;
  head: 8;
  query: 128;
  value: 32;
};
export const mistakes = [
  // @ts-expect-error value is no axis of the score
  () => attention({ q, k, v }, ({ s }, { value }) => s + value),
  // @ts-expect-error input "k" lacks axis "key"
  () => attention({ q, k: q, v }),
];
