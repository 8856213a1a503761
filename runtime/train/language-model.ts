// The compiled language model behind the trainer and the generator: one session that holds weights, optimizer state and
// caches, and programs bound to it: the training step, evaluation, the two probes, and decoding. A program is compiled
// when it is first asked for; the step at once, since that is what one waits for.
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { maxOf } from "../../compiler/lower/expr.js";
import * as build from "../../dsl/build.js";
import { ordered } from "../../dsl/derivative/terms.js";
import {
  add,
  crossEntropy,
  find,
  grad,
  MallardError,
  type Model,
  max,
  mean,
  type Optimizer,
  type Scalar,
  type Storage,
  scale,
  type Tensor,
  type Tree,
  unmasked,
  withStorage,
  zipTree,
} from "../../dsl/index.js";
import type { Leaf, Node } from "../../dsl/node.js";
import { iterate } from "../../dsl/repeat.js";
import { constant } from "../../dsl/scalar.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { mapLeaves } from "../../dsl/tree.js";
import { CompileError } from "../backend.js";
import type { Batch } from "../data/batches.js";
import { decodingProgram, type LanguageDecoder } from "../decoding.js";
import { DeviceError } from "../errors.js";
import { checkStart, type Watched, watched } from "../finite.js";
import { BYTES } from "../host.js";
import { hasMaster, storages } from "../precision.js";
import { openSession } from "../program.js";
import type { Session, SessionProgram } from "../session.js";
import { leavesOf, startTraining } from "../training.js";
import { type BoundSettings, inputNormsOf, normLeaves, readBounds, stepBounds } from "./bounds.js";
import type { ModelConfig, ProgramConfig } from "./config.js";
import { converted } from "./convert.js";
import { probeNodes } from "./probe.js";
import { type Problem, problem } from "./problem.js";
import type { Arrays, NamedArray, Probe, ProgramFactory, ProgramInfo, Purpose, StepResult, TrainingProgram } from "./program.js";

/** A training program and the session that its weights live in: programs of the same weights, compiled there, see them as they are. */
export interface LanguageModelProgram extends TrainingProgram {
  readonly session: Session;
  /** What a step runs; of a program that was made for generation, there is none. */
  readonly training: SessionProgram | undefined;
}

/** What the trainer's programs are made of. */
export interface Ingredients {
  readonly decoder: (c: ModelConfig, p: ProgramConfig) => LanguageDecoder;
  readonly optimizer: (c: ProgramConfig) => Optimizer;
}

export const languageModels =
  (ingredients: Ingredients): ((...of: Parameters<ProgramFactory>) => Promise<Either<Problem, LanguageModelProgram>>) =>
  async (config, options, purpose, tune) => {
    const prepared = new AbortController();
    tune?.signal?.addEventListener("abort", () => prepared.abort());
    const session = await openSession(options.device, {
      threads: options.threads,
      adapter: options.adapter,
      tune: tune && { ...tune, signal: prepared.signal },
    });
    if (isLeft(session)) return problem("device", session.left.message, "mallard doctor says which devices work here");
    try {
      const model = new LanguageModel(session.right, ingredients, config, options);
      await model.prepare(purpose);
      prepared.abort(); // what is compiled on the way (validation, probes) does not hold up the run
      return right(model);
    } catch (thrown) {
      session.right[Symbol.dispose]();
      if (thrown instanceof DeviceError) return problem("device", thrown.message, "mallard doctor says which devices work here");
      if (thrown instanceof CompileError) return problem("expression", thrown.what, "the place named is where the expression was written");
      if (thrown instanceof MallardError) return problem("expression", thrown.what, thrown.hint ?? "change what the run is made of");
      throw thrown;
    }
  };

const scalarLeaf = (name: string, dtype: "f32" | "i32" = "f32"): Leaf => build.leaf("input", name, {}, dtype);

class LanguageModel implements LanguageModelProgram {
  readonly #decoder: LanguageDecoder;
  readonly #compute: Storage;
  readonly #programs = new Map<string, Promise<SessionProgram>>();
  #state: readonly Leaf[] = [];
  #step: SessionProgram | undefined;
  #read: Watched["read"] | undefined;
  #info: ProgramInfo | undefined;

