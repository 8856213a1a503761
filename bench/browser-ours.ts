// Ours in a page, as the peers beside it are (peers/browser): causal attention with its gradients, all on the device, and the
// decoder's training step with weights that are given. Vite makes it a module for the page.
import {
  crossEntropy,
  each,
  grad,
  input,
  inputLeaves,
  mean,
  model,
  mul,
  openSession,
  type Session,
  startTraining,
  sum,
  trainingPrograms,
  weight,
} from "../index.js";
import { adamw, causal, transformer } from "../models/index.js";
import { type Leaf, leafOf, nodeOf } from "./handles.js";

async function opened(): Promise<Session> {
  const session = await openSession("webgpu");
  if (session._tag === "Left") throw session.left;
  return session.right;
}

interface Given {
  readonly head: number;
  readonly time: number;
  readonly dim: number;
  /** [time, head, dim] each; `g`: the gradient of the result. */
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly g: Float32Array;
}
/** `run` gives { out, dq, dk, dv } where `read` is true. The results stay on the device, as state; the operands are written at
 *  each run, which no peer does: of parameters alone everything would be computed once. */
export async function attention({ head, time, dim, ...data }: Given) {
  const session = await opened();
  const q = input({ query: time, head, dim });
  const k = input({ key: time, head, dim });
  const v = input({ key: time, head, value: dim });
  const g = input({ query: time, head, value: dim });
  const out = causal({ q, k, v });
  const d = grad(sum(mul(out, g), "query", "head", "value"), { q, k, v });
  const zero = { fill: 0 };
  const { params } = model(
    {
      out: weight({ query: time, head }, { value: dim }, zero),
      dq: weight({ query: time, head }, { dim }, zero),
      dk: weight({ key: time, head }, { dim }, zero),
      dv: weight({ key: time, head }, { value: dim }, zero),
    },
    {},
    ({ out }) => out,
  );
  await session.initialise(Object.values(params).map(leafOf), 1);
  const results = { out, dq: d.q, dk: d.k, dv: d.v };
  const names = Object.keys(results) as (keyof typeof results)[]; // its own keys
  const program = await session.program({
    name: "attention_and_gradients",
    inputs: inputLeaves({ q, k, v, g }),
    outputs: {},
    updates: names.map((name) => ({ leaf: leafOf(params[name]), value: nodeOf(results[name]) })),
  });
  return {
    async run(read: boolean): Promise<Readonly<Record<string, ArrayLike<number>>>> {
      await program.run({ q: data.q, k: data.k, v: data.v, g: data.g });
      if (!read) return {};
      return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await session.read(leafOf(params[name]).name)] as const)));
    },
  };
}

interface Sizes {
  readonly vocab: number;
  readonly model: number;
  readonly layer: number;
  readonly head: number;
  readonly ff: number;
  readonly time: number;
  readonly batch: number;
  readonly tokens: Int32Array;
  readonly next: Int32Array;
  /** The next n draws of a normal distribution. */
  readonly normal: (n: number) => Float32Array;
}
/** `run` makes a step and gives its loss. */
export async function step(s: Sizes) {
  const session = await opened();
  const decoder = transformer({ model: s.model, layer: s.layer, head: s.head, dim: s.model / s.head, ff: s.ff, vocab: s.vocab });
  const axes = { batch: s.batch, time: s.time };
  const inputs = { tokens: input(axes, "i32"), next: input(axes, "i32"), lr: input({}), t: input({}) };
  const programs = trainingPrograms({
    name: "step",
    params: decoder.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(mean(crossEntropy(decoder.bound({ tokens: inputs.tokens }), inputs.next, "vocab"), "batch", "time")),
    optimizer: each({ "*": adamw({ eps: 1e-8 }) }),
    lr: nodeOf(inputs.lr),
    t: nodeOf(inputs.t),
  });
  const program = await startTraining(session, programs, 1);
  await writeWeights(session, programs.params, s);
  let t = 0;
  return {
    parameters: programs.params.reduce((n, l) => n + elementsOf(l), 0),
    async run(): Promise<number> {
      const { loss } = await program.run({ tokens: s.tokens, next: s.next, lr: [3e-4], t: [++t] });
      return loss?.[0] as number;
    },
  };
}
const elementsOf = (l: Leaf): number => Object.values(l.axes).reduce<number>((m, e) => m * Number(e), 1);

/** Draws in the order in which the peers take them: the embedding, then block by block. Gains are one from the start. */
async function writeWeights(session: Session, params: readonly Leaf[], { layer, normal }: Sizes): Promise<void> {
  const found = (end: string) => {
    const leaf = params.find((l) => l.name.endsWith(end));
    if (!leaf) throw new Error(`the decoder has no weight ${end}`);
    return leaf;
  };
  const draw = (n: number) => normal(n).map((x) => 0.02 * x);
  const embedding = found("embed");
  await session.write(embedding.name, draw(elementsOf(embedding)));
  const stacked = ["attention.wq", "attention.wk", "attention.wv", "attention.wo", "mlp.gate", "mlp.up", "mlp.down"].map(found);
  const values = stacked.map((l) => new Float32Array(elementsOf(l)));
  for (let b = 0; b < layer; b++) for (const v of values) v.set(draw(v.length / layer), (b * v.length) / layer);
  for (const [i, l] of stacked.entries()) await session.write(l.name, values[i] as Float32Array);
}
