// Which axes of a formula are sequences, whose length decides what fuses: those with the usual names, else the first axis
// of each input, unless the user says. And the formula at the lengths that a verdict wants.
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { type Halves, halvesOf } from "../index.js";
import { type Problem, problem } from "../trainer.js";
import { type FormulaLike, greatest, type Sizes } from "./expression.js";
import { built } from "./print-kernels.js";
import { resized, type Subject } from "./subject.js";
import { didYouMean } from "./suggest.js";

const USUAL = /^(query|key|time|token|position|sequence|seq)s?\d*$/;
/** Where --inputs says nothing. */
const LENGTH = 1024;

const specOf = (spec: FormulaLike["inputs"][string]): readonly string[] =>
  (typeof spec === "string" ? spec : spec.spec).split(/\s+/).filter((a) => a !== "");

/** `asked`: the text of --sequences, or undefined. */
export function sequencesOf(
  formula: FormulaLike,
  sizes: Readonly<Record<string, Sizes>>,
  asked: string | undefined,
): Either<Problem, readonly string[]> {
  const all = [...new Set(Object.values(sizes).flatMap(Object.keys))];
  if (asked !== undefined) {
    const names = asked.split(",").filter((a) => a !== "");
    const unknown = names.find((a) => !all.includes(a));
    if (unknown === undefined) return right(names);
    return problem("usage", `--sequences: no input has an axis "${unknown}"${didYouMean(unknown, all)}`, `the axes are ${all.join(", ")}`);
  }
  const usual = all.filter((a) => USUAL.test(a));
  if (usual.length > 0) return right(usual);
  return right([...new Set(Object.values(formula.inputs).flatMap((spec) => specOf(spec).slice(0, 1)))]);
}

type FormulaSubject = Extract<Subject, { readonly kind: "formula" }>;
/** The formula with its sequences `scale` times as long: as --inputs says, else 1024. */
export function scaledFormula(s: FormulaSubject, sequences: readonly string[], scale: number): Either<Problem, Halves> {
  const size = (axis: string, was: number) => (sequences.includes(axis) ? scale * (s.given.has(axis) ? greatest(was) : LENGTH) : was);
  const whole = built({ ...s, sizes: resized(s.sizes, size) });
  return isLeft(whole) ? whole : right(halvesOf(whole.right));
}