  constructor(
    readonly session: Session,
    readonly ingredients: Ingredients,
    readonly config: ModelConfig,
    readonly options: ProgramConfig,
  ) {
    const decoder = ingredients.decoder(config, options);
    const { params, compute } = options.precision;
    this.#compute = compute;
    this.#decoder = params === "f32" ? decoder : stored(decoder, params);
  }
  get info(): ProgramInfo {
    if (!this.#info) throw new Error("a language model is prepared before it is used");
    return this.#info;
  }
  get training(): SessionProgram | undefined {
    return this.#step;
  }
  get #params(): readonly Leaf[] {
    return leavesOf(this.#decoder.params);
  }

  async prepare(purpose: Purpose): Promise<void> {
    const start = performance.now();
    if (purpose === "training") this.#step = await this.#training();
    else {
      await this.session.initialise(this.#params, this.options.seed);
      await this.#decoding();
    }
    const compiled = this.#step ?? (await this.#decoding());
    this.#info = {
      parameters: this.#params.reduce((n, l) => n + sizeOf(l), 0),
      device: this.session.device,
      hardware: this.session.backend.hardware,
      bytes: { params: bytesOf(this.#params), state: bytesOf(this.#state) },
      kernels: compiled.compiled.kernels,
      compileMs: performance.now() - start,
      ahead: this.session.backend.ahead,
    };
  }

  // ── the training step ──────────────────────────────────────────────────────────────────────────────
  #inputs(sequences: number, micro?: number): { readonly tokens: Leaf; readonly next: Leaf } {
    const axes = { ...(micro ? { micro } : {}), batch: sequences, time: this.config.time };
    return { tokens: build.leaf("input", "tokens", axes, "i32"), next: build.leaf("input", "next", axes, "i32") };
  }
  /** With z-loss where the run trains with it; validation leaves it out. */
  #loss(tokens: Node, next: Node, z: number): Scalar {
    const logits = this.#decoder.bound({ tokens: handle(tokens) });
    return handle(
      mean(
        handle<Tensor<{ batch: number; time: number }>>(crossEntropy(logits, handle<Tensor<{ time: number }, "i32">>(next), "vocab", { z })),
        "batch",
        "time",
      ),
    );
  }

  /** The step; with leaves for the inputs' norms, one that says besides how far it can move the logits. */
  #stepOf(norms: readonly Leaf[]): Watched {
    const { accumulate, zLoss } = this.options;
    const [lr, t] = [scalarLeaf("lr"), scalarLeaf("t")];
    const inputs = this.#inputs(this.config.batch, accumulate > 1 ? accumulate : undefined);
    const whole =
      accumulate > 1 ? this.#accumulated(inputs, accumulate) : { loss: this.#loss(inputs.tokens, inputs.next, zLoss), gradient: undefined };
    return watched({
      name: norms.length === 0 ? "step" : "step_bounds",
      params: this.#decoder.params,
      inputs: { ...inputs, lr, t, ...numbered("norms", norms) },
      loss: nodeOf(whole.loss, "loss"),
      gradient: whole.gradient,
      optimizer: this.ingredients.optimizer(this.options),
      lr,
      t,
      precision: this.options.precision,
      metrics: (parts) => ({ ...greatestLogits(parts.loss), ...(norms.length === 0 ? {} : stepBounds(parts, this.#moves, norms)) }),
    });
  }
  /** What moves the weights below the logits, beside the optimizer's rules. */
  get #moves(): BoundSettings {
    const { intervention, tau, decay } = this.options;
    return { tau: intervention === "fixed" || intervention === "quack" ? tau : 1, decay, rescaled: intervention === "qk-clip" };
  }
  async #training(): Promise<SessionProgram> {
    const { programs, read } = this.#stepOf([]);
    this.#state = programs.state;
    this.#read = read;
    const step = await startTraining(this.session, programs, this.options.seed);
    await checkStart(this.session, programs);
    if (this.options.bounds) await this.#bounded(); // what has no bound is refused before the first step
    return step;
  }
  #bounded(): Promise<SessionProgram> {
    return this.#once("bounds", () => {
      const leaves = normLeaves(this.#logits(this.options.probeSequences).of);
      return this.session.program(this.#stepOf(leaves).programs.step);
    });
  }
  /** The mean over the micro-batches, which are equally large: the large batch's loss and gradient. */
  #accumulated(inputs: { readonly tokens: Leaf; readonly next: Leaf }, count: number): { readonly loss: Scalar; readonly gradient: unknown } {
    const params = this.#decoder.params;
    const zero = (n: Node): Node => build.map({}, { kind: "scalar", body: constant(0) }, "f32", n.axes);
    const first = { g: mapLeaves(params, zero), loss: build.constant(0) };
    const last = iterate("micro", count, first, inputs, (state, slice) => {
      const before = handle<{ readonly g: Tree; readonly loss: Scalar }>(state);
      const { tokens, next } = handle<{ readonly tokens: Node; readonly next: Node }>(slice);
      const loss = scale(this.#loss(tokens, next, this.options.zLoss), 1 / count);
      const g: Tree = grad(loss, handle<Tree>(params));
      return { g: zipTree<Tree>(before.g, g, sumOf), loss: add(before.loss, loss) };
    });
    const { g, loss } = handle<{ readonly g: unknown; readonly loss: Scalar }>(last);
    return { loss, gradient: g };
  }

  async step(batch: Batch, lr: number, t: number, bounded?: Required<Pick<Probe, "norms">>): Promise<StepResult> {
    if (!this.#step || !this.#read) throw new Error("step: this program was made for generation");
    const step = bounded ? await this.#bounded() : this.#step;
    const norms = Object.fromEntries((bounded?.norms ?? []).map((n, i) => [`norms${i}`, n]));
    const out = await step.run({ tokens: batch.tokens, next: batch.next, lr: [lr], t: [t], ...norms });
    const maxLogits = Float32Array.from(out.maxLogits ?? []);
    const { gradients, gradNorm, fault } = this.#read(out, lr);
    const steepest = gradients.reduce((a, b) => (b.norm > a.norm ? b : a));
    return {
      loss: out.loss?.[0] ?? Number.NaN,
      maxLogit: maxLogits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
      maxLogits,
      gradNorm,
      steepest,
      ...(bounded ? { bounds: readBounds(out) } : {}),
      ...(fault ? { fault } : {}),
    };
  }

  // ── reading the model ──────────────────────────────────────────────────────────────────────────────
  #once(name: string, make: () => Promise<SessionProgram>): Promise<SessionProgram> {
    const known = this.#programs.get(name) ?? make();
    this.#programs.set(name, known);
    return known;
  }
  async evaluate(batch: Batch): Promise<number> {
    const program = await this.#once("evaluate", () => {
      const inputs = this.#inputs(this.config.batch);
      return this.session.program({
        name: "evaluate",
        inputs: { ...inputs },
        outputs: { loss: nodeOf(this.#loss(inputs.tokens, inputs.next, 0), "loss") },
        compute: this.#compute,
      });
    });
    const out = await program.run({ tokens: batch.tokens, next: batch.next });
    return out.loss?.[0] ?? Number.NaN;
  }
  #logits(sequences: number): { readonly tokens: Leaf; readonly of: Node } {
    const { tokens } = this.#inputs(sequences);
    return { tokens, of: nodeOf(this.#decoder.bound({ tokens: handle(tokens) }), "logits") };
  }
  /** The probes' parts, scores with layer and head outermost. */
  #probed(): { readonly tokens: Leaf; readonly nodes: ReturnType<typeof probeNodes>; readonly norms: readonly Node[] } {
    const { tokens, of } = this.#logits(this.options.probeSequences);
    const nodes = probeNodes(of, "scores");
    const norms = this.options.bounds ? inputNormsOf(of) : [];
    return { tokens, nodes: { ...nodes, scores: nodes.scores.map(byHead), frozenScores: nodes.frozenScores.map(byHead) }, norms };
  }
  async probe(batch: Batch): Promise<Probe> {
    const program = await this.#once("probe", () => {
      const { tokens, nodes, norms } = this.#probed();
      return this.session.program({
        name: "probe",
        inputs: { tokens },
        outputs: { ...numbered("scores", nodes.scores), ...numbered("inputs", nodes.inputs), ...numbered("norms", norms) },
        compute: this.#compute,
      });
    });
    const out = await program.run({ tokens: batch.tokens });
    const norms = Object.keys(out).filter((k) => k.startsWith("norms"));
    return {
      logits: joined(out, "scores"),
      inputs: joined(out, "inputs"),
      ...(norms.length === 0 ? {} : { norms: norms.map((k) => Float32Array.from(out[k] ?? [])) }),
    };
  }
  async probeFrozen(inputs: Float32Array): Promise<Float32Array> {
    const program = await this.#once("frozen", () => {
      const { nodes } = this.#probed();
      return this.session.program({
        name: "frozen",
        inputs: numbered("inputs", nodes.frozen),
        outputs: numbered("scores", nodes.frozenScores),
        compute: this.#compute,
      });
    });
    const arrays: Record<string, Float32Array> = {};
    let from = 0;
    for (const [name, leaf] of Object.entries(program.spec.inputs)) {
      arrays[name] = inputs.subarray(from, from + sizeOf(leaf));
      from += sizeOf(leaf);
    }
    return joined(await program.run(arrays), "scores");
  }

  // ── decoding ───────────────────────────────────────────────────────────────────────────────────────
  #decoding(): Promise<SessionProgram> {
    return this.#once("decode", () => this.session.program(decodingProgram(this.#decoder.bound, this.config.time, { compute: this.#compute }).spec));
  }
  async decode(tokens: Int32Array, at: number): Promise<Float32Array> {
    const program = await this.#decoding();
    const out = await program.run({ tokens, start: [at], count: [tokens.length] }, { fresh: tokens.length, whole: at + tokens.length });
    return Float32Array.from(out.logits ?? []);
  }

  // ── checkpoints ────────────────────────────────────────────────────────────────────────────────────
  async #arrays(leaves: readonly Leaf[]): Promise<Arrays> {
    const out = new Map<string, NamedArray>();
    for (const l of leaves)
      out.set(l.name, {
        dtype: storageOf(l),
        data: Float32Array.from(await this.session.read(l.name)),
        shape: Object.values(l.axes).map(maxOf),
      });
    return out;
  }
  weights(): Promise<Arrays> {
    return this.#arrays(this.#params);
  }
  state(): Promise<Arrays> {
    return this.#arrays(this.#state);
  }
  async load(givenWeights: Arrays, givenState: Arrays | null, { convert = false } = {}): ReturnType<TrainingProgram["load"]> {
    const wantsMaster = hasMaster(this.options.precision);
    const [weights, state] = convert ? converted(givenWeights, givenState, wantsMaster) : [givenWeights, givenState];
    const wanted = [...this.#params.map((l) => [l, weights] as const), ...(state ? this.#state.map((l) => [l, state] as const) : [])];
    for (const [l, from] of wanted) {
      const shape = Object.values(l.axes).map(maxOf);
      const given = from.get(l.name);
      if (!given) return problem("run", `the checkpoint has no "${l.name}"`, "it was written by another model or optimizer");
      if (given.shape.join() !== shape.join())
        return problem(
          "run",
          `the checkpoint's "${l.name}" is [${given.shape.join(", ")}], the model's is [${shape.join(", ")}]`,
          "it was written by another model or optimizer",
        );
      const dtype = given.dtype ?? "f32";
      if (!convert && dtype !== l.dtype)
        return problem(
          "run",
          `the checkpoint's "${l.name}" is ${dtype}, the run's precision stores it as ${l.dtype}`,
          "it was written in another precision: restore the run's config.json, or convert it with --resume and --precision",
        );
    }
    const names = new Set(wanted.map(([l]) => l.name));
    for (const from of state ? [weights, state] : [weights])
      for (const name of from.keys())
        if (!names.has(name))
          return problem("run", `the checkpoint has "${name}", which the model does not have`, "it was written by another model or optimizer");
    for (const [l, from] of wanted) await this.session.write(l.name, (from.get(l.name) as NamedArray).data);
    return right(undefined);
  }
  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
  }
}

