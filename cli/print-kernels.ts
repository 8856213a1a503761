// From an expression to the text of its kernels on a target. A formula gets its inputs here.
import { fileURLToPath } from "node:url";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import {
  type AnyTensor,
  type DType,
  halvesOf,
  input,
  MallardError,
  printedTargets,
  kernelsOf as printKernels,
  type Tree,
  type Expression as Whole,
} from "../index.js";
import { type Problem, problem } from "../trainer.js";
import { type FormulaLike, greatest, type Sizes } from "./expression.js";

export const TARGETS = ["c", "gpujs", "wgsl", "js"] as const;
export type TargetName = (typeof TARGETS)[number];
export interface Kernel {
  readonly name: string;
  readonly source: string;
  /** Where the author wrote what it computes; a compiled program no longer knows. */
  readonly places?: readonly { readonly file: string; readonly line: number; readonly column: number }[];
  /** That in index notation, line by line. */
  readonly notation?: readonly string[];
}
export type Printable =
  | { readonly kind: "formula"; readonly formula: FormulaLike; readonly sizes: Readonly<Record<string, Sizes>> }
  | { readonly kind: "record"; readonly inputs: Readonly<Record<string, unknown>>; readonly out: unknown };
/** A formula or tensor that does not fit is refused by the language itself, with an error that is thrown. */
export async function kernelsOf(
  expression: Printable,
  options: { readonly target: TargetName; readonly gradient: boolean },
): Promise<Either<Problem, readonly Kernel[]>> {
  const whole = built(expression);
  if (isLeft(whole)) return whole;
  return print(options.gradient ? withGradient(whole.right) : whole.right, options.target);
}

/** The expression's inputs and outputs; sizes that a formula cannot have are a wrong request. */
export function built(expression: Printable): Either<Problem, Whole> {
  const named = Object.entries(expression.kind === "formula" ? {} : expression.inputs).find(([, x]) => !isTensor(x));
  if (named !== undefined) {
    return left({
      kind: "expression",
      message: `the input "${named[0]}" is no tensor`,
      hint: "make inputs with input({ axis: size }), and give { inputs, out }",
    });
  }
  try {
    return right(wholeOf(expression));
  } catch (thrown) {
    // Sizes that the formula cannot have are refused here, at its call, which is ours; what is wrong in its body has a
    // place of the author's.
    if (expression.kind === "record" || !(thrown instanceof MallardError)) throw thrown;
    if (thrown.place?.file !== fileURLToPath(import.meta.url)) {
      if (thrown.name !== "SizeError") throw thrown;
      const sizes = Object.entries(expression.sizes).map(
        ([name, axes]) => `${name}=${Object.entries(axes).map(([a, n]) => `${a}:${typeof n === "number" ? n : `..${greatest(n)}`}`)}`,
      );
      throw new MallardError(
        thrown.what,
        `${thrown.hint ?? ""}${thrown.hint ? "; or " : ""}give sizes that fit with --inputs; these were ${sizes.join(" ")}`,
        {
          ...(thrown.place ? { place: thrown.place } : {}),
          cause: thrown,
        },
      );
    }
    return problem(
      "usage",
      `these inputs do not fit: ${thrown.what}`,
      `${thrown.hint === undefined ? "" : `${thrown.hint}; `}sizes are given with --inputs`,
    );
  }
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

export const withGradient = (x: Whole): Whole => halvesOf(x).both;

const isTensor = (x: unknown): x is AnyTensor => typeof x === "object" && x !== null && "axes" in x && "dtype" in x;
