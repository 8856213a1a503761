// The dense forms on the same values, and the judgement by the design's bar: the max-norm of the error over each tensor is at
// most twice (gradients: three times) that of the plain f32 evaluation, plus 4ε·max|reference|. Where few numbers were added
// or came out, the plain evaluation's error is the greatest of several roundings: a single one may be exact by luck.
import { difference } from "../laws/judge.js";
import { type Case, type Data, type Results, shapeAt } from "./cases.js";
import { either, exact, type Rounding, single } from "./dense/rounding.js";
import { Tape, type Value } from "./dense/tape.js";
import type { Given } from "./dense/variants.js";

export type Form = (x: Given) => Value;
/** The output under "out", the gradients under the inputs' names. */
export type Numbers = Readonly<Record<string, Float64Array>>;
export interface Dense {
  readonly values: Numbers;
  /** The least distance of a kept score from a dropped one, over all selections. */
  readonly margin: number;
}
export function evaluated(form: Form, c: Case, d: Data, round: Rounding = exact): Dense {
  const tape = new Tape(round);
  const given = Object.fromEntries(
    Object.entries(c.inputs).map(([name, l]) => [name, tape.leaf(shapeAt(l.axes, d.extents), d.inputs[name] as Float64Array)]),
  );
  const y = form(given);
  // The program's output and its cotangent lie in the order of its axes.
  const ct = tape.leaf(shapeAt(c.out, d.extents), d.cotangent);
  tape.backward(y, ct.ordered(Object.keys(y.shape)));
  const gradients = Object.fromEntries(c.real.map((name) => [name, (given[name] as Value).adjoint]));
  return { values: { ...gradients, out: y.ordered(Object.keys(c.out)) }, margin: tape.margin };
}

const FEW = 64;
/** Every tensor that is outside the bar, with what is wrong. `sparse`: rows have few keys each. */
export function faults(form: Form, c: Case, d: Data, reference: Numbers, got: Results, sparse = false): readonly string[] {
  const short = sparse || Math.min(d.extents.rows, d.extents.cols) < 8;
  const few = (x: Float64Array) => x.length < FEW || short;
  const plain = [evaluated(form, c, d, single).values];
  if (Object.values(reference).some((x) => x.length > 0 && few(x))) plain.push(...[1, 2, 3].map((n) => evaluated(form, c, d, either(n)).values));
  return ["out", ...c.real].flatMap((name) => {
    const x = reference[name] as Float64Array;
    const roundings = plain.slice(0, few(x) ? plain.length : 1).map((p) => p[name] as Float64Array);
    const message = difference("f32", got[name] as Float32Array, x, roundings, name === "out" ? 2 : 3);
    return message ? [`${name === "out" ? "output" : `gradient of ${name}`}: ${message}`] : [];
  });
}

export interface Draw {
  readonly data: Data;
  readonly reference: Numbers;
}
/** The first of a few draws in which no selection hangs on rounding: a step has no error bar. */
export function decided(form: Form, c: Case, draw: (attempt: number) => Data): Draw {
  for (let attempt = 0; attempt < 20; attempt++) {
    const data = draw(attempt);
    const { values, margin } = evaluated(form, c, data);
    if (margin > 1e-5) return { data, reference: values };
  }
  throw new Error("in every draw rounding decides a selection");
}
