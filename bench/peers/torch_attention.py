"""Attention forward and backward in PyTorch, as a process that is asked for slices.

The fastest form that PyTorch has for the variant is taken, found by trying each: scaled_dot_product_attention (is_causal,
or with a dense mask or bias), and its mathematics written out and compiled. FlexAttention has no backward pass on a
CPU and is tried for the forward pass alone.

  python3 torch_attention.py --threads 2 VARIANT HEADS TIME DIM WINDOW

The first line printed is JSON about the system and the forms taken. A line `0 SECONDS` on standard input is then
answered with seconds of forward passes, `1 SECONDS` with seconds of forward and backward passes.
"""
import argparse
import json
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)

ap = argparse.ArgumentParser()
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("variant", choices=["causal", "window", "alibi", "soft-cap", "documents"])
for size in ("heads", "time", "dim", "window"):
    ap.add_argument(size, type=int)
a = ap.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(0)
H, T, D = a.heads, a.time, a.dim
q, k, v = (torch.randn(1, H, T, D, requires_grad=True) for _ in range(3))
g = torch.randn(1, H, T, D)
i, j = torch.arange(T)[:, None], torch.arange(T)[None]
document = torch.arange(T) * 8 // T
slope = 2.0 ** (-8 * (torch.arange(H) + 1) / H)
allowed = j <= i
if a.variant == "window":
    allowed = allowed & (i - j < a.window)
if a.variant == "documents":
    allowed = allowed & (document[:, None] == document[None])
dense = torch.zeros(T, T).masked_fill(~allowed, -math.inf)
if a.variant == "alibi":
    dense = dense - slope[:, None, None] * (i - j)


def written_out(q, k, v):
    s = q @ k.transpose(-1, -2) / math.sqrt(D)
    if a.variant == "soft-cap":
        s = 30 * torch.tanh(s / 30)
    return (s + dense).softmax(-1) @ v


def flex():
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def mask(b, h, i, j):
        if a.variant == "window":
            return (j <= i) & (i - j < a.window)
        if a.variant == "documents":
            return (j <= i) & (document[i] == document[j])
        return j <= i

    score = {"alibi": lambda s, b, h, i, j: s - slope[h] * (i - j), "soft-cap": lambda s, b, h, i, j: 30 * torch.tanh(s / 30)}.get(a.variant)
    blocks = create_block_mask(mask, None, None, T, T, device="cpu")
    compiled = torch.compile(flex_attention)
    return lambda q, k, v: compiled(q, k, v, score_mod=score, block_mask=blocks)


def forward(form):
    with torch.no_grad():
        return form(q, k, v)


def both(form):
    return torch.autograd.grad(form(q, k, v), (q, k, v), g)


def seconds(call, n=4):
    call()
    times = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


forms = {"compiled mathematics": lambda: torch.compile(written_out)}
if a.variant == "causal":
    forms["SDPA is_causal"] = lambda: lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
elif a.variant != "soft-cap":
    forms["SDPA dense mask"] = lambda: lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=dense)
found = {}
for part, run in (("forward", forward), ("both", both)):
    best = None
    for name, make in {**forms, **({"FlexAttention": flex} if part == "forward" else {})}.items():
        try:
            form = make()
            t = seconds(lambda: run(form))
        except Exception as e:
            print(f"{name}: {e}", file=sys.stderr)
            continue
        if best is None or t < best[0]:
            best = (t, name, form)
    if best is None:
        sys.exit(4)
    found[part] = best
print(json.dumps(dict(system="PyTorch " + torch.__version__, forward=found["forward"][1], both=found["both"][1])), flush=True)
for line in sys.stdin:
    size, wanted = line.split()
    call = (lambda: forward(found["forward"][2])) if size == "0" else (lambda: both(found["both"][2]))
    end = time.perf_counter() + float(wanted)
    times = []
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    print(" ".join(f"{t:.6f}" for t in times), flush=True)
