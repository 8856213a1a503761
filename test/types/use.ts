// Every variant called with literal sizes: the result's type is exact.
import { input, type Tensor } from "../../dsl/index.js";
import { multiHead } from "../../models/attention/01-multi-head.js";
import { groupedQuery } from "../../models/attention/02-grouped-query.js";
import { multiQuery } from "../../models/attention/03-multi-query.js";
import { latent } from "../../models/attention/04-latent.js";
import { causal } from "../../models/attention/05-causal.js";
import { window } from "../../models/attention/06-window.js";
import { prefix } from "../../models/attention/07-prefix.js";
import { documents } from "../../models/attention/08-documents.js";
import { alibi } from "../../models/attention/09-alibi.js";
import { t5 } from "../../models/attention/10-t5-bias.js";
import { softCap } from "../../models/attention/11-soft-cap.js";
import { qkNorm } from "../../models/attention/12-qk-norm.js";
import { cosine } from "../../models/attention/13-cosine.js";
import { sigmoidAttention } from "../../models/attention/14-sigmoid.js";
import { differential } from "../../models/attention/15-differential.js";
import { sinkLogit } from "../../models/attention/16-sink-logit.js";
import { offByOne } from "../../models/attention/17-off-by-one.js";
import { sinkTokens } from "../../models/attention/18-sink-tokens.js";
import { neighbourhood } from "../../models/attention/19-neighbourhood.js";
import { dilated } from "../../models/attention/20-dilated.js";
import { stickBreaking } from "../../models/attention/21-stick-breaking.js";
import { forgetting } from "../../models/attention/22-forgetting.js";
import { tensorProduct } from "../../models/attention/23-tensor-product.js";
import { multiToken } from "../../models/attention/24-multi-token.js";
import { talkingHeads } from "../../models/attention/25-talking-heads.js";
import { gated } from "../../models/attention/26-gated.js";
import { retention } from "../../models/attention/27-retention.js";
import { simplicial } from "../../models/attention/28-simplicial.js";
import { nativeSparse } from "../../models/attention/29-native-sparse.js";
import { lightningIndexer } from "../../models/attention/30-lightning-indexer.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** The type is exactly these axes, and so is the value. */
function is<const A extends Tensor["axes"]>(
  axes: A,
): <B extends Tensor["axes"]>(
  x: Tensor<B> & (Equal<{ -readonly [K in keyof A]: A[K] }, { -readonly [K in keyof B]: B[K] }> extends true ? unknown : { not: A; but: B }),
) => void {
  return (x) => {
    const [want, have] = [axes, x.axes].map((s) => JSON.stringify(Object.entries(s).sort()));
    if (want !== have) throw new Error(`axes ${have}, not ${want}`);
  };
}

const q = input({ batch: 2, head: 8, query: 128, dim: 64 }),
  k = input({ batch: 2, head: 8, key: 96, dim: 64 }),
  v = input({ batch: 2, head: 8, key: 96, value: 32 });
const self = { k: input({ batch: 2, head: 8, key: 128, dim: 64 }), v: input({ batch: 2, head: 8, key: 128, value: 32 }) };
const g = input({ batch: 2, group: 4, key: 96, dim: 64 }),
  gv = input({ batch: 2, group: 4, key: 96, value: 32 }),
  one = input({ batch: 2, key: 96, dim: 64 }),
  onev = input({ batch: 2, key: 96, value: 32 }),
  h = input({ head: 8 });
