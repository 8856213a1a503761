// What is measured of ours: the training step of the decoder, as peers/torch_step.py has it (the same sizes, AdamW with
// the same constants, mean cross-entropy, f32), and matrix products over state that stays on the device.
import {
  type AnyTensor,
  compileIn,
  crossEntropy,
  dot,
  each,
  gain,
  grad,
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
  type TrainingPrograms,
  type TrainingSpec,
  trainingPrograms,
  weight,
} from "../index.js";
import { adamw, alibi, causal, documents, muonWithAdamW, quack, softCap, transformer, window } from "../models/index.js";
import type { ModelConfig } from "../trainer.js";
import type { AttentionSizes, AttentionVariant } from "./peers.js";

type Node = TrainingSpec["loss"];
type Leaf = TrainingPrograms["params"][number];
// A handle is the graph's node seen by its axes, and a parameter's handle is a leaf: the session takes them as nodes.
const nodeOf = (t: AnyTensor): Node => t as unknown as Node;
const leafOf = (t: AnyTensor): Leaf => t as unknown as Leaf;

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
export async function openStep(session: Session, s: ModelConfig, o: StepOptions = {}) {
  const own = { model: s.model, layer: s.layer, head: s.head, dim: s.model / s.head, ff: s.ff, vocab: s.vocab };
  const decoder = o.kind === "qk-norm" ? transformer({ ...own, qkNorm: true }) : transformer(own);
  const inputs = {
    tokens: input({ batch: s.batch, time: s.time }, "i32"),
    following: input({ batch: s.batch, time: s.time }, "i32"),
    lr: input({}),
    t: input({}),
  };
  const loss = mean(crossEntropy(decoder.bound({ tokens: inputs.tokens }), inputs.following, "vocab"), "batch", "time");
  const programs = trainingPrograms({
    name: "bench_step",
    params: decoder.params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(loss),
    optimizer: optimizerOf(o),
    lr: nodeOf(inputs.lr),
    t: nodeOf(inputs.t),
  });
  const program = await startTraining(session, o.profile ? { ...programs, step: { ...programs.step, profile: true } } : programs, 1);
  const count = (l: Leaf) => Object.values(l.axes).reduce<number>((n, e) => n * Number(e), 1);
  const batch = tokensOf(s);
  let t = 0;
  return {
    program,
    parameters: programs.params.reduce((n, l) => n + count(l), 0),
    step: (): ReturnType<SessionProgram["run"]> => program.run({ ...batch, lr: [3e-4], t: [++t] }),
  };
}
/** One batch of bytes, from a fixed generator (Numerical Recipes' linear congruence, high bits). */
function tokensOf(s: ModelConfig) {
  const ids = new Int32Array(s.batch * (s.time + 1));
  let state = 1;
  for (let i = 0; i < ids.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    ids[i] = Math.floor((state / 2 ** 32) * s.vocab);
  }
  const rows = (from: number) =>
    Int32Array.from({ length: s.batch * s.time }, (_, i) => ids[Math.floor(i / s.time) * (s.time + 1) + (i % s.time) + from] as number);
  return { tokens: rows(0), following: rows(1) };
}

/** c ← a·b, all three the session's own: nothing is copied in or out, so a run is the kernel and the call. */
export async function openProduct(session: Session, n: number): Promise<SessionProgram> {
  const parts = {
    a: weight({ m: n }, { k: n }, { std: 1 }),
    b: weight({ k: n }, { n: n }, { std: 1 }),
    c: weight({ m: n }, { n: n }, { fill: 0 }),
  };
  const product = model(parts, {}, ({ a, b }) => dot(a, b, "k"));
  const { a, b, c } = product.params;
  await session.initialise([a, b, c].map(leafOf), 1);
  return session.program({
    name: `product${n}`,
    inputs: {},
    outputs: {},
    updates: [{ leaf: leafOf(c), value: nodeOf(product.bound({})) }],
  });
}
/** Attention, and the gradients of Σ out·g: with tensors that are given, and results that are handed out, at each run. */
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
  return {
    reads,
    forward: await compileIn(session, given, { out }),
    both: await compileIn(session, { ...given, g }, { out, dq: d.q, dk: d.k, dv: d.v }),
  };
}
/** One addition: what a run costs beside its kernels. */
export async function openNothing(session: Session): Promise<SessionProgram> {
  const counter = model({ calls: gain({ one: 1 }) }, {}, ({ calls }) => map(calls, (x) => x + 1));
  const leaf = leafOf(counter.params.calls);
  await session.initialise([leaf], 1);
  return session.program({ name: "nothing", inputs: {}, outputs: {}, updates: [{ leaf, value: nodeOf(counter.bound({})) }] });
}
