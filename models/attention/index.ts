// The attention variants, and one registry of them for whatever runs over all: tests, explain, benchmarks. A row makes
// an example: fresh inputs of given sizes, and the variant applied to them.
import { type AnyTensor, type DType, input, type Tensor } from "../../dsl/index.js";
import { multiHead } from "./01-multi-head.js";
import { groupedQuery } from "./02-grouped-query.js";
import { multiQuery } from "./03-multi-query.js";
import { latent } from "./04-latent.js";
import { causal } from "./05-causal.js";
import { window } from "./06-window.js";
import { prefix } from "./07-prefix.js";
import { documents } from "./08-documents.js";
import { alibi } from "./09-alibi.js";
import { t5 } from "./10-t5-bias.js";
import { softCap } from "./11-soft-cap.js";
import { qkNorm } from "./12-qk-norm.js";
import { cosine } from "./13-cosine.js";
import { sigmoidAttention } from "./14-sigmoid.js";
import { differential } from "./15-differential.js";
import { sinkLogit } from "./16-sink-logit.js";
import { offByOne } from "./17-off-by-one.js";
import { sinkTokens } from "./18-sink-tokens.js";
import { neighbourhood } from "./19-neighbourhood.js";
import { dilated } from "./20-dilated.js";
import { stickBreaking } from "./21-stick-breaking.js";
import { forgetting } from "./22-forgetting.js";
import { tensorProduct } from "./23-tensor-product.js";
import { multiToken } from "./24-multi-token.js";
import { talkingHeads } from "./25-talking-heads.js";
import { gated } from "./26-gated.js";
import { retention } from "./27-retention.js";
import { simplicial } from "./28-simplicial.js";
import { nativeSparse } from "./29-native-sparse.js";
import { lightningIndexer } from "./30-lightning-indexer.js";

export { logits, qkv } from "./base.js";
export {
  alibi,
  causal,
  cosine,
  differential,
  dilated,
  documents,
  forgetting,
  gated,
  groupedQuery,
  latent,
  lightningIndexer,
  multiHead,
  multiQuery,
  multiToken,
  nativeSparse,
  neighbourhood,
  offByOne,
  prefix,
  qkNorm,
  retention,
  sigmoidAttention,
  simplicial,
  sinkLogit,
  sinkTokens,
  softCap,
  stickBreaking,
  t5,
  talkingHeads,
  tensorProduct,
  window,
};

/** Sizes of an example; `head` and `dim` are even. `batch`, `time`, `key`, `y` and `x` may be what `upTo` gives, except where
 *  a variant cuts an axis into pieces (the keys of native sparse attention: a multiple of 4). */
export interface Sizes {
  readonly batch: number;
  readonly head: number;
  /** Of queries, and of keys unless `key` says otherwise. Documents and forget gates lie along one time: no other keys. */
  readonly time: number;
  readonly key?: number;
  readonly dim: number;
  readonly value: number;
  /** The width of windows and the keys that an indexer keeps. `time / 2` unless said; `time` is a number then. */
  readonly span?: number;
  /** The neighbourhood's image. 4 by `time / 4` unless said; `time` is a multiple of 4 then. */
  readonly y?: number;
  readonly x?: number;
}
export interface Example {
  readonly inputs: { readonly [name: string]: AnyTensor };
  readonly out: AnyTensor;
}
export interface Variant {
  readonly number: number;
  readonly name: string;
  readonly title: string;
  readonly example: (s: Sizes) => Example;
}
const example = <I extends { readonly [name: string]: AnyTensor }>(inputs: I, apply: (x: I) => AnyTensor): Example => ({
  inputs,
  out: apply(inputs),
});
const whole = <const A extends { readonly [axis: string]: number }>(axes: A): Tensor<{ -readonly [K in keyof A]: A[K] } & {}, "i32"> =>
  input(axes, "i32" satisfies DType);
