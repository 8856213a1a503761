// What capture reads is what the function computes, bit for bit: 200 random arrows a run, executed as they stand and as
// captured scalars, before and after simplification, at random inputs and at the ends of arithmetic.

import fc from "fast-check";
import { isLeft } from "fp-ts/lib/Either.js";
import { expect, test } from "vitest";
import { captureMap } from "../../compiler/capture/capture.js";
import { showCaptureError } from "../../compiler/capture/error.js";
import type { Arrow } from "../../dsl/node.js";
import type { Scalar } from "../../dsl/scalar.js";
import { compileScalar, evalScalar } from "../../dsl/scalar-eval.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { anyNumber, arrows } from "./generate.js";

const layout = { args: ["u", "v", "w", "m"], indices: ["i", "j"], sizes: ["i", "j"] };
const points = fc.array(fc.tuple(anyNumber, anyNumber, anyNumber, fc.boolean(), fc.nat(9), fc.nat(9), fc.integer({ min: 1, max: 16 })), {
  minLength: 20,
  maxLength: 20,
});

function read(fn: Arrow, helpers: readonly Arrow[], field: string | null, simplified: boolean): Scalar {
  const [g, h, k] = helpers as [Arrow, Arrow, Arrow];
  const r = captureMap(
    { fn, captured: { g, h, k }, field, inputs: { u: "f32", v: "f32", w: "f32", m: "bool" }, axes: ["i", "j"] },
    { folder: null, simplified },
  );
  if (isLeft(r)) throw new Error(showCaptureError(r.left));
  return r.right;
}

test("200 random arrows mean what they compute", () => {
  fc.assert(
    fc.property(arrows, points, (arrow, at) => {
      const run = (text: string) => new Function(`"use strict"; return (${text})`)() as Arrow;
      const fn = run(arrow.text);
      const helpers = arrow.helpers.map(run);
      const [g, h, k] = helpers;
      for (const field of arrow.fields ?? [null]) {
        const raw = read(fn, helpers, field, false);
        const plain = read(fn, helpers, field, true);
        expect(simplify(plain)).toBe(plain);
        const compiled = [raw, plain].map((s) => compileScalar(s, layout));
        for (const [u, v, w, m, i, j, size] of at) {
          const result = fn({ u, v, w, m, g, h, k }, { i, j }, { i: size, j: 7 });
          const expected = field === null ? result : result[field];
          const values = compiled.map((f) => f([u, v, w, m], [i, j], [size, 7]));
          values.push(evalScalar(plain, { args: { u, v, w, m }, indices: { i, j }, sizes: { i: size, j: 7 } }));
          if (!values.every((x) => Object.is(x, expected))) expect(values).toEqual(values.map(() => expected));
        }
      }
    }),
    { numRuns: 200 },
  );
});
