"""The reference runs of ../shared/anchors/reference.py with Hugging Face's models computing in f64 throughout.

Hugging Face casts to f32 in the middle of an f64 model: in RMSNorm, in the rotary angles and in eager softmax. The
golden files therefore agree with an f64 evaluation to about 1e-7 only. This script undoes those three casts and keeps
everything else: weights, tokens, optimizers, interventions. (The latent model is written in f64 by itself: its golden
file serves as it is.) Numbers are kept to 12 digits, configuration and tokens stay in the golden files.

  python3 make.py REFERENCE.py            rewrites seedN-MODEL.json beside this file
"""
import json, os, runpy, sys, tempfile
import torch
import transformers.models.llama.modeling_llama as llama
import transformers.models.qwen3.modeling_qwen3 as qwen3


def norm(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def angles(self, x, position_ids):
    n = self.config.head_dim
    f = 1e6 ** (-torch.arange(0, n, 2, dtype=torch.float64) / n)
    a = position_ids[:, :, None].double() * f
    a = torch.cat((a, a), dim=-1)
    return a.cos(), a.sin()


def short(x):
    if isinstance(x, dict): return {k: short(v) for k, v in x.items()}
    if isinstance(x, list): return [short(v) for v in x]
    return float(f"{x:.12g}") if isinstance(x, float) else x


softmax = torch.nn.functional.softmax
torch.nn.functional.softmax = lambda x, dim=None, dtype=None: softmax(x, dim=dim)
for m, name in ((llama, "Llama"), (qwen3, "Qwen3")):
    getattr(m, name + "RMSNorm").forward = norm
    getattr(m, name + "RotaryEmbedding").forward = angles
reference, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
for seed in ("1", "2"):
    with tempfile.TemporaryDirectory() as out:
        sys.argv = [reference, "--out", out, "--seed", seed]
        runpy.run_path(reference, run_name="__main__")
        for name in ("llama", "gqa", "qwen3"):
            doc = json.load(open(os.path.join(out, name + ".json")))
            del doc["config"], doc["tokens"]
            with open(os.path.join(here, f"seed{seed}-{name}.json"), "w") as f:
                json.dump(short(doc), f, separators=(",", ":"))
                f.write("\n")
