// A model's decoding step as a program, derived from the expression it is trained with: from a chunk of new tokens and
// the caches of what came before to the logits after the last of them. One compilation serves every length of chunk and
// of history. What is cached follows from the expression (compiler/graph/incremental.ts): keys and values, or the latents
// alone where the weights above them can be taken over by the query.
import { isLeft } from "fp-ts/lib/Either.js";
import { incremental } from "../compiler/graph/incremental.js";
import { roundKept } from "../compiler/graph/precision.js";
import { maxOf } from "../compiler/lower/expr.js";
import { runGraphPasses } from "../compiler/pipeline.js";
import * as build from "../dsl/build.js";
import { ArgumentError, type Storage, type Tensor } from "../dsl/index.js";
import { type Leaf, type Node, UpTo } from "../dsl/node.js";
import { arg, call, constant } from "../dsl/scalar.js";
import { handle, nodeOf } from "../dsl/tensor.js";
import { CompileError } from "./backend.js";
import type { HostArray } from "./device.js";
import type { DeviceName, DeviceOptions } from "./devices/index.js";
import { inSession } from "./program.js";
import type { ProgramSpec, Session } from "./session.js";
import { leavesOf } from "./training.js";

/** From tokens over "time" to logits over "time" and the vocabulary: what `transformer` and its like make. */
export interface LanguageDecoder {
  readonly params: unknown;
  readonly bound: (x: { readonly tokens: Tensor<{ time: number }, "i32"> }) => Tensor<{ time: number; vocab: number }>;
}
export interface DecodingOptions extends DeviceOptions {
  readonly model: LanguageDecoder;
  /** Positions that the caches hold. */
  readonly capacity: number;
  /** A session that holds the weights, such as training's, or the device of a new one; native unless said. */
  readonly device?: DeviceName | Session;
  /** Of a new session's weights. */
  readonly seed?: number;
  /** What training kept activations as (docs/precision.md); f32 unless said. */
  readonly compute?: Storage;
  /** What the caches' names begin with ("cache" unless said): two decodings in one session need two. */
  readonly name?: string;
}
export interface Decoding {
  /** The logits over the vocabulary after the last of `tokens`, the first of which stands at position `start`. What was
   *  run for positions before `start` is read from the caches; what stood there from `start` on is forgotten. */
  run(tokens: ArrayLike<number>, start: number): Promise<HostArray>;
  /** Numbers that the caches hold for one token, all layers together. */
  readonly cachedNumbers: number;
  readonly session: Session;
  /** Frees the program, and the session if it was made for it. */
  [Symbol.dispose](): void;
}

/** Compiles a model's decoding step. Throws what cannot be decoded position by position (CompileError), or what is wrong
 *  with the device (DeviceError). */
export async function decoding(o: DecodingOptions): Promise<Decoding> {
  const { capacity } = o;
  if (!(Number.isInteger(capacity) && capacity > 0))
    throw new ArgumentError(`decoding: the capacity is ${capacity}; a whole number above 0 is wanted`);
  const { spec, caches } = decodingProgram(o.model.bound, capacity, o);
  return inSession(o.device, o, async (session, own) => {
    if (own) await session.initialise(leavesOf(o.model.params), o.seed ?? 0);
    const program = await session.program(spec);
    return {
      run: async (tokens, start) => {
        const count = tokens.length;
        if (!(Number.isInteger(start) && start >= 0 && count > 0 && start + count <= capacity))
          throw new ArgumentError(
            `decoding: ${count} tokens from position ${start} do not fit a capacity of ${capacity}`,
            "at least one token a run, and no position beyond the caches",
          );
        const out = await program.run({ tokens, start: [start], count: [count] }, { fresh: count, whole: start + count });
        return out.logits as HostArray; // the program's only output
      },
      cachedNumbers: caches.reduce((n, l) => n + Object.values(l.axes).reduce<number>((p, e) => p * maxOf(e), 1), 0) / capacity,
      session,
      [Symbol.dispose]: () => (own ? session[Symbol.dispose]() : program[Symbol.dispose]()),
    };
  });
}

export interface DecodingProgram {
  /** Inputs: `tokens` (new ones), `start` (the first one's position), `count` (how many). Output: `logits` over the
   *  vocabulary. A run gives the extents { fresh: count, whole: start + count }. */
  readonly spec: ProgramSpec;
  /** What a session keeps between runs: `capacity` positions of each layer. */
  readonly caches: readonly Leaf[];
}
/** The program alone, for a session of one's own. */
export function decodingProgram(
  forward: LanguageDecoder["bound"],
  capacity: number,
  { name, compute = "f32" }: Pick<DecodingOptions, "name" | "compute"> = {},
): DecodingProgram {
  const tokens = build.leaf("input", "tokens", { time: capacity }, "i32");
  const read = runGraphPasses([nodeOf(forward({ tokens: handle(tokens) }), "logits")], { last: "read" });
  if (isLeft(read)) throw new CompileError(read.left);
  const [start, count] = ["start", "count"].map((n) => build.leaf("input", n, {}, "i32")) as [Leaf, Leaf];
  const [fresh, whole] = [new UpTo(capacity, "fresh"), new UpTo(capacity, "whole")];
  const chunk = build.leaf("input", "tokens", { time: fresh }, "i32");
  const made = incremental(roundKept(read.right.roots, compute).roots[0] as Node, {
    chunk: ["time", "query"],
    history: ["key"],
    fresh,
    whole,
    start,
    count,
    capacity,
    inputs: new Map([[tokens, chunk]]),
    ...(name === undefined ? {} : { name }),
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
