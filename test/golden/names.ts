// The references' weights (Hugging Face's Llama and Qwen3, and the latent model: matrices [out, in], heads as consecutive
// row blocks, a tensor a layer) as the arrays of our decoder's parameters, and back: a permutation of axes, and a stack
// over layers.
import type { Leaf } from "../../dsl/node.js";

interface Tensor {
  readonly data: Float32Array | Float64Array;
  readonly shape: readonly number[];
}
export type Weights = ReadonlyMap<string, Tensor>;
/** Whose names. */
export type Reference = "hugging face" | "latent";
interface Place {
  /** With `*` for the layer. */
  readonly name: string;
  /** Our axes of one layer in the reference's order. */
  readonly order: readonly string[];
}
const attention = "model.layers.*.self_attn";
/** By the end of our parameter's path. */
type Places = Readonly<Record<string, Place>>;
const huggingFace: Places = {
  embed: { name: "model.embed_tokens.weight", order: ["vocab", "model"] },
  "last.g": { name: "model.norm.weight", order: ["model"] },
  "n1.g": { name: "model.layers.*.input_layernorm.weight", order: ["model"] },
  "n2.g": { name: "model.layers.*.post_attention_layernorm.weight", order: ["model"] },
  "attention.wq": { name: `${attention}.q_proj.weight`, order: ["group", "member", "head", "dim", "model"] },
  "attention.wk": { name: `${attention}.k_proj.weight`, order: ["group", "head", "dim", "model"] },
  "attention.wv": { name: `${attention}.v_proj.weight`, order: ["group", "head", "value", "model"] },
  "attention.wo": { name: `${attention}.o_proj.weight`, order: ["model", "group", "member", "head", "value"] },
  "attention.gq": { name: `${attention}.q_norm.weight`, order: ["dim"] },
  "attention.gk": { name: `${attention}.k_norm.weight`, order: ["dim"] },
  "mlp.gate": { name: "model.layers.*.mlp.gate_proj.weight", order: ["ff", "model"] },
  "mlp.up": { name: "model.layers.*.mlp.up_proj.weight", order: ["ff", "model"] },
  "mlp.down": { name: "model.layers.*.mlp.down_proj.weight", order: ["model", "ff"] },
};
const own = "layers.*.attn";
const latent: Places = {
  embed: { name: "embed", order: ["vocab", "model"] },
  "last.g": { name: "norm.weight", order: ["model"] },
  "n1.g": { name: "layers.*.attn_norm.weight", order: ["model"] },
  "n2.g": { name: "layers.*.mlp_norm.weight", order: ["model"] },
  "attention.dq": { name: `${own}.dq`, order: ["cq", "model"] },
  "attention.uq": { name: `${own}.uq`, order: ["head", "nope", "cq"] },
  "attention.qr": { name: `${own}.qr`, order: ["head", "rope", "cq"] },
  "attention.dkv": { name: `${own}.dkv`, order: ["latent", "model"] },
  "attention.uk": { name: `${own}.uk`, order: ["head", "nope", "latent"] },
  "attention.kr": { name: `${own}.kr`, order: ["rope", "model"] },
  "attention.uv": { name: `${own}.uv`, order: ["head", "value", "latent"] },
  "attention.wo": { name: `${own}.o`, order: ["model", "head", "value"] },
  "mlp.gate": { name: "layers.*.gate", order: ["ff", "model"] },
  "mlp.up": { name: "layers.*.up", order: ["ff", "model"] },
  "mlp.down": { name: "layers.*.down", order: ["model", "ff"] },
};
const places: Readonly<Record<Reference, Places>> = { "hugging face": huggingFace, latent };
export function placeOf(path: string, reference: Reference): Place {
  const known = places[reference];
  const end = Object.keys(known).find((p) => path === p || path.endsWith(`.${p}`));
  if (!end) throw new Error(`the reference has no name for ${path}`);
  return known[end] as Place;
}

/** For each element of the leaf, in our order: the name and index of the element there. */
function* elements(leaf: Leaf, reference: Reference): Generator<{ readonly name: string; readonly at: number }> {
  const { name, order } = placeOf(leaf.name, reference);
  const axes = Object.entries(leaf.axes).map(([a, n]) => [a, Number(n)] as const);
  const layered = name.includes("*");
  const theirs = order.filter((a) => a in leaf.axes);
  const inner = axes.slice(layered ? 1 : 0);
  if (inner.length !== theirs.length) throw new Error(`${leaf.name}: axes ${inner.map(([a]) => a)} against ${theirs}`);
  const stride = new Map<string, number>();
  let step = 1;
  for (const a of [...theirs].reverse()) {
    stride.set(a, step);
    step *= Number(leaf.axes[a]);
  }
  const layers = layered ? (axes[0] as readonly [string, number])[1] : 1;
  const total = inner.reduce((n, [, e]) => n * e, 1);
  for (let l = 0; l < layers; l++)
    for (let i = 0; i < total; i++) {
      let rest = i;
      let at = 0;
      for (const [a, e] of [...inner].reverse()) {
        at += (rest % e) * (stride.get(a) as number);
        rest = Math.floor(rest / e);
      }
      yield { name: name.replace("*", String(l)), at };
    }
}
/** The leaf's values, row-major in its own axis order. */
export function fromReference(leaf: Leaf, tensors: Weights, reference: Reference): Float64Array {
  const out: number[] = [];
  for (const { name, at } of elements(leaf, reference)) {
    const t = tensors.get(name);
    if (!t) throw new Error(`the file has no ${name}`);
    out.push(t.data[at] as number);
  }
  return Float64Array.from(out);
}
/** Frobenius norms by the reference's names of values laid out as the leaf. */
export function normsByName(leaf: Leaf, values: ArrayLike<number>, reference: Reference): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  let i = 0;
  for (const { name } of elements(leaf, reference)) {
    const v = values[i++] as number;
    sums.set(name, (sums.get(name) ?? 0) + v * v);
  }
  return new Map([...sums].map(([n, s]) => [n, Math.sqrt(s)]));
}
