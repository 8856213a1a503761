// The Qwen3-like decoder: pre-norm RMS, rotary positions, SwiGLU, no biases, tied embedding; with multi-head, grouped or
// latent attention, and QK norm where asked for. `decoder` takes any attention model of the same form.
import {
  add,
  at,
  dot,
  type Formula,
  gain,
  type Init,
  ints,
  type Model,
  model,
  mul,
  type Param,
  rename,
  repeat,
  rms,
  rope,
  silu,
  type Tensor,
  type Typed,
  weight,
} from "../dsl/index.js";
import { causalBy, latentBy, type ScoreOptions } from "./scores.js";

/** One record may serve several attentions: what one does not read may stand there. */
interface Others {
  readonly group?: number;
  readonly cq?: number;
  readonly latent?: number;
  readonly nope?: number;
  readonly rope?: number;
  readonly value?: number;
}
/** Sizes of a decoder. */
export interface Config extends Others, ScoreOptions {
  readonly model: number;
  readonly layer: number;
  readonly head: number;
  /** Of a head's queries, keys and values. */
  readonly dim: number;
  readonly ff: number;
  readonly vocab: number;
  /** RMS norm with learned gains on q and k, before the rotation. */
  readonly qkNorm?: boolean;
  /** Of the rotary positions: Qwen3's 1e6 unless said. */
  readonly base?: number;
  /** Deviation of the first weights: 0.02 unless said. */
  readonly std?: number;
}
export interface GroupedConfig extends Config {
  /** Key and value heads; each serves head / group query heads. */
  readonly group: number;
}
export interface LatentConfig extends Shared {
  /** Width of the query's latent, of the keys' and values', and of a head's three parts. */
  readonly cq: number;
  readonly latent: number;
  readonly nope: number;
  readonly rope: number;
  readonly value: number;
  /** DeepSeek's RMS norms with learned gains on the query's latent and on the keys' and values'; the paper's equations
   *  have none. */
  readonly latentNorm?: boolean;
}
type Shared = Omit<Config, "dim" | "qkNorm"> & { readonly dim?: number; readonly qkNorm?: boolean };
const init = (c: Shared): Init => ({ std: c.std ?? 0.02 });
const turned = (c: Shared) => ({ base: c.base ?? 1e6 });
const stream = { x: "time model" } as const;

export const norm = (c: Shared) => model({ g: gain({ model: c.model }) }, { x: "model" }, ({ g, x }) => mul(rms(x, "model"), g));

const mhaParts = (c: Config) => ({
  wq: weight({ model: c.model }, { head: c.head, dim: c.dim }, init(c)),
  wk: weight({ model: c.model }, { head: c.head, dim: c.dim }, init(c)),
  wv: weight({ model: c.model }, { head: c.head, value: c.dim }, init(c)),
  wo: weight({ head: c.head, value: c.dim }, { model: c.model }, init(c)),
});
export const mha = (c: Config) =>
  model(mhaParts(c), stream, ({ wq, wk, wv, wo, x }) => {
    const xi = rename(x, { time: "query" }),
      xj = rename(x, { time: "key" });
    const q = rope(dot(xi, wq, "model"), "query", "dim", turned(c)),
      k = rope(dot(xj, wk, "model"), "key", "dim", turned(c)),
      v = dot(xj, wv, "model");
    return rename(dot(causalBy(c)({ q, k, v }), wo, "head", "value"), { query: "time" });
  });
const gains = (c: Config) => ({ gq: gain({ dim: c.dim }), gk: gain({ dim: c.dim }) });
export const mhaNormed = (c: Config) =>
  model({ ...mhaParts(c), ...gains(c) }, stream, ({ wq, wk, wv, wo, gq, gk, x }) => {
    const xi = rename(x, { time: "query" }),
      xj = rename(x, { time: "key" });
    const q = rope(mul(rms(dot(xi, wq, "model"), "dim"), gq), "query", "dim", turned(c)),
      k = rope(mul(rms(dot(xj, wk, "model"), "dim"), gk), "key", "dim", turned(c));
    return rename(dot(causalBy(c)({ q, k, v: dot(xj, wv, "model") }), wo, "head", "value"), { query: "time" });
  });