/** The decoder with its weights stored so: what a run trains is a model, which the form of a decoder does not say. */
export const stored = (decoder: LanguageDecoder, storage: Storage): LanguageDecoder => {
  const m: Model<unknown, unknown, unknown> = handle(decoder);
  return handle(withStorage(m, storage));
};
const storageOf = (l: Leaf): Storage => storages.find((s) => s === l.dtype) ?? "f32";
const bytesOf = (leaves: readonly Leaf[]): number => leaves.reduce((n, l) => n + sizeOf(l) * BYTES[l.dtype], 0);

const sumOf = (a: Tensor, b: Tensor): Tensor => handle(add(a, handle<never>(b)));
const sizeOf = (l: Leaf): number => Object.values(l.axes).reduce<number>((n, e) => n * maxOf(e), 1);
const numbered = <T extends Node>(name: string, nodes: readonly T[]): Readonly<Record<string, T>> =>
  Object.fromEntries(nodes.map((n, i) => [`${name}${i}`, n]));
function joined(out: Readonly<Record<string, ArrayLike<number>>>, name: string): Float32Array {
  const parts = Object.keys(out)
    .filter((k) => k.startsWith(name))
    .map((k) => out[k] as ArrayLike<number>);
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

/** Axes of scores that tell neither layers nor heads apart. */
const PAIRS = ["micro", "batch", "query", "key"];
/** The scores with layer and head outermost. */
const byHead = (scores: Node): Node => {
  const inner = PAIRS.filter((a) => a in scores.axes);
  const outer = Object.keys(scores.axes).filter((a) => !inner.includes(a));
  return ordered(scores, Object.fromEntries([...outer, ...inner].map((a) => [a, scores.axes[a] as number])));
};
/** Of the unmasked logits, before cap and bias, by layer and head. An attention that labels its scores alone is read there. */
function greatestLogits(loss: Node): Readonly<Record<string, Node>> {
  const logits = find(handle(loss), "logits");
  const found = find(handle(loss), "scores").map(({ path, value: scores }) => {
    const [own, more] = logits.filter((l) => l.path === path);
    const value = own && !more ? unmasked(own.value, scores) : scores;
    const over = PAIRS.filter((a) => a in value.axes);
    return nodeOf(max(handle<Tensor>(value), over[0] as string, ...over.slice(1)), "maximum");
  });
  const [only] = found;
  return only ? { maxLogits: only } : {};
}
