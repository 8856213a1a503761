// From a sample and a round to a case: outputs by name, and the gradients of their weighted sum with respect to every real
// input.
import * as build from "../../dsl/build.js";
import { isFloat, sumOver } from "../../dsl/derivative/terms.js";
import type { Leaf, Node, Op } from "../../dsl/node.js";
import { arg, call } from "../../dsl/scalar.js";
import { isNode } from "../../dsl/tensor.js";
import { input } from "../graph/harness.js";
import { Draw, type Round, showRound } from "./draw.js";
import type { Case } from "./judge.js";
import { type Outputs, type Sample, samples } from "./samples.js";

export interface Named {
  readonly op: Op;
  readonly name: string;
  readonly sample: Sample;
}
export const allSamples: readonly Named[] = (Object.keys(samples) as Op[]).flatMap((op) =>
  Object.entries(samples[op]).map(([name, s]) => ({ op, name, sample: typeof s === "function" ? { make: s } : s })),
);
export const outputsOf = (out: Outputs): Readonly<Record<string, Node>> => (isNode(out) ? { value: out } : (out as Record<string, Node>));

/** Σ w·y over every real output, with weights that tell the elements apart. */
export function weighed(outputs: readonly Node[], env: Map<Leaf, Float64Array>, next: () => number, size: (n: Node) => number): Node | undefined {
  const terms = outputs
    .filter((n) => isFloat(n))
    .map((y) => {
      const w = input(y.axes);
      env.set(
        w,
        Float64Array.from({ length: size(y) }, () => Math.fround(next() * 2 - 1)),
      );
      const product = build.map({ y, w }, { kind: "scalar", body: call("mul", arg("y"), arg("w")) });
      return sumOver(product, Object.keys(y.axes));
    });
  return terms.reduce<Node | undefined>(
    (a, b) => (a ? build.map({ a, b }, { kind: "scalar", body: call("add", arg("a"), arg("b")) }) : b),
    undefined,
  );
}
export const fixedSize = (n: Node): number => Object.values(n.axes).reduce<number>((p, e) => p * (e as number), 1);

export function caseOf({ op, name, sample }: Named, round: Round): Case {
  const d = new Draw(round);
  const outputs = outputsOf(sample.make(d));
  const drawn = [...d.env.keys()];
  const loss = sample.gradients === false ? undefined : weighed(Object.values(outputs), d.env, d.next, fixedSize);
  const gradients = loss ? Object.fromEntries(drawn.flatMap((x, i) => (isFloat(x) ? [[`input ${i}`, build.grad(loss, x)]] : []))) : {};
  // Derivatives of derivatives cancel: their error differs much from rounding to rounding, whatever their size.
  const few = op === "grad" ? { few: Number.POSITIVE_INFINITY } : {};
  return { name: `${op}.${name} (${showRound(round)})`, inputs: d.env, outputs, gradients, extents: new Map(), ...few };
}
