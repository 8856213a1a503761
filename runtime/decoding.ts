// A model's decoding step as a program, derived from the expression it is trained with: from a chunk of new tokens and
// the caches of what came before to the logits after the last of them. One compilation serves every length of chunk and
// of history. What is cached follows from the expression (compiler/graph/incremental.ts): keys and values, or the latents
// alone where the weights above them can be taken over by the query.
import { isLeft } from "fp-ts/lib/Either.js";
import { incremental } from "../compiler/graph/incremental.js";
import { maxOf } from "../compiler/lower/expr.js";
import { runGraphPasses } from "../compiler/pipeline.js";
import * as build from "../dsl/build.js";
import type { Tensor } from "../dsl/index.js";
import { type Leaf, type Node, UpTo } from "../dsl/node.js";
import { arg, call, constant } from "../dsl/scalar.js";
import { handle, nodeOf } from "../dsl/tensor.js";
import { CompileError } from "./backend.js";
import type { ProgramSpec } from "./session.js";

export interface DecodingProgram {
  /** Inputs: `tokens` (new ones), `start` (the first one's position), `count` (how many). Output: `logits` over the
   *  vocabulary. A run gives the extents { fresh: count, whole: start + count }. */
  readonly spec: ProgramSpec;
  /** What a session keeps between runs: `capacity` positions of each layer. */
  readonly caches: readonly Leaf[];
}

/** `forward`: from tokens over "time" to logits over "time" and the vocabulary. Throws CompileError where an expression
 *  cannot be decoded position by position. */
export function decodingProgram(
  forward: (tokens: Tensor<{ time: number }, "i32">) => Tensor<{ time: number; vocab: number }>,
  capacity: number,
): DecodingProgram {
  const tokens = build.leaf("input", "tokens", { time: capacity }, "i32");
  const read = runGraphPasses([nodeOf(forward(handle(tokens)), "logits")], { last: "read" });
  if (isLeft(read)) throw new CompileError(read.left);
  const [start, count] = ["start", "count"].map((name) => build.leaf("input", name, {}, "i32")) as [Leaf, Leaf];
  const [fresh, whole] = [new UpTo(capacity, "fresh"), new UpTo(capacity, "whole")];
  const chunk = build.leaf("input", "tokens", { time: fresh }, "i32");
  const made = incremental(read.right.roots[0] as Node, {
    chunk: ["time", "query"],
    history: ["key"],
    fresh,
    whole,
    start,
    count,
    capacity,
    inputs: new Map([[tokens, chunk]]),
  });
  if (isLeft(made)) throw new CompileError([made.left]);
  const last = build.cast(build.map({ count }, { kind: "scalar", body: call("sub", arg("count"), constant(1)) }), "i32");
  return {
    spec: {
      name: "decode",
      inputs: { tokens: chunk, start, count },
      outputs: { logits: build.at(made.right.value, ["time"], [last]) },
      updates: made.right.caches,
    },
    caches: made.right.caches.map((c) => c.leaf),
  };
}

/** Numbers that the caches hold for one position, all layers together. */
export const cachedNumbers = (d: DecodingProgram, capacity: number): number =>
  d.caches.reduce((n, l) => n + Object.values(l.axes).reduce<number>((p, e) => p * maxOf(e), 1), 0) / capacity;