const span = (s: Sizes): number => s.span ?? s.time / 2;
/** q, k and v of one attention. */
const heads = ({ batch, head, time, key = time, dim, value }: Sizes) => ({
  q: input({ batch, head, query: time, dim }),
  k: input({ batch, head, key, dim }),
  v: input({ batch, head, key, value }),
});
const shared = ({ batch, time, key = time, dim, value }: Sizes) => ({ k: input({ batch, key, dim }), v: input({ batch, key, value }) });
/** Queries and keys are the same positions. */
const self = (s: Sizes) => heads({ ...s, key: s.time });

export const variants: readonly Variant[] = [
  { number: 1, name: "multi-head", title: "multi-head attention", example: (s) => example(heads(s), multiHead) },
  {
    number: 2,
    name: "grouped-query",
    title: "grouped queries",
    example: (s) =>
      example(
        {
          ...heads(s),
          k: input({ batch: s.batch, group: s.head / 2, key: s.key ?? s.time, dim: s.dim }),
          v: input({ batch: s.batch, group: s.head / 2, key: s.key ?? s.time, value: s.value }),
        },
        groupedQuery,
      ),
  },
  { number: 3, name: "multi-query", title: "multi-query attention", example: (s) => example({ ...heads(s), ...shared(s) }, multiQuery) },
  {
    number: 4,
    name: "latent",
    title: "multi-head latent attention",
    example: ({ batch, head, time, key = time, dim, value }) =>
      example(
        {
          qc: input({ batch, head, query: time, nope: dim }),
          qr: input({ batch, head, query: time, rope: dim / 2 }),
          c: input({ batch, key, latent: dim }),
          kr: input({ batch, key, rope: dim / 2 }),
          uk: input({ head, latent: dim, nope: dim }),
          uv: input({ head, latent: dim, value }),
        },
        latent,
      ),
  },
  { number: 5, name: "causal", title: "causal mask", example: (s) => example(heads(s), causal) },
  { number: 6, name: "window", title: "sliding window", example: (s) => example(heads(s), window(span(s))) },
  { number: 7, name: "prefix", title: "prefix LM", example: (s) => example({ ...heads(s), prefix: whole({ batch: s.batch }) }, prefix) },
  {
    number: 8,
    name: "documents",
    title: "packed documents",
    example: (s) => example({ ...self(s), doc: whole({ batch: s.batch, time: s.time }) }, documents),
  },
  { number: 9, name: "alibi", title: "ALiBi", example: (s) => example({ ...heads(s), m: input({ head: s.head }) }, alibi) },
  { number: 10, name: "t5-bias", title: "T5 relative bias", example: (s) => example({ ...heads(s), b: input({ head: s.head, bucket: 8 }) }, t5) },
  { number: 11, name: "soft-cap", title: "soft-capped logits", example: (s) => example(heads(s), softCap(2)) },
  {
    number: 12,
    name: "qk-norm",
    title: "QK norm",
    example: (s) => example({ ...heads(s), gq: input({ dim: s.dim }), gk: input({ dim: s.dim }) }, qkNorm),
  },
  {
    number: 13,
    name: "cosine",
    title: "cosine attention",
    example: (s) => example({ ...heads(s), tau: input({ head: s.head }), b: input({ head: s.head, query: s.time, key: s.key ?? s.time }) }, cosine),
  },
  { number: 14, name: "sigmoid", title: "sigmoid attention", example: (s) => example(heads(s), sigmoidAttention) },
  {
    number: 15,
    name: "differential",
    title: "differential attention",
    example: ({ batch, head, time, key = time, dim, value }) =>
      example(
        {
          q: input({ batch, head, half: 2, query: time, dim }),
          k: input({ batch, head, half: 2, key, dim }),
          v: input({ batch, head, key, value }),
          a: input({ head, dim }),
          b: input({ head, dim }),
          c: input({ head, dim }),
          d: input({ head, dim }),
        },
        differential(0.8),
      ),
  },
  { number: 16, name: "sink-logit", title: "learned sink logit", example: (s) => example({ ...heads(s), z: input({ head: s.head }) }, sinkLogit) },
  { number: 17, name: "off-by-one", title: "softmax off by one", example: (s) => example(heads(s), offByOne) },
  { number: 18, name: "sink-tokens", title: "sink tokens and a window", example: (s) => example(heads(s), sinkTokens(1, span(s))) },
  {
    number: 19,
    name: "neighbourhood",
    title: "2-D neighbourhood",
    example: ({ batch, head, time, y = 4, x = time / 4, dim, value }) =>
      example(
        { q: input({ batch, head, y, x, dim }), k: input({ batch, head, ky: y, kx: x, dim }), v: input({ batch, head, ky: y, kx: x, value }) },
        neighbourhood(1),
      ),
  },
  { number: 20, name: "dilated", title: "dilated window", example: (s) => example(heads(s), dilated(2, 2)) },
  { number: 21, name: "stick-breaking", title: "stick-breaking", example: (s) => example(heads(s), stickBreaking) },
  {
    number: 22,
    name: "forgetting",
    title: "forgetting transformer",
    example: (s) => example({ ...self(s), logf: input({ batch: s.batch, head: s.head, time: s.time }) }, forgetting),
  },
  {
    number: 23,
    name: "tensor-product",
    title: "tensor product attention",
    example: ({ batch, head, time, key = time, dim, value }) =>
      example(
        {
          aq: input({ batch, head, query: time, rq: 3 }),
          bq: input({ batch, query: time, rq: 3, dim }),
          ak: input({ batch, head, key, rk: 2 }),
          bk: input({ batch, key, rk: 2, dim }),
          av: input({ batch, head, key, rv: 2 }),
          bv: input({ batch, key, rv: 2, value }),
        },
        tensorProduct,
      ),
  },
  {
    number: 24,
    name: "multi-token",
    title: "multi-token attention",
    example: (s) => example({ ...heads(s), theta: input({ head: s.head, a: 2, b: 3 }) }, multiToken),
  },
  {
    number: 25,
    name: "talking-heads",
    title: "talking heads",
    example: (s) => example({ ...heads(s), L: input({ head: s.head, map: s.head + 1 }), M: input({ map: s.head + 1, head: s.head }) }, talkingHeads),
  },
  {
    number: 26,
    name: "gated",
    title: "gated output",
    example: (s) =>
      example(
        {
          ...heads(s),
          x: input({ batch: s.batch, query: s.time, model: s.head * s.value }),
          w: input({ model: s.head * s.value, head: s.head, value: s.value }),
        },
        gated,
      ),
  },
  { number: 27, name: "retention", title: "retention", example: (s) => example({ ...heads(s), gamma: input({ head: s.head }) }, retention) },
  {
    number: 28,
    name: "simplicial",
    title: "2-simplicial attention",
    example: ({ batch, head, time, key = time, dim, value }) =>
      example(
        {
          q: input({ batch, head, query: time, dim }),
          k: input({ batch, head, key, dim }),
          k2: input({ batch, head, key2: key, dim }),
          v: input({ batch, head, key, value }),
          v2: input({ batch, head, key2: key, value }),
        },
        simplicial,
      ),
  },
  {
    number: 29,
    name: "native-sparse",
    title: "native sparse attention",
    example: ({ batch, head, time, key = time, dim, value, ...s }) =>
      example(
        {
          q: input({ batch, group: head / 2, member: 2, query: time, dim }),
          k: input({ batch, group: head / 2, key, dim }),
          v: input({ batch, group: head / 2, key, value }),
          pool: input({ within: 4 }),
          gate: input({ batch, group: head / 2, member: 2, query: time, branch: 3 }),
        },
        nativeSparse(4, 1, s.span ?? time / 2),
      ),
  },
  {
    number: 30,
    name: "lightning-indexer",
    title: "lightning indexer",
    example: (s) =>
      example(
        {
          q: heads(s).q,
          ...shared(s),
          qi: input({ batch: s.batch, part: 2, query: s.time, idim: 4 }),
          ki: input({ batch: s.batch, key: s.key ?? s.time, idim: 4 }),
          w: input({ batch: s.batch, part: 2, query: s.time }),
        },
        lightningIndexer(Math.max(1, span(s))),
      ),
  },
];
