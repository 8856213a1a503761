// TensorFlow.js in a page, on its WebGPU backend: causal attention with its gradients, and the training step of the decoder
// that jax_step.py has. It runs operation by operation; its own optimizer has the same constants.
const folder = "/peers/node_modules/@tensorflow/";
const script = (src) =>
  new Promise((resolve, reject) => {
    const s = Object.assign(document.createElement("script"), {
      src: folder + src,
      onload: resolve,
      onerror: () => reject(new Error(`${src} does not load`)),
    });
    document.head.append(s);
  });
async function opened() {
  if (!globalThis.tf) {
    await script("tfjs/dist/tf.min.js");
    await script("tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js");
  }
  if (!(await tf.setBackend("webgpu"))) throw new Error("TensorFlow.js finds no WebGPU here");
  await tf.ready();
}
/** Of [..., head, time, dim]. */
function attend(q, k, v, seen) {
  const s = tf.mul(tf.matMul(q, k, false, true), q.shape.at(-1) ** -0.5);
  return tf.matMul(tf.softmax(tf.where(seen, s, tf.fill(s.shape, -1e30))), v);
}
const causal = (time) => tf.tidy(() => tf.linalg.bandPart(tf.ones([time, time]), -1, 0).cast("bool"));
export const FORMS = ["eager"];

/** `run` gives { out, dq, dk, dv }, as arrays of the host where `read` is true. */
export async function attention({ head, time, dim, q, k, v, g }) {
  await opened();
  // As the other systems have it: [time, head, dim] in memory.
  const given = tf.tidy(() => [q, k, v, g].map((x) => tf.keep(tf.transpose(tf.tensor3d(x, [time, head, dim]), [1, 0, 2]))));
  const seen = causal(time);
  const f = tf.valueAndGrads((q, k, v) => attend(q, k, v, seen));
  return {
    async run(read) {
      const [dy, args] = [given[3], given.slice(0, 3)];
      const { value, grads } = f(args, dy);
      const results = { out: value, dq: grads[0], dk: grads[1], dv: grads[2] };
      const out = {};
      if (read) for (const [name, x] of Object.entries(results)) out[name] = await tf.tidy(() => tf.transpose(x, [1, 0, 2])).data();
      tf.dispose(results);
      return out;
    },
  };
}

/** `run` makes a step and gives its loss. */
export async function step({ vocab: V, model: d, layer: L, head: H, ff, time: T, batch: B, tokens, next, normal }) {
  await opened();
  const dim = d / H;
  const weight = (...shape) =>
    tf.variable(
      tf.tensor(
        normal(shape.reduce((n, x) => n * x, 1)).map((x) => 0.02 * x),
        shape,
      ),
    );
  const ones = () => tf.variable(tf.ones([d]));
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
  const p = { emb: weight(V, d), norm: ones(), blocks: Array.from({ length: L }, block) };
  const variables = [p.emb, p.norm, ...p.blocks.flatMap((b) => Object.values(b))];
  const angles = (f) =>
    tf.tensor(
      Float32Array.from({ length: T * dim }, (_, i) => f(Math.floor(i / dim) * 1e6 ** (-(2 * (i % (dim / 2))) / dim))),
      [T, dim],
    );
  const [cos, sin, seen] = [angles(Math.cos), angles(Math.sin), causal(T)];
  const [x, y] = [tokens, next].map((a) => tf.tensor(a, [B, T], "int32"));

  const rms = (x, g) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-6))), g);
  const rope = (x) => {
    const [p, q] = tf.split(x, 2, -1);
    return tf.add(tf.mul(x, cos), tf.mul(tf.concat([tf.neg(q), p], -1), sin));
  };
  const product = (h, w) => tf.reshape(tf.matMul(tf.reshape(h, [B * T, -1]), w), [B, T, -1]);
  const decode = (x, p) => {
    const h = rms(x, p.n1);
    const heads = (w) => tf.transpose(tf.reshape(product(h, w), [B, T, H, dim]), [0, 2, 1, 3]);
    const a = attend(rope(heads(p.q)), rope(heads(p.k)), heads(p.v), seen);
    x = tf.add(x, product(tf.reshape(tf.transpose(a, [0, 2, 1, 3]), [B, T, d]), p.o));
    const m = rms(x, p.n2);
    const gate = product(m, p.gate);
    return tf.add(x, product(tf.mul(tf.mul(gate, tf.sigmoid(gate)), product(m, p.up)), p.down));
  };
  const loss = () => {
    let h = tf.gather(p.emb, x);
    for (const b of p.blocks) h = decode(h, b);
    const logits = tf.matMul(tf.reshape(rms(h, p.norm), [B * T, d]), p.emb, false, true);
    const target = tf.sum(tf.mul(logits, tf.oneHot(tf.reshape(y, [-1]), V)), -1);
    return tf.mean(tf.sub(tf.logSumExp(logits, -1), target));
  };
  const optimizer = tf.train.adam(3e-4, 0.9, 0.95, 1e-8);
  return {
    parameters: variables.reduce((n, p) => n + p.size, 0),
    async run() {
      const value = optimizer.minimize(loss, true, variables);
      const [found] = await value.data();
      value.dispose();
      return found;
    },
  };
}
