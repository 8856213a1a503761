// What is measured of ours: the training step of the decoder, as peers/torch_step.py has it (the same sizes, AdamW with
// the same constants, mean cross-entropy, f32), and matrix products over state that stays on the device.
import {
  type AnyTensor,
  crossEntropy,
  dot,
  each,
  gain,
  grad,
  type Init,
  input,
  inputLeaves,
  map,
  mean,
  model,
  mul,
  type Optimizer,
  type Session,
  type SessionProgram,
  startTraining,
  sum,
  trainingPrograms,
  weight,
  withStorage,
} from "../index.js";
import { adamw, alibi, causal, documents, muonWithAdamW, nextToken, quack, softCap, transformer, window } from "../models/index.js";
import { type MeasuredStep, type ModelConfig, measuredStep, type Precision } from "../trainer.js";
import { leafOf, nodeOf } from "./handles.js";
import type { AttentionSizes, AttentionVariant } from "./peers.js";
import type { Shape } from "./products.js";

export type StepRule = "adamw" | "muon";
/** What the step does about growing logits: nothing, QuacK by either norm, RMS norms of queries and keys. */
export type StepKind = "none" | "frobenius" | "spectral" | "qk-norm";
export interface StepOptions {
  readonly profile?: boolean;
  readonly rule?: StepRule;
  readonly kind?: StepKind;
}
const rules: Readonly<Record<StepRule, () => Optimizer>> = {
  adamw: () => each({ "*": adamw({ eps: 1e-8 }) }),
  muon: () => muonWithAdamW({ adamw: { eps: 1e-8 } }),
};
function optimizerOf({ rule = "adamw", kind = "none" }: StepOptions): Optimizer {
  const inner = rules[rule]();
  // The state's type differs; the session keeps it as it is.
  return kind === "frobenius" || kind === "spectral" ? (quack(inner, { norm: kind }) as unknown as Optimizer) : inner;
}

/** The step as a program, its weights and optimizer state at their beginning. */
export function openStep(session: Session, s: ModelConfig, o: StepOptions = {}): Promise<MeasuredStep> {
  const own = { model: s.model, layer: s.layer, head: s.head, dim: s.model / s.head, ff: s.ff, vocab: s.vocab };
  const decoder = o.kind === "qk-norm" ? transformer({ ...own, qkNorm: true }) : transformer(own);
  const { params } = decoder;
  return measuredStep(session, s, { params, loss: nextToken(decoder), optimizer: optimizerOf(o), profile: o.profile ?? false });
}

export interface DecoderOptions {
  readonly precision: Precision;
  readonly optimizer: Optimizer;
  readonly seed: number;
}
/** The decoder's training under a policy of storage: the step, and the loss alone of a batch. */
export async function openDecoder(session: Session, s: ModelConfig, { precision, optimizer, seed }: DecoderOptions) {
  const decoder = withStorage(
    transformer({ model: s.model, layer: s.layer, head: s.head, dim: s.model / s.head, ff: s.ff, vocab: s.vocab }),
    precision.params,
  );
  const axes = { batch: s.batch, time: s.time };
  const inputs = { tokens: input(axes, "i32"), next: input(axes, "i32") };
  const [lr, t] = [input({}), input({})];
  const logits = decoder.bound({ tokens: inputs.tokens });
  const loss = nodeOf(mean(crossEntropy(logits, inputs.next, "vocab"), "batch", "time"));
  const given = { tokens: leafOf(inputs.tokens), next: leafOf(inputs.next) };
  const programs = trainingPrograms({
    name: "step",
    params: decoder.params,
    inputs: { ...given, lr: leafOf(lr), t: leafOf(t) },
    loss,
    optimizer,
    lr: nodeOf(lr),
    t: nodeOf(t),
    precision,
  });
  const step = await startTraining(session, programs, seed);
  const evaluate = await session.program({ name: "evaluate", inputs: given, outputs: { loss }, compute: precision.compute });
  return { programs, step, evaluate };
}

/** c ← a·b, all three the session's own with their axes in the order that the shape says: nothing is copied in or out, so a
 *  run is the kernel and the call. Its results have the kernels' times. */
