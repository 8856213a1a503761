// jax-js in a page: causal attention with its gradients, and the training step of the decoder that jax_step.py has, each one
// jitted function on the WebGPU backend. `/peers/` is the folder that --peers names.
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad, vjp } from "/peers/node_modules/@jax-js/jax/dist/index.js";

async function opened() {
  const found = await init("webgpu");
  if (!found.includes("webgpu")) throw new Error("jax-js finds no WebGPU here");
  defaultDevice("webgpu");
}
const array = (data, shape, dtype = np.float32) => np.array(data, { shape, dtype });

/** Both ways to write it; arrays are [time, head, dim], as the library's own function has them. */
const ATTENTION = {
  "nn.dotProductAttention": (q, k, v) => nn.dotProductAttention(q, k, v, { isCausal: true }),
  "written out": (q, k, v) => {
    const [time, , dim] = q.shape.slice(-3);
    const s = np.einsum("...ihd,...jhd->...hij", q, k).mul(dim ** -0.5);
    const seen = np.tri(time, time, 0, { dtype: np.bool });
    return np.einsum("...hij,...jhd->...ihd", nn.softmax(np.where(seen, s, -Infinity), -1), v);
  },
};
export const FORMS = Object.keys(ATTENTION);

/** `run` gives { out, dq, dk, dv }, as arrays of the host where `read` is true. */
export async function attention({ head, time, dim, q, k, v, g }, form) {
  await opened();
  const given = [q, k, v, g].map((x) => array(x, [time, head, dim]));
  const f = jit((q, k, v, g) => {
    const [out, back] = vjp(ATTENTION[form], [q, k, v]);
    const [dq, dk, dv] = back(g);
    return { out, dq, dk, dv };
  });
  return {
    async run(read) {
      const results = await blockUntilReady(f(...given.map((x) => x.ref))); // what nobody waits for is never begun
      if (!read) return void tree.dispose(results);
      const out = {};
      for (const [name, x] of Object.entries(results)) out[name] = await x.data();
      return out;
    },
  };
}

/** `run` makes a step and gives its loss. */
export async function step({ vocab: V, model: d, layer: L, head: H, ff, time: T, batch: B, tokens, next, normal }, form) {
  await opened();
  const dim = d / H;
  const weight = (...shape) =>
    array(
      normal(shape.reduce((n, x) => n * x, 1)).map((x) => 0.02 * x),
      shape,
    );
  const ones = () => array(new Float32Array(d).fill(1), [d]);
  const block = () => ({
    n1: ones(),
    n2: ones(),
    q: weight(d, d),
    k: weight(d, d),
    v: weight(d, d),
    o: weight(d, d),
    gate: weight(d, ff),
    up: weight(d, ff),
    down: weight(ff, d),
  });
  const params = { emb: weight(V, d), norm: ones(), blocks: Array.from({ length: L }, block) };
  const angles = (f) => Float32Array.from({ length: T * dim }, (_, i) => f(Math.floor(i / dim) * 1e6 ** (-(2 * (i % (dim / 2))) / dim)));
  const table = (f) => array(angles(f), [T, 1, dim]);

  const rms = (x, g) => {
    const scale = np.sqrt(np.mean(np.square(x.ref), -1, { keepdims: true }).add(1e-6));
    return x.div(scale).mul(g);
  };
  const rope = (x) => {
    const [p, q] = np.split(x.ref, 2, -1);
    return x.mul(table(Math.cos)).add(np.concatenate([q.neg(), p], -1).mul(table(Math.sin)));
  };
  const decode = (x, p) => {
    const h = rms(x.ref, p.n1);
    const heads = (w) => np.matmul(h.ref, w).reshape([B, T, H, dim]);
    const [q, k, v] = [heads(p.q), heads(p.k), heads(p.v)];
    h.dispose();
    x = x.add(np.matmul(ATTENTION[form](rope(q), rope(k), v).reshape([B, T, d]), p.o));
    const m = rms(x.ref, p.n2);
    return x.add(np.matmul(nn.silu(np.matmul(m.ref, p.gate)).mul(np.matmul(m, p.up)), p.down));
  };
  const loss = (p, x, y) => {
    // A product with one-hot rows, and a masked sum below: the gradient of `take` is a scatter that jit refuses (0.1.25).
    let h = np.matmul(nn.oneHot(x, V), p.emb.ref);
    for (const b of p.blocks) h = decode(h, b);
    const logits = np.matmul(rms(h, p.norm), p.emb.transpose());
    const target = np.sum(logits.ref.mul(nn.oneHot(y, V)), -1);
    return np.mean(nn.logsumexp(logits, -1).sub(target));
  };
  const update = jit(({ p, m, v, t }, x, y) => {
    const [value, g] = valueAndGrad(loss)(tree.ref(p), x, y);
    t = t.add(1);
    m = tree.map((m, g) => m.mul(0.9).add(g.mul(0.1)), m, tree.ref(g));
    v = tree.map((v, g) => v.mul(0.95).add(np.square(g).mul(0.05)), v, g);
    const [c1, c2] = [0.9, 0.95].map((beta) => np.subtract(1, np.power(beta, t.ref)));
    t = t.ref;
    p = tree.map(
      (p, m, v) =>
        p.sub(
          m
            .div(c1.ref)
            .div(np.sqrt(v.div(c2.ref)).add(1e-8))
            .mul(3e-4),
        ),
      p,
      tree.ref(m),
      tree.ref(v),
    );
    return [{ p, m, v, t }, value];
  });
  const zeros = () => tree.map((p) => np.zerosLike(p), tree.ref(params));
  let state = { p: params, m: zeros(), v: zeros(), t: np.array(0) };
  const [x, y] = [tokens, next].map((a) => array(a, [B, T], np.int32));
  return {
    parameters: tree.leaves(params).reduce((n, p) => n + p.size, 0),
    async run() {
      let value;
      [state, value] = update(state, x.ref, y.ref);
      await blockUntilReady(state);
      return (await value.data())[0];
    },
  };
}
