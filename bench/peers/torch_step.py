"""The training step of the same decoder in PyTorch, as a process that is asked for slices.

Pre-norm RMSNorm (eps 1e-6), RoPE (theta 1e6, rotate-half), causal attention by scaled_dot_product_attention, SwiGLU,
tied embedding, no biases; mean cross-entropy; AdamW(0.9, 0.95, eps 1e-8, no decay, fused) on f32 weights. One step is
forward, backward and update.

  python3 torch_step.py --mode eager|compile --threads 2 VOCAB MODEL LAYERS HEADS FF TIME BATCH

The first line printed, after one step, is JSON about the system. A line `0 SECONDS` on standard input is then answered
with the seconds of each step, for about that long (one step at least).
"""
import argparse
import json
import sys
import time

begin = time.perf_counter()
try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Block(nn.Module):
    def __init__(self, d, heads, ff):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.RMSNorm(d, 1e-6), nn.RMSNorm(d, 1e-6)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(d, ff, bias=False), nn.Linear(d, ff, bias=False), nn.Linear(ff, d, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        h = self.n1(x)
        q, k, v = (f(h).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = F.scaled_dot_product_attention(rope(q, cos, sin), rope(k, cos, sin), v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, d))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    def __init__(self, vocab, d, layers, heads, ff, t):
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        self.blocks = nn.ModuleList(Block(d, heads, ff) for _ in range(layers))
        self.norm = nn.RMSNorm(d, 1e-6)
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)
        dim = d // heads
        angle = torch.arange(t).float()[:, None] * 1e6 ** (-torch.arange(0, dim, 2).float() / dim)
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, following):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), following.view(-1))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--mode", default="eager", choices=["eager", "compile"])
    ap.add_argument("--threads", type=int, default=2)
    for size in ("vocab", "model", "layers", "heads", "ff", "time", "batch"):
        ap.add_argument(size, type=int)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = Decoder(a.vocab, a.model, a.layers, a.heads, a.ff, a.time)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    loss_of = torch.compile(model) if a.mode == "compile" else model
    ids = torch.randint(0, a.vocab, (a.batch, a.time + 1))
    tokens, following = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(tokens, following)
        loss.backward()
        optimizer.step()
        return loss.item()

    before = time.perf_counter()
    loss = step()
    about = dict(system="PyTorch " + torch.__version__, parameters=sum(p.numel() for p in model.parameters()), loss=loss,
                 load_s=before - begin, first_s=time.perf_counter() - before)
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        end = time.perf_counter() + float(line.split()[1])
        times = []
        while len(times) < 1 or time.perf_counter() < end:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(" ".join(f"{t:.6f}" for t in times), flush=True)


main()
