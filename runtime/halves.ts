// An expression forward alone, and with its gradients: every output has a further input of its own shape, its cotangent,
// and the derivatives of Σ output·cotangent for all inputs of floats are outputs too.
import type { AnyTensor, Axes, Scalar, Tensor, Tree } from "../dsl/index.js";
import { add, constant, grad, input, leavesOf, mul, sum } from "../dsl/index.js";

/** Named inputs, and a tree of what is computed from them. */
export interface Expression {
  readonly inputs: Readonly<Record<string, AnyTensor>>;
  readonly out: Tree;
}
export interface Halves {
  readonly forward: Expression;
  readonly both: Expression;
  /** Names of the forward outputs in both; "out" is a tensor by itself. */
  readonly outputs: readonly string[];
  /** By output of floats: the input of `both` that is its cotangent. */
  readonly cotangents: Readonly<Record<string, string>>;
  /** By input of floats: the output of `both` that is its gradient. */
  readonly gradients: Readonly<Record<string, string>>;
}

export function halvesOf({ inputs, out }: Expression): Halves {
  const leaves = leavesOf(out).map(({ path, tensor }) => ({ path, tensor, output: path === "" ? "out" : `out.${path}` }));
  const weighed = leaves
    .filter(({ tensor }) => isFloat(tensor))
    .map((l) => ({ ...l, name: l.path === "" ? "d_out" : `d_${l.path}`, weight: input(l.tensor.axes) }));
  const loss = weighed.reduce<Scalar>((total, { tensor, weight }) => {
    const product = mul(tensor, weight);
    const [first, ...rest] = Object.keys(product.axes);
    return add(total, first === undefined ? product : sum(product, first, ...rest));
  }, constant(0));
  const floats: Record<string, Tensor<Axes, "f32">> = {};
  for (const [name, x] of Object.entries(inputs)) if (isFloat(x)) floats[name] = x;
  return {
    forward: { inputs, out },
    both: { inputs: { ...inputs, ...Object.fromEntries(weighed.map((w) => [w.name, w.weight])) }, out: { out, gradient: grad(loss, floats) } },
    outputs: leaves.map((l) => l.output),
    cotangents: Object.fromEntries(weighed.map((w) => [w.output, w.name])),
    gradients: Object.fromEntries(Object.keys(floats).map((name) => [name, `gradient.${name}`])),
  };
}
const isFloat = (x: AnyTensor): x is Tensor<Axes, "f32"> => x.dtype !== "i32" && x.dtype !== "bool";
