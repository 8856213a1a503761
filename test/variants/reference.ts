// The dense forms on the same values, and the judgement by the design's bar: the max-norm of the error over each tensor is at
// most twice (gradients: three times) that of the plain f32 evaluation, plus 4ε·max|reference|. Of a few numbers, or where one
// ill-conditioned row has the tensor's whole error (two maps that nearly cancel), that of a single evaluation is luck. So it
// is the greatest of several, those with random rounding made one by one while the ones before do not suffice.
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

const ROUNDINGS = 16;
/** Every tensor that is outside the bar, with what is wrong. */
export function faults(form: Form, c: Case, d: Data, reference: Numbers, got: Results): readonly string[] {
  const plain = [evaluated(form, c, d, single).values];
  const outside = (of: string): string | null =>
    difference(
      "f32",
      got[of] as Float32Array,
      reference[of] as Float64Array,
      plain.map((p) => p[of] as Float64Array),
      of === "out" ? 2 : 3,
    );
  let suspects = Object.keys(reference).filter((of) => outside(of) !== null);
  for (let n = 1; n <= ROUNDINGS && suspects.length > 0; n++) {
    plain.push(evaluated(form, c, d, either(n)).values);
    suspects = suspects.filter((of) => outside(of) !== null);
  }
  return suspects.map((of) => `${of === "out" ? "output" : `gradient of ${of}`}: ${outside(of)}`);
}

export interface Draw {
  readonly data: Data;
  readonly reference: Numbers;
}
/** The first of a few draws in which no selection hangs on rounding: a step has no error bar. */
export function decided(form: Form, c: Case, draw: (attempt: number) => Data): Draw {
  for (let attempt = 0; attempt < 60; attempt++) {
    const data = draw(attempt);
    const { values, margin } = evaluated(form, c, data);
    if (margin > 1e-5) return { data, reference: values };
  }
  throw new Error("in every draw rounding decides a selection");
}
