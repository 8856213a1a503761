// σReparam (Zhai 2023): every matrix W of a model is γ·W/σ(W), σ its greatest singular value, heads fused, and γ a learned
// number, 1 at first. The growth of the attention's logits is then γ's alone. The paper follows σ with one power iteration
// a step, kept as state; here the Gram matrix gives it in every forward pass, so that there is no state.
import { div, gain, type Inputs, MallardError, type Model, model, mul, type Param, type Parts, type Tensor, type Tree } from "../dsl/index.js";
import type { ParamInfo } from "../dsl/node.js";
import { handle } from "../dsl/tensor.js";
import { flatten } from "../dsl/tree.js";
import { spectralNorm } from "./spectral.js";

/** A model as its parts are read and put together anew. */
interface Loose {
  readonly parts: Readonly<Record<string, Param>>;
  readonly params: Tree;
  readonly inputs: Inputs;
  apply(w: unknown, x: unknown): Tensor;
}
/** The formula γ·W/σ(W), which stands where W stood. */
const normed = (of: Param, { to, from }: ParamInfo) =>
  model({ w: of, gamma: gain({}) }, {}, ({ w, gamma }): Tensor => mul(w, div(gamma, spectralNorm(w, to, from))));

/** The model with γ·W/σ(W) for each of its matrices W: its part `wq` then has the weights `w` and `gamma`; gains stay. It
 *  takes models of weights and gains alone, such as `mha(c)`, `mla(c)`, `swiglu(c)`:
 *  `decoder(c, sigmaReparam(mha(c)), sigmaReparam(swiglu(c)))`.
 *  @throws MallardError for a model with parts of its own */
export function sigmaReparam<P, I, O>(of: Model<P, I, O>): Model<Parts, I, O> {
  const inner = handle<Loose>(of);
  const infos = new Map(flatten(inner.params).map(({ path, node }) => [path, node.op === "leaf" ? node.param : undefined]));
  const parts: Parts = Object.fromEntries(
    Object.entries(inner.parts).map(([key, part]) => {
      const info = infos.get(key);
      if (!info)
        throw new MallardError(
          `sigmaReparam: part "${key}" is no weight`,
          "it takes models of weights and gains alone: apply it to each part that is one",
        );
      return [key, info.to.length === 0 || info.from.length === 0 ? part : normed(part, info)];
    }),
  );
  return handle(
    model(parts, inner.inputs, (given) => {
      const all = handle<Readonly<Record<string, Tensor | ((x: object) => Tensor)>>>(given);
      const pick = (keys: readonly string[]) =>
        Object.fromEntries(
          keys.map((key) => {
            const own = all[key];
            return [key, typeof own === "function" ? own({}) : own];
          }),
        );
      return inner.apply(pick(Object.keys(parts)), pick(Object.keys(inner.inputs)));
    }),
  );
}
