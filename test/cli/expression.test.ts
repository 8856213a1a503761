import { join } from "node:path";
import { expect, test } from "vitest";
import { inputSizes, loadExpression, parseInputs } from "../../cli/expression.js";
import { wholeOf, withGradient } from "../../cli/print-kernels.js";
import { dot, formula, ints, leavesOf, map, softmax } from "../../index.js";
import { value } from "../train/fixtures.js";
import { root } from "./mallard.js";

const causal = formula({ q: "query dim", k: "key dim", v: "key value", doc: ints("key") }, ({ q, k, v, doc }) => {
  const s = map({ s: dot(q, k, "dim"), doc }, ({ s, doc }, { query: i, key: j }) => (j <= i && doc > 0 ? s : -Infinity));
  return dot(softmax(s, "key"), v, "key");
});
// A formula as the command sees it: of an untyped module.
const untyped = Object.assign((x: Readonly<Record<string, unknown>>): unknown => Reflect.apply(causal, undefined, [x]), { inputs: causal.inputs });
const axes = (tree: Parameters<typeof leavesOf>[0]): object => Object.fromEntries(leavesOf(tree).map(({ path, tensor }) => [path, tensor.axes]));

test("inputs get the sizes given, their axes elsewhere the same, and usual sizes for the rest", () => {
  const given = value(parseInputs("q=head:4,query:16,dim:8  v=key:24,value:3"));
  expect(value(inputSizes(untyped, given))).toEqual({
    q: { head: 4, query: 16, dim: 8 },
    k: { key: 24, dim: 8 },
    v: { key: 24, value: 3 },
    doc: { key: 24 },
  });
  expect(value(inputSizes(untyped, {})).k).toEqual({ key: 128, dim: 64 });
});
test("with the gradient come a cotangent for every output and a derivative for every input of floats", () => {
  const sizes = value(inputSizes(untyped, value(parseInputs("q=head:4,query:16,dim:8 v=key:24,value:3"))));
  const whole = wholeOf({ kind: "formula", formula: untyped, sizes });
  expect(axes(whole.out)).toEqual({ "": { head: 4, query: 16, value: 3 } });
  expect(whole.inputs.doc!.dtype).toBe("i32");
  const both = withGradient(whole);
  expect(Object.keys(both.inputs)).toEqual(["q", "k", "v", "doc", "d_out"]);
  expect(axes(both.out)).toEqual({
    out: { head: 4, query: 16, value: 3 },
    "gradient.q": { head: 4, query: 16, dim: 8 },
    "gradient.k": { key: 24, dim: 8 },
    "gradient.v": { key: 24, value: 3 },
  });
});
test("the attention variants of this package can be named by their files", async () => {
  const found = value(await loadExpression(`${join(root, "models/attention/05-causal.ts")}#causal`));
  expect(found.kind).toBe("formula");
});
