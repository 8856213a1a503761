// biome-ignore-all format: an expected error belongs to the one line below it
// biome-ignore-all lint/correctness/noUnusedFunctionParameters: mistakes are what this file is for
// biome-ignore-all lint/correctness/noUnusedVariables: as above
// What must not compile: each line below a @ts-expect-error is one mistake of an author. `mistake` keeps it as a
// function with what its message must name; mistakes.test.ts runs it, as untyped code would, and wants a typed error.
// What only the types can see is `typesOnly`.
import { at, crossEntropy, dot, fold, formula, grad, grid, input, ints, map, mean, merge, model, monoid, pointwise, rename, rule, scan, slice, softmax, split, stack, sum, type Tensor, top, view, weight } from "../../dsl/index.js";
import { causal } from "../../models/attention/05-causal.js";
import { alibi } from "../../models/attention/09-alibi.js";

export const mistakes: { readonly says: readonly string[]; readonly run: () => unknown }[] = [];
const mistake = (says: string | readonly string[], run: () => unknown): void => void mistakes.push({ says: [says].flat(), run });
const typesOnly = (_: () => unknown): void => {};

const q = input({ batch: 2, head: 8, query: 128, dim: 64 }), k = input({ batch: 2, head: 8, key: 128, dim: 64 }), v = input({ batch: 2, head: 8, key: 128, value: 64 });
const x = input({ time: 128, model: 256 }), ids = input({ time: 128 }, "i32"), s = dot(q, k, "dim");

// names
// @ts-expect-error a typo: not assignable to "batch" | "dim" | "head"
mistake(["dmi", "dim"], () => dot(q, k, "dmi"));
// @ts-expect-error only one side has it
mistake(["right", "query"], () => dot(q, k, "query"));
// @ts-expect-error at least one axis
mistake("at least one axis", () => dot(q, k));
// @ts-expect-error unknown axis
mistake("kye", () => softmax(s, "kye"));
// @ts-expect-error at least one axis
mistake("at least one axis", () => sum(s));
// @ts-expect-error unknown axis
mistake("hed", () => sum(s, "key", "hed"));
// @ts-expect-error no axis "tiem"
mistake("tiem", () => rename(x, { tiem: "query" }));
// @ts-expect-error axis "model" exists already
mistake(["model", "exists already"], () => rename(x, { time: "model" }));
rename(x, { time: "model", model: "time" });                         // a swap is fine
// @ts-expect-error unknown axis
mistake("modle", () => split(x, "modle", { head: 4, dim: 64 }));
// @ts-expect-error unknown axis
mistake("dmi", () => merge(q, ["head", "dmi"], "model"));
// @ts-expect-error unknown axis
mistake("tiem", () => slice(x, "tiem", { from: 0, size: 64 }));
// @ts-expect-error no axis "vocab"
mistake("vocab", () => at(x, { vocab: ids }));
// @ts-expect-error an index is an integer tensor
mistake(["time", "f32", "i32"], () => at(x, { time: input({ slot: 4 }) }));
// @ts-expect-error no axis "qeury"
mistake("qeury", () => view(s, { a: 6 }, ({ a }) => ({ qeury: a })));
// @ts-expect-error the arrow sees the new axes' indices only
mistake('"b"', () => view(s, { a: 6 }, ({ a, b }) => ({ query: a - b })));

// sizes
// @ts-expect-error axis sizes differ: "model" is 256 on the left, 128 on the right
mistake(['"model" is 256', "128"], () => dot(x, input({ model: 128, out: 3 }), "model"));
// @ts-expect-error axis sizes differ: "head"
mistake(['"head" is 8 in "s"', '4 in "slope"'], () => map({ s, slope: input({ head: 4 }) }, ({ s, slope }) => s * slope));
// @ts-expect-error axis sizes differ: "head"
mistake(['"head" is 8', '4 in "v"'], () => causal({ q, k, v: input({ batch: 2, head: 4, key: 128, value: 64 }) }));
// @ts-expect-error the result's sizes are checked too
typesOnly((wrong: Tensor<{ batch: 2; head: 8; query: 64; key: 128 }, "f32"> = s) => wrong);

