// Attention in one call: with map's convention (`attention`), and in the form of FlexAttention (`attend`).
import { product, scaled } from "../arith.js";
import * as build from "../build.js";
import { ArgumentError } from "../errors.js";
import { softmaxOf, sumOf } from "../fold.js";
import type { Short } from "../formula.js";
import { labelled } from "../label.js";
import { type Captured, type CapturedBy, lifted, type ScalarOf, sortInputs } from "../map.js";
import type { Node } from "../node.js";
import * as scalar from "../scalar.js";
import { agree, fixed, handle, isNode, need, realOf } from "../tensor.js";
import type { Agreeing, AnyTensor, Axes, AxesAt, Drop, Indices, Join, Merged, NamesIn, None, Sum, Tensor } from "../types.js";

const one = (what: string, n: Node | Record<string, Node>, dtype: "f32" | "bool"): Node => {
  if (!isNode(n)) throw new ArgumentError(`${what}: the arrow gives a record; one ${dtype === "bool" ? "truth value" : "number"} is wanted`);
  if (n.dtype !== dtype)
    throw new ArgumentError(
      `${what}: the arrow gives ${n.dtype === "bool" ? "a truth value" : "a number"}; ${dtype === "bool" ? "a truth value" : "a number"} is wanted`,
    );
  return n;
};
/** q·k/√dim, named as the logits. */
function logits(what: string, inputs: { readonly q: Node; readonly k: Node; readonly v: Node }): Node {
  const { q, k, v } = inputs;
  need(`${what}: q`, q, ["query", "dim"]);
  need(`${what}: k`, k, ["key", "dim"]);
  need(`${what}: v`, v, ["key"]);
  agree(what, inputs);
  return labelled(scaled(sumOf(product(q, k), ["dim"]), fixed(what, "dim", q.axes.dim) ** -0.5), "logits");
}
const weighted = (s: Node, v: Node): Node => sumOf(product(softmaxOf(labelled(s, "scores"), ["key"]), v), ["key"]);

type Scored<I> = Drop<Merged<I>, "dim" | Exclude<keyof AxesAt<I, "v" & keyof I>, NamesIn<Omit<I, "v">> | "key">>;
type Wanting<I, W> = { readonly [K in keyof W]: Short<K, Exclude<W[K], keyof AxesAt<I, K & keyof I>>, never> };

/** One record of inputs, one arrow from (s, inputs; indices) to the score; −∞ is the mask.
 *  q has "query" and "dim", k "key" and "dim", v "key"; s is q·k/√dim. All other axes lift, those of the inputs too. */
export function attention<const I extends { readonly q: AnyTensor; readonly k: AnyTensor; readonly v: AnyTensor } & CapturedBy>(
  inputs: I & Agreeing<I> & Wanting<I, { q: "query" | "dim"; k: "key" | "dim"; v: "key" }>,
  score?: (
    x: { readonly s: number } & { readonly [K in Exclude<keyof I, "q" | "k" | "v">]: ScalarOf<I[K]> },
    at: Indices<Scored<I>>,
    size: Scored<I>,
  ) => number,
): Tensor<Drop<Merged<I>, "key" | "dim">> {
  const all: { readonly q: unknown; readonly k: unknown; readonly v: unknown } = inputs;
  const { q, k, v, ...rest } = all;
  const nodes = { q: realOf(q, "attention: q"), k: realOf(k, "attention: k"), v: realOf(v, "attention: v") };
  const s = logits("attention", nodes);
  if (!score) return handle(weighted(s, nodes.v));
  const { tensors, captured } = sortInputs("attention", rest);
  return handle(weighted(one("attention", lifted("attention", { s, ...tensors }, captured, score), "f32"), nodes.v));
}

type ScorePoint = { readonly s: number; readonly i: number; readonly j: number };
const masked: scalar.Scalar = scalar.call("select", scalar.arg("ok"), scalar.arg("s"), scalar.constant(-Infinity));
/** FlexAttention's form: `score` from the logit s, the query's index i and the key's j; `mask` tells what is kept;
 *  both read the tensors and numbers of `with`. */
export function attend<
  Q extends Axes & { readonly query: number; readonly dim: number },
  K extends Axes & { readonly key: number; readonly dim: number },
  V extends Axes & { readonly key: number },
  W extends { readonly [name: string]: Captured } = None,
>(o: {
  readonly q: Tensor<Q>;
  readonly k: Join<Q, K, Tensor<K>>;
  readonly v: Join<K, V, Tensor<V>>;
  readonly with?: W;
  readonly score?: (x: ScorePoint & { readonly [N in keyof W]: ScalarOf<W[N]> }) => number;
  readonly mask?: (x: { readonly i: number; readonly j: number } & { readonly [N in keyof W]: ScalarOf<W[N]> }) => boolean;
}): Tensor<Sum<Drop<Q, "dim">, Drop<V, "key">>, "f32"> {
  const nodes = { q: realOf(o.q, "attend: q"), k: realOf(o.k, "attend: k"), v: realOf(o.v, "attend: v") };
  let s = logits("attend", nodes);
  const { tensors, captured } = sortInputs("attend", o.with ?? {});
  const along = (axis: "query" | "key", of: Node): Node =>
    build.map({}, { kind: "scalar", body: scalar.index(axis) }, "f32", { [axis]: of.axes[axis] ?? 0 });
  const places = { i: along("query", nodes.q), j: along("key", nodes.k) };
  if (o.score) s = one("attend: score", lifted("attend: score", { s, ...places, ...tensors }, captured, o.score), "f32");
  if (o.mask) {
    const ok = one("attend: mask", lifted("attend: mask", { ...places, ...tensors }, captured, o.mask), "bool");
    s = build.map({ s, ok }, { kind: "scalar", body: masked });
  }
  return handle(weighted(s, nodes.v));
}
