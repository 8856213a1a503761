"""The training step of the same decoder in JAX, as a process that is asked for slices.

Loss, gradient and AdamW(0.9, 0.95, eps 1e-8, no decay) are one jitted XLA program that gives its old state away. The model
is that of torch_step.py: pre-norm RMSNorm (eps 1e-6), RoPE (theta 1e6, rotate-half), causal attention by
jax.nn.dot_product_attention where that is no slower here than its mathematics written out, SwiGLU, tied embedding, no
biases, mean cross-entropy, f32. XLA takes as many threads as the process may run on, so that is limited before it starts.

  python3 jax_step.py --threads 2 VOCAB MODEL LAYERS HEADS FF TIME BATCH

The first line printed, after one step, is JSON about the system. A line `0 SECONDS` on standard input is then answered
with the seconds of each step, for about that long (one step at least).
"""
import argparse
import json
import math
import os
import sys
import time

ap = argparse.ArgumentParser()
ap.add_argument("--threads", type=int, default=2)
for size in ("vocab", "model", "layers", "heads", "ff", "time", "batch"):
    ap.add_argument(size, type=int)
a = ap.parse_args()
begin = time.perf_counter()
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: a.threads]))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
try:
    import jax
    import jax.numpy as jnp
    import numpy as np
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)

V, d, L, H, ff, T, B = a.vocab, a.model, a.layers, a.heads, a.ff, a.time, a.batch
dim = d // H
rng = np.random.default_rng(0)


def weight(*shape):
    return jnp.asarray(rng.normal(0, 0.02, shape), jnp.float32)


block_shapes = dict(q=(d, d), k=(d, d), v=(d, d), o=(d, d), gate=(d, ff), up=(d, ff), down=(ff, d))
params = dict(
    emb=weight(V, d),
    norm=jnp.ones(d),
    blocks=[dict(n1=jnp.ones(d), n2=jnp.ones(d), **{name: weight(*shape) for name, shape in block_shapes.items()}) for _ in range(L)],
)
angle = np.arange(T)[:, None] * 1e6 ** (-np.arange(0, dim, 2) / dim)
angle = np.concatenate((angle, angle), -1)
cos, sin = (jnp.asarray(f(angle), jnp.float32)[:, None] for f in (np.cos, np.sin))
mask = jnp.tril(jnp.ones((T, T), bool))


def rms(x, g):
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * g


def rope(x):
    p, q = jnp.split(x, 2, -1)
    return x * cos + jnp.concatenate((-q, p), -1) * sin


def written_out(q, k, v):
    s = jnp.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(dim)
    return jnp.einsum("bhij,bjhd->bihd", jax.nn.softmax(jnp.where(mask, s, -jnp.inf), -1), v)


def library(q, k, v):
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


def stepper(attention):
    def block(x, p):
        h = rms(x, p["n1"])
        q, k, v = ((h @ p[n]).reshape(B, T, H, dim) for n in "qkv")
        x = x + attention(rope(q), rope(k), v).reshape(B, T, d) @ p["o"]
        h = rms(x, p["n2"])
        return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]

    def loss_of(p, x, y):
        h = p["emb"][x]
        for b in p["blocks"]:
            h = block(h, b)
        logits = rms(h, p["norm"]) @ p["emb"].T
        return (jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, y[..., None], -1)[..., 0]).mean()

    def step(p, m, v, t, x, y):
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.95 * v + 0.05 * g * g, v, g)
        p = jax.tree.map(lambda p, m, v: p - 3e-4 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.95**t)) + 1e-8), p, m, v)
        return p, m, v, t, loss

    return jax.jit(step, donate_argnums=(0, 1, 2))


ids = rng.integers(0, V, (B, T + 1))
x, y = jnp.asarray(ids[:, :-1]), jnp.asarray(ids[:, 1:])


def start():
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p)
    return [jax.tree.map(jnp.copy, params), zeros(params), zeros(params), 0.0]


def run(step, state):
    *state, loss = step(*state, x, y)
    return state, float(loss)


def least(step):
    """Of a step after the first, which compiles; of three where they are short."""
    state, _ = run(step, start())
    times = []
    while len(times) < 3 and sum(times) < 1:
        before = time.perf_counter()
        state, _ = run(step, state)
        times.append(time.perf_counter() - before)
    return min(times)


forms = {"attention written out": stepper(written_out), "jax.nn.dot_product_attention": stepper(library)}
before = time.perf_counter()
state, loss = run(forms["attention written out"], start())
first = time.perf_counter() - before
name = min(forms, key=lambda n: least(forms[n]))
step = forms[name]
state, _ = run(step, start())
count = sum(q.size for q in jax.tree.leaves(params))
about = dict(system=f"JAX {jax.__version__}, {name}", parameters=count, loss=loss, load_s=before - begin, first_s=first)
print(json.dumps(about), flush=True)
for line in sys.stdin:
    end = time.perf_counter() + float(line.split()[1])
    times = []
    while len(times) < 1 or time.perf_counter() < end:
        before = time.perf_counter()
        state, _ = run(step, state)
        times.append(time.perf_counter() - before)
    print(" ".join(f"{t:.6f}" for t in times), flush=True)