// arrows
// @ts-expect-error no such input
mistake("slope", () => map({ s }, ({ s, slope }) => s * slope));
// @ts-expect-error no such axis
mistake("qeury", () => map(s, (s, { qeury }) => qeury));
// @ts-expect-error a string is no scalar
mistake("a string", () => map(s, s => "big"));
// @ts-expect-error a mask is no number
typesOnly(() => map({ m: map(s, s => s > 0) }, ({ m }) => m * 2));
// @ts-expect-error a tensor in an arrow is a number, no tensor
mistake(["softmax", "a number"], () => map({ s }, ({ s }) => softmax(s, "key")));
// @ts-expect-error a scalar function takes numbers
typesOnly(() => map({ s, f: (a: number, b: number) => a + b }, ({ s, f }) => f(s)));

// formulas
// @ts-expect-error input "k" lacks axis "key"
mistake('input "k" lacks axis "key"', () => causal({ q, k: q, v }));
// @ts-expect-error v is missing
mistake('"v" is missing', () => causal({ q, k }));
// @ts-expect-error no such input
mistake('no input "mask"', () => causal({ q, k, v, mask: s }));
// @ts-expect-error the formula uses up "key" itself
mistake('input "q": the formula uses up "key" itself', () => causal({ q: input({ query: 128, dim: 64, key: 128 }), k, v }));
// @ts-expect-error integers wanted
mistake(["doc", "f32", "i32"], () => formula({ doc: ints("time") }, ({ doc }) => doc)({ doc: x }));
// @ts-expect-error unknown axis inside
mistake("key", () => formula({ q: "query dim" }, ({ q }) => softmax(q, "key"))({ q }));
// @ts-expect-error extra axes must be written: a plain function does not lift
typesOnly(() => ((q: Tensor<{ query: number; dim: number }>) => softmax(q, "dim"))(q));

// folds
const lse = monoid({ m: -Infinity, l: 0 }, (a, b) => { const m = Math.max(a.m, b.m); return { m, l: a.l * Math.exp(a.m - m) + b.l * Math.exp(b.m - m) }; });
fold({ m: s, l: map(s, () => 1) }, lse, "key").l.axes.query satisfies 128;
// @ts-expect-error the carrier has another component
mistake('"l" is missing', () => fold({ m: s }, lse, "key"));
// @ts-expect-error unknown axis
mistake("kye", () => scan({ m: s, l: s }, lse, "kye"));
// @ts-expect-error the operation forgets a component
mistake('forgets component "l"', () => monoid({ m: 0, l: 0 }, (a, b) => ({ m: a.m + b.m })));

// models and rules
// @ts-expect-error no such weight
mistake("b", () => model({ w: weight({ model: 256 }, { ff: 512 }) }, { x: "model" }, ({ w, b, x }) => dot(x, b, "model")).bound({ x }));
// @ts-expect-error unknown axis
mistake("model", () => model({ w: weight({ model: 256 }, { ff: 512 }) }, { x: "modle" }, ({ w, x }) => dot(x, w, "model")).bound({ x: input({ modle: 256 }) }));
// @ts-expect-error the rule forgets its state v
typesOnly(() => rule("", { m: "", v: "" }, x => map({ ...x }, ({ w, g, m, lr }) => ({ w: w - lr * g, m }))));
// @ts-expect-error a state of another shape
typesOnly(() => rule("out in", { m: "out in" }, ({ w, m }) => ({ w, m: sum(m, "in") })));
// @ts-expect-error the rule forgets its state v
mistake('forgets its state "v"', () => pointwise({ m: 0, v: 0 }, {}, ({ w, g, m, lr }) => ({ w: w - lr * g, m })));
// @ts-expect-error stacked tensors have the same axes
mistake(["key", "query"], () => stack("branch", q, k));
// @ts-expect-error the loss is no scalar
mistake('still has axis "time"', () => grad(crossEntropy(input({ time: 128, vocab: 256 }), ids, "vocab"), { x }));
grad(mean(crossEntropy(input({ time: 128, vocab: 256 }), ids, "vocab"), "time"), { x }).x.axes.model satisfies 256;
// @ts-expect-error targets are integers
mistake(["targets", "i32"], () => crossEntropy(input({ time: 128, vocab: 256 }), input({ time: 128 }), "vocab"));
// @ts-expect-error no such axis
mistake("kye", () => top(s, "kye", { slot: 4 }));
// @ts-expect-error an index is a number
mistake("undefined", () => grid({ i: 4 }, ({ i }) => i.length));
alibi({ q, k, v, m: input({ head: 8 }) });