const out = is({ batch: 2, head: 8, query: 128, value: 32 });
out(multiHead({ q, k, v }));
out(groupedQuery({ q, k: g, v: gv }));
out(multiQuery({ q, k: one, v: onev }));
out(
  latent({
    qc: input({ batch: 2, head: 8, query: 128, nope: 64 }),
    qr: input({ batch: 2, head: 8, query: 128, rope: 16 }),
    c: input({ batch: 2, key: 96, latent: 128 }),
    kr: input({ batch: 2, key: 96, rope: 16 }),
    uk: input({ head: 8, latent: 128, nope: 64 }),
    uv: input({ head: 8, latent: 128, value: 32 }),
  }),
);
out(causal({ q, k, v }));
out(window(256)({ q, k, v }));
out(prefix({ q, k, v, prefix: input({ batch: 2 }, "i32") }));
out(documents({ q, ...self, doc: input({ batch: 2, time: 128 }, "i32") }));
out(alibi({ q, k, v, m: h }));
out(t5({ q, k, v, b: input({ head: 8, bucket: 32 }) }));
out(softCap(30)({ q, k, v }));
out(qkNorm({ q, k, v, gq: input({ dim: 64 }), gk: input({ dim: 64 }) }));
out(cosine({ q, k, v, tau: h, b: input({ head: 8, query: 128, key: 96 }) }));
out(sigmoidAttention({ q, k, v }));
out(sinkLogit({ q, k, v, z: h }));
out(offByOne({ q, k, v }));
out(sinkTokens(4, 256)({ q, k, v }));
out(dilated(4, 2)({ q, k, v }));
is({ head: 8, y: 14, x: 14, value: 64 })(
  neighbourhood(3)({
    q: input({ head: 8, y: 14, x: 14, dim: 64 }),
    k: input({ head: 8, ky: 14, kx: 14, dim: 64 }),
    v: input({ head: 8, ky: 14, kx: 14, value: 64 }),
  }),
);
out(stickBreaking({ q, k, v }));
out(forgetting({ q, ...self, logf: input({ batch: 2, head: 8, time: 128 }) }));
const d = input({ head: 8, dim: 64 });
is({ head: 8, query: 128, value: 128 })(
  differential(0.8)({
    q: input({ head: 8, half: 2, query: 128, dim: 64 }),
    k: input({ head: 8, half: 2, key: 96, dim: 64 }),
    v: input({ head: 8, key: 96, value: 128 }),
    a: d,
    b: d,
    c: d,
    d,
  }),
);
const tp = tensorProduct({
  aq: input({ head: 8, query: 128, rq: 6 }),
  bq: input({ query: 128, rq: 6, dim: 64 }),
  ak: input({ head: 8, key: 96, rk: 2 }),
  bk: input({ key: 96, rk: 2, dim: 64 }),
  av: input({ head: 8, key: 96, rv: 2 }),
  bv: input({ key: 96, rv: 2, value: 64 }),
});
is({ head: 8, query: 128, value: 64 })(tp);
out(multiToken({ q, k, v, theta: input({ head: 8, a: 6, b: 11 }) }));
out(talkingHeads({ q, k, v, L: input({ head: 8, map: 16 }), M: input({ map: 16, head: 8 }) }));
out(gated({ q, k, v, x: input({ batch: 2, query: 128, model: 512 }), w: input({ model: 512, head: 8, value: 32 }) }));
out(retention({ q, k, v, gamma: h }));
is({ head: 8, query: 128, value: 64 })(
  simplicial({
    q: input({ head: 8, query: 128, dim: 64 }),
    k: input({ head: 8, key: 96, dim: 64 }),
    k2: input({ head: 8, key2: 32, dim: 64 }),
    v: input({ head: 8, key: 96, value: 64 }),
    v2: input({ head: 8, key2: 32, value: 64 }),
  }),
);
is({ group: 4, member: 4, query: 128, value: 64 })(
  nativeSparse(
    32,
    2,
    512,
  )({
    q: input({ group: 4, member: 4, query: 128, dim: 64 }),
    k: input({ group: 4, key: 128, dim: 64 }),
    v: input({ group: 4, key: 128, value: 64 }),
    pool: input({ within: 32 }),
    gate: input({ group: 4, member: 4, query: 128, branch: 3 }),
  }),
);
out(
  lightningIndexer(64)({
    q,
    k: one,
    v: onev,
    qi: input({ batch: 2, part: 4, query: 128, idim: 32 }),
    ki: input({ batch: 2, key: 96, idim: 32 }),
    w: input({ batch: 2, part: 4, query: 128 }),
  }),
);
