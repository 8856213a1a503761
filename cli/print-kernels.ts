// From an expression to the text of its kernels on a target.

import type { Either } from "fp-ts/lib/Either.js";
import { type Problem, problem } from "../runtime/train/index.js";
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

/** SEAM: to be filled with `compile` and the targets' printers once they exist. */
export async function kernelsOf(
  _expression: Printable,
  _options: { readonly target: TargetName; readonly gradient: boolean },
): Promise<Either<Problem, readonly Kernel[]>> {
  return problem("expression", "the compiler is not connected to this command in this build", "see cli/print-kernels.ts");
}