/** Grouped queries: wq alone has the axis `member`. Nothing else changes. */
const gqaParts = (c: GroupedConfig) => ({
  wq: weight({ model: c.model }, { group: c.group, member: c.head / c.group, dim: c.dim }, init(c)),
  wk: weight({ model: c.model }, { group: c.group, dim: c.dim }, init(c)),
  wv: weight({ model: c.model }, { group: c.group, value: c.dim }, init(c)),
  wo: weight({ group: c.group, member: c.head / c.group, value: c.dim }, { model: c.model }, init(c)),
});
export const gqa = (c: GroupedConfig) =>
  model(gqaParts(c), stream, ({ wq, wk, wv, wo, x }) => {
    const xi = rename(x, { time: "query" }),
      xj = rename(x, { time: "key" });
    const q = rope(dot(xi, wq, "model"), "query", "dim", turned(c)),
      k = rope(dot(xj, wk, "model"), "key", "dim", turned(c)),
      v = dot(xj, wv, "model");
    return rename(dot(causalBy(c)({ q, k, v }), wo, "group", "member", "value"), { query: "time" });
  });
export const gqaNormed = (c: GroupedConfig) =>
  model({ ...gqaParts(c), ...gains(c) }, stream, ({ wq, wk, wv, wo, gq, gk, x }) => {
    const xi = rename(x, { time: "query" }),
      xj = rename(x, { time: "key" });
    const q = rope(mul(rms(dot(xi, wq, "model"), "dim"), gq), "query", "dim", turned(c)),
      k = rope(mul(rms(dot(xj, wk, "model"), "dim"), gk), "key", "dim", turned(c));
    return rename(dot(causalBy(c)({ q, k, v: dot(xj, wv, "model") }), wo, "group", "member", "value"), { query: "time" });
  });

/** Multi-head latent attention, decoupled RoPE (names as in docs/quack.md). */
const mlaParts = (c: LatentConfig) => ({
  dq: weight({ model: c.model }, { cq: c.cq }, init(c)),
  uq: weight({ cq: c.cq }, { head: c.head, nope: c.nope }, init(c)),
  qr: weight({ cq: c.cq }, { head: c.head, rope: c.rope }, init(c)),
  dkv: weight({ model: c.model }, { latent: c.latent }, init(c)),
  uk: weight({ latent: c.latent }, { head: c.head, nope: c.nope }, init(c)),
  kr: weight({ model: c.model }, { rope: c.rope }, init(c)),
  uv: weight({ latent: c.latent }, { head: c.head, value: c.value }, init(c)),
  wo: weight({ head: c.head, value: c.value }, { model: c.model }, init(c)),
});
export const mla = (c: LatentConfig) =>
  model(mlaParts(c), stream, ({ dq, uq, qr, dkv, uk, kr, uv, wo, x }) => {
    const xi = rename(x, { time: "query" }),
      xj = rename(x, { time: "key" }),
      cq = dot(xi, dq, "model");
    const o = latentBy(c)({
      qc: dot(cq, uq, "cq"),
      qr: rope(dot(cq, qr, "cq"), "query", "rope", turned(c)),
      c: dot(xj, dkv, "model"),
      kr: rope(dot(xj, kr, "model"), "key", "rope", turned(c)),
      uk,
      uv,
    });
    return rename(dot(o, wo, "head", "value"), { query: "time" });
  });
/** With DeepSeek's norms of the latents. */
export const mlaNormed = (c: LatentConfig) =>
  model(
    { ...mlaParts(c), gcq: gain({ cq: c.cq }), gckv: gain({ latent: c.latent }) },
    stream,
    ({ dq, uq, qr, dkv, uk, kr, uv, wo, gcq, gckv, x }) => {
      const xi = rename(x, { time: "query" }),
        xj = rename(x, { time: "key" }),
        cq = mul(rms(dot(xi, dq, "model"), "cq"), gcq);
      const o = latentBy(c)({
        qc: dot(cq, uq, "cq"),
        qr: rope(dot(cq, qr, "cq"), "query", "rope", turned(c)),
        c: mul(rms(dot(xj, dkv, "model"), "latent"), gckv),
        kr: rope(dot(xj, kr, "model"), "key", "rope", turned(c)),
        uk,
        uv,
      });
      return rename(dot(o, wo, "head", "value"), { query: "time" });
    },
  );

export const swiglu = (c: Shared) =>
  model(
    {
      gate: weight({ model: c.model }, { ff: c.ff }, init(c)),
      up: weight({ model: c.model }, { ff: c.ff }, init(c)),
      down: weight({ ff: c.ff }, { model: c.model }, init(c)),
    },
    { x: "model" },
    ({ gate, up, down, x }) => dot(mul(silu(dot(x, gate, "model")), dot(x, up, "model")), down, "ff"),
  );

