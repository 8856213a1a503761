"""The reference runs of ../shared/anchors/reference.py with Hugging Face's models computing in f64 throughout.

Hugging Face casts to f32 in the middle of an f64 model: in RMSNorm, in the rotary angles and in eager softmax. The
golden files therefore agree with an f64 evaluation to about 1e-7 only. This script undoes those three casts and keeps
everything else: weights, tokens, optimizers, interventions. (The latent model is written in f64 by itself.)

  python3 make.py REFERENCE.py --out DIR --seed 1
"""
import runpy, sys
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


softmax = torch.nn.functional.softmax
torch.nn.functional.softmax = lambda x, dim=None, dtype=None: softmax(x, dim=dim)
for m, name in ((llama, "Llama"), (qwen3, "Qwen3")):
    getattr(m, name + "RMSNorm").forward = norm
    getattr(m, name + "RotaryEmbedding").forward = angles
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
