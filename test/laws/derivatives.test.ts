// Every derivative by its full Jacobian against central differences, in f64 on the oracle: the samples of every operation,
// loops included, at small sizes. One graph of adjoints serves all rows: its cotangents are inputs.
import { describe, expect, it } from "vitest";
import { runGraphPasses } from "../../compiler/pipeline.js";
import * as build from "../../dsl/build.js";
import { isFloat, sumOver } from "../../dsl/derivative/terms.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { arg, call } from "../../dsl/scalar.js";
import { evaluate } from "../../runtime/devices/js/oracle.js";
import { input, right } from "../graph/harness.js";
import { allSamples, fixedSize, outputsOf } from "./cases.js";
import { Draw, type Round } from "./draw.js";
import type { Sample } from "./samples.js";
import { seed } from "./seed.js";

const STEP = 1e-5;
const MOST = 40;

/** null: they agree; else the first element that does not. */
function jacobian(sample: Sample, round: Round): string | null {
  const d = new Draw(round);
  const made = Object.entries(outputsOf(sample.make(d)));
  const inputs = [...d.env.keys()].filter(isFloat);
  const outputs = made.filter(([, n]) => isFloat(n));
  const graph = right(
    runGraphPasses(
      outputs.map(([, n]) => n),
      { last: "grad", capture: { folder: null } },
    ),
  );
  const values = () => evaluate(graph.roots, d.env, new Map(), graph.originals);
  const base = values();
  const cotangents = outputs.map(([, y]) => input(y.axes));
  const terms = outputs.map(([, y], k) =>
    sumOver(build.map({ y, w: cotangents[k] as Leaf }, { kind: "scalar", body: call("mul", arg("y"), arg("w")) }), Object.keys(y.axes)),
  );
  const loss = terms.reduce<Node | undefined>(
    (a, b) => (a ? build.map({ a, b }, { kind: "scalar", body: call("add", arg("a"), arg("b")) }) : b),
    undefined,
  );
  if (!loss) return null;
  const adjoint = right(
    runGraphPasses(
      inputs.map((x) => build.grad(loss, x)),
      { last: "grad", capture: { folder: null } },
    ),
  );
  // Columns: every output's change with one element of an input.
  const columns = inputs.map((x) => {
    const data = d.env.get(x) as Float64Array;
    return Array.from({ length: Math.min(MOST, data.length) }, (_, i) => {
      const was = data[i] as number;
      const quotient = (step: number) => {
        data[i] = was + step;
        const up = values();
        data[i] = was - step;
        const down = values();
        data[i] = was;
        return up.map((u, k) => u.map((v, o) => (v - (down[k]?.[o] as number)) / (2 * step)));
      };
      const [whole, half] = [quotient(STEP), quotient(STEP / 2)];
      // Richardson: the error of the third derivative cancels; what the two steps differ by bounds what is left.
      const value = half.map((h, k) => h.map((v, o) => (4 * v - (whole[k]?.[o] as number)) / 3));
      const error = half.map((h, k) => h.map((v, o) => Math.abs(v - (whole[k]?.[o] as number))));
      return { value, error };
    });
  });
  for (const [k, [name, y]] of outputs.entries()) {
    const size = fixedSize(y);
    let scale = 1;
    for (const x of [base[k] as Float64Array, ...columns.flatMap((c) => c.map((one) => one.value[k] as Float64Array))])
      for (const v of x) if (Number.isFinite(v)) scale = Math.max(scale, Math.abs(v));
    for (let o = 0; o < Math.min(MOST, size); o++) {
      for (const [j, w] of cotangents.entries()) {
        const unit = new Float64Array(fixedSize(w));
        if (j === k) unit[o] = 1;
        d.env.set(w, unit);
      }
      const rows = evaluate(adjoint.roots, d.env, new Map(), adjoint.originals);
      for (const [m, row] of rows.entries())
        for (const [i, column] of (columns[m] ?? []).entries()) {
          const [derived, differences] = [row[i] as number, column.value[k]?.[o] as number];
          if (!(Math.abs(derived - differences) <= 2e-8 * scale + (column.error[k]?.[o] as number)))
            return `d ${name}[${o}] / d input ${m}[${i}] is ${derived}, by differences ${differences}`;
        }
    }
  }
  return null;
}

describe("the full Jacobian of", () => {
  for (const { op, name, sample } of allSamples) {
    if (sample.differences === false || sample.gradients === false) continue;
    it(`${op}.${name}`, () => {
      const at: readonly Round[] = [
        { kind: "prime", storage: "f32", seed: seed + 11 },
        { kind: "one", storage: "f32", seed: seed + 12 },
        { kind: "zero", which: 0, storage: "f32", seed: seed + 13 },
      ];
      for (const r of at) expect(jacobian(sample, r)).toBeNull();
    });
  }
});