type Stream = Tensor<{ time: number; model: number }>;
/** A model from the residual stream to what is added to it. */
export interface Attention {
  readonly parts: unknown;
  readonly params: unknown;
  readonly inputs: typeof stream;
  readonly bound: Formula<typeof stream, Stream>;
}
const blockOf = <M extends Attention>(c: Shared, attention: M, mlp: Feed = swiglu(c)) => {
  const inner: Attention = attention; // inside, only its form matters
  return model({ n1: norm(c), attention: inner, n2: norm(c), mlp }, stream, ({ n1, attention, n2, mlp, x }) => {
    const h = add(x, attention({ x: n1({ x }) }));
    return add(h, mlp({ x: n2({ x: h }) }));
  }) as unknown as Block<M>; // the same value: M is what `inner` was, which the checker forgot two lines above
};
/** A model of SwiGLU's form. */
export type Feed = Pick<ReturnType<typeof swiglu>, "inputs" | "bound"> & { readonly parts: unknown; readonly params: unknown };
type Block<M> = Model<
  { n1: ReturnType<typeof norm>; attention: M; n2: ReturnType<typeof norm>; mlp: ReturnType<typeof swiglu> },
  typeof stream,
  Stream
>;
export const block = (c: Config) => blockOf(c, mha(c));

export type Decoder<M> = Model<
  { embed: Param<{ vocab: number; model: number }>; blocks: readonly Block<M>[]; last: ReturnType<typeof norm> },
  { tokens: Typed<"time", "i32"> },
  Tensor<{ time: number; vocab: number }>
>;
/** The decoder around an attention, SwiGLU after it unless said: from tokens to logits over the vocabulary. */
export const decoder = <M extends Attention>(c: Shared, attention: M, mlp?: Feed): Decoder<M> => {
  const blocks = blockOf<Attention>(c, attention, mlp);
  return model(
    { embed: weight({ vocab: c.vocab }, { model: c.model }, init(c)), blocks: repeat(c.layer, blocks), last: norm(c) },
    { tokens: ints("time") },
    ({ embed, blocks, last, tokens }) => {
      const h = blocks.reduce((x, block) => block({ x }), at(embed, { vocab: tokens }));
      return dot(last({ x: h }), embed, "model");
    },
  ) as unknown as Decoder<M>; // as in blockOf
};

/** Multi-head. */
export function transformer(c: Config & { readonly qkNorm: true }): Decoder<ReturnType<typeof mhaNormed>>;
export function transformer(c: Config & { readonly qkNorm?: false }): Decoder<ReturnType<typeof mha>>;
export function transformer(c: Config): Decoder<ReturnType<typeof mha>> | Decoder<ReturnType<typeof mhaNormed>>;
export function transformer(c: Config): unknown {
  return c.qkNorm ? decoder(c, mhaNormed(c)) : decoder(c, mha(c));
}
/** Grouped queries. */
export function grouped(c: GroupedConfig & { readonly qkNorm: true }): Decoder<ReturnType<typeof gqaNormed>>;
export function grouped(c: GroupedConfig & { readonly qkNorm?: false }): Decoder<ReturnType<typeof gqa>>;
export function grouped(c: GroupedConfig): Decoder<ReturnType<typeof gqa>> | Decoder<ReturnType<typeof gqaNormed>>;
export function grouped(c: GroupedConfig): unknown {
  return c.qkNorm ? decoder(c, gqaNormed(c)) : decoder(c, gqa(c));
}
/** Latent attention. */
export function latentTransformer(c: LatentConfig & { readonly latentNorm: true }): Decoder<ReturnType<typeof mlaNormed>>;
export function latentTransformer(c: LatentConfig & { readonly latentNorm?: false }): Decoder<ReturnType<typeof mla>>;
export function latentTransformer(c: LatentConfig): Decoder<ReturnType<typeof mla>> | Decoder<ReturnType<typeof mlaNormed>>;
export function latentTransformer(c: LatentConfig): unknown {
  return c.latentNorm ? decoder(c, mlaNormed(c)) : decoder(c, mla(c));
}

/** One block's weights used by every layer. */
export const shared = (c: Config) => model({ block: block(c) }, stream, ({ block, x }) => block({ x: block({ x: block({ x }) }) }));
