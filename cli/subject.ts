// What `kernels`, `explain` and `check` are asked about: FILE#export with the sizes of its inputs, as a value that can be
// built again with others.
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { type Problem, problem } from "../trainer.js";
import { type Expression, inputSizes, loadExpression, parseInputs, type Sizes } from "./expression.js";
import type { Printable } from "./print-kernels.js";

export type Subject =
  | Exclude<Printable, { readonly kind: "formula" }>
  | (Extract<Printable, { readonly kind: "formula" }> & {
      /** The axes that the user gave a size. */
      readonly given: ReadonlySet<string>;
    })
  | Extract<Expression, { readonly kind: "program" }>;

/** `inputs`: the text of --inputs. */
export async function subject(place: string, inputs: string): Promise<Either<Problem, Subject>> {
  const given = parseInputs(inputs);
  if (isLeft(given)) return given;
  const expression = await loadExpression(place);
  if (isLeft(expression)) return expression;
  const found = expression.right;
  if (found.kind === "formula") {
    const sizes = inputSizes(found.formula, given.right);
    return isLeft(sizes) ? sizes : right({ ...found, sizes: sizes.right, given: new Set(Object.values(given.right).flatMap(Object.keys)) });
  }
  if (inputs !== "")
    return problem("usage", "--inputs gives sizes to a formula's inputs", `${place} is no formula and has its own: leave --inputs out`);
  return right(found);
}
export const noProgram = (place: string, what: string): Either<Problem, never> =>
  problem("usage", `${place} is a compiled program: ${what}`, "export the formula, or a record { inputs, out }, that it was compiled from");

/** The same sizes but for some axes. */
export const resized = (sizes: Readonly<Record<string, Sizes>>, size: (axis: string, was: number) => number): Readonly<Record<string, Sizes>> =>
  Object.fromEntries(
    Object.entries(sizes).map(([name, axes]) => [name, Object.fromEntries(Object.entries(axes).map(([axis, was]) => [axis, size(axis, was)]))]),
  );
