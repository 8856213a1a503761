// From an expression to the text of its kernels on a target. A formula gets its inputs here. With the gradient, every
// output has a further input of its own shape, the cotangent, and the derivatives of Σ output·cotangent for all inputs
// of floats are outputs too.
import { fileURLToPath } from "node:url";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import {
  type AnyTensor,
  type Axes,
  add,
  constant,
  type DType,
  grad,
  input,
  leavesOf,
  MallardError,
  mul,
  printedTargets,
  kernelsOf as printKernels,
  type Scalar,
  sum,
  type Tensor,
  type Tree,
} from "../index.js";
import { type Problem, problem } from "../trainer.js";
import type { FormulaLike, Sizes } from "./expression.js";

export const TARGETS = ["c", "gpujs", "wgsl", "js"] as const;
export type TargetName = (typeof TARGETS)[number];
export interface Kernel {
  readonly name: string;
  readonly source: string;
}
export type Printable =
  | { readonly kind: "formula"; readonly formula: FormulaLike; readonly sizes: Readonly<Record<string, Sizes>> }
  | { readonly kind: "record"; readonly inputs: Readonly<Record<string, unknown>>; readonly out: unknown };
/** Named inputs, and a tree of what is computed from them. */
export interface Whole {
  readonly inputs: Readonly<Record<string, AnyTensor>>;
  readonly out: Tree;
}

/** A formula or tensor that does not fit is refused by the language itself, with an error that is thrown. */
export async function kernelsOf(
  expression: Printable,
  options: { readonly target: TargetName; readonly gradient: boolean },
): Promise<Either<Problem, readonly Kernel[]>> {
  const named = Object.entries(expression.kind === "formula" ? {} : expression.inputs).find(([, x]) => !isTensor(x));
  if (named !== undefined) {
    return left({
      kind: "expression",
      message: `the input "${named[0]}" is no tensor`,
      hint: "make inputs with input({ axis: size }), and give { inputs, out }",
    });
  }
  let whole: Whole;
  try {
    whole = wholeOf(expression);
  } catch (thrown) {
    // Sizes that the formula cannot have are refused here, at its call, which is ours; what is wrong in its body has a
    // place of the author's.
    if (expression.kind === "record" || !(thrown instanceof MallardError) || thrown.place?.file !== fileURLToPath(import.meta.url)) throw thrown;
    return problem(
      "usage",
      `these inputs do not fit: ${thrown.what}`,
      `${thrown.hint === undefined ? "" : `${thrown.hint}; `}sizes are given with --inputs`,
    );
  }
  return print(options.gradient ? withGradient(whole) : whole, options.target);
}

/** The js target has no kernels: it evaluates the expression as it stands. */
function print({ inputs, out }: Whole, target: TargetName): Either<Problem, readonly Kernel[]> {
  if (target === "js")
    return problem(
      "usage",
      "the js target has no kernels: it evaluates expressions as they stand",
      `the targets with kernels are ${printedTargets.join(", ")}`,
    );
  const printed = printKernels(inputs, out, target);
  if (isLeft(printed))
    return problem(
      "expression",
      `the ${target} target cannot print this expression: ${printed.left.message}`,
      `try another target: ${printedTargets.filter((t) => t !== target).join(", ")}`,
    );
  return right(printed.right.kernels);
}

export function wholeOf(expression: Printable): Whole {
  // A user's module is untyped here. What is no tensor or tree is refused by name when it is used.
  if (expression.kind === "record") return { inputs: expression.inputs as Whole["inputs"], out: expression.out as Tree };
  const { formula, sizes } = expression;
  const inputs = Object.fromEntries(
    Object.entries(formula.inputs).map(([name, spec]) => [name, input(sizes[name] ?? {}, typeof spec === "string" ? "f32" : (spec.dtype as DType))]),
  );
  return { inputs, out: formula(inputs) as Tree };
}

export function withGradient({ inputs, out }: Whole): Whole {
  const outputs = leavesOf(out);
  const cotangents = Object.fromEntries(outputs.map(({ path, tensor }) => [path === "" ? "d_out" : `d_${path}`, input(tensor.axes)]));
  const loss = outputs.reduce<Scalar>((total, { tensor }, i) => {
    const product = mul(tensor, Object.values(cotangents)[i]!);
    const [first, ...rest] = Object.keys(product.axes);
    return add(total, first === undefined ? product : sum(product, first, ...rest));
  }, constant(0));
  const floats: Record<string, Tensor<Axes, "f32">> = {};
  for (const [name, x] of Object.entries(inputs)) if (isFloat(x)) floats[name] = x;
  return { inputs: { ...inputs, ...cotangents }, out: { out, gradient: grad(loss, floats) } };
}

const isTensor = (x: unknown): x is AnyTensor => typeof x === "object" && x !== null && "axes" in x && "dtype" in x;
const isFloat = (x: AnyTensor): x is Tensor<Axes, "f32"> => x.dtype !== "i32" && x.dtype !== "bool";