export async function openProduct(session: Session, shape: Pick<Shape, "axes" | "a" | "b" | "c">): Promise<SessionProgram> {
  const sizes = new Map(shape.axes.map((x) => [x.name, x.size]));
  // Axes are in memory in the order of their declaration, `from` before `to`.
  const declared = (order: readonly string[], init: Init) => {
    const axes = order.map((name) => [name, sizes.get(name) as number] as const);
    return weight(Object.fromEntries(axes.slice(0, 1)), Object.fromEntries(axes.slice(1)), init);
  };
  const parts = { a: declared(shape.a, { std: 1 }), b: declared(shape.b, { std: 1 }), c: declared(shape.c, { fill: 0 }) };
  const summed = shape.axes.flatMap((x) => (x.of === "k" ? [x.name] : []));
  const product = model(parts, {}, ({ a, b }) => dot(a, b, ...(summed as [string, ...string[]])));
  const { a, b, c } = product.params;
  await session.initialise([a, b, c].map(leafOf), 1);
  return session.program({
    name: "product",
    inputs: {},
    outputs: {},
    updates: [{ leaf: leafOf(c), value: nodeOf(product.bound({})) }],
    profile: true,
  });
}
/** Attention, and the gradients of Σ out·g: of tensors that are given at each run. Results stay on the device, as state, where
 *  `read` finds them. */
export async function openAttention(session: Session, variant: AttentionVariant, s: AttentionSizes & { readonly cap: number }) {
  const { head, time, dim } = s;
  const qkv = { q: input({ head, query: time, dim }), k: input({ head, key: time, dim }), v: input({ head, key: time, value: dim }) };
  const more = { m: input({ head }), doc: input({ time }, "i32") };
  const g = input({ head, query: time, value: dim });
  const forms = {
    causal: () => causal(qkv),
    window: () => window(s.window)(qkv),
    alibi: () => alibi({ ...qkv, m: more.m }),
    "soft-cap": () => softCap(s.cap)(qkv),
    documents: () => documents({ ...qkv, doc: more.doc }),
  };
  const reads: readonly (keyof typeof more)[] = variant === "alibi" ? ["m"] : variant === "documents" ? ["doc"] : [];
  const out = forms[variant]();
  const d = grad(sum(mul(out, g), "head", "query", "value"), qkv);
  const given = { ...qkv, ...Object.fromEntries(reads.map((name) => [name, more[name]])) };
  const places = model(
    {
      out: weight({ head }, { query: time, value: dim }, { fill: 0 }),
      dq: weight({ head }, { query: time, dim }, { fill: 0 }),
      dk: weight({ head }, { key: time, dim }, { fill: 0 }),
      dv: weight({ head }, { key: time, value: dim }, { fill: 0 }),
    },
    {},
    ({ out }) => out,
  ).params;
  await session.initialise(Object.values(places).map(leafOf), 1);
  const program = (name: string, inputs: Readonly<Record<string, AnyTensor>>, results: Readonly<Record<string, AnyTensor>>) =>
    session.program({
      name,
      inputs: inputLeaves(inputs),
      outputs: {},
      updates: Object.entries(results).map(([to, value]) => ({ leaf: leafOf(places[to as keyof typeof places]), value: nodeOf(value) })),
    });
  return {
    reads,
    forward: await program("attention", given, { out }),
    both: await program("attention_and_gradients", { ...given, g }, { out, dq: d.q, dk: d.k, dv: d.v }),
    read: (name: keyof typeof places) => session.read(leafOf(places[name]).name),
  };
}
/** One addition: what a run costs beside its kernels. */
export async function openNothing(session: Session): Promise<SessionProgram> {
  const counter = model({ calls: gain({ one: 1 }) }, {}, ({ calls }) => map(calls, (x) => x + 1));
  const leaf = leafOf(counter.params.calls);
  await session.initialise([leaf], 1);
  return session.program({ name: "nothing", inputs: {}, outputs: {}, updates: [{ leaf, value: nodeOf(counter.bound({})) }] });
}
