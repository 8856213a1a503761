// train: a model's training step as one call. Loss, gradient and update are one compiled program; weights and the
// optimizer's state stay with the session, where other programs (evaluation, generation) find them. What is not finite
// ends it with an error that names step and weight (finite.ts).
import { showPlan } from "../compiler/lower/show.js";
import { leaf as makeLeaf, map } from "../dsl/build.js";
import { type AnyTensor, type Formula, type Model, type Optimizer, type Parts, type Scalar, withStorage } from "../dsl/index.js";
import { arg, call, constant } from "../dsl/scalar.js";
import { handle, nodeOf } from "../dsl/tensor.js";
import type { DeviceName, DeviceOptions } from "./devices/index.js";
import { checkStart, DivergedError, watched } from "./finite.js";
import type { Kernel } from "./kernels.js";
import { type Precision, precisionOf, precisionText } from "./precision.js";
import { type Arrays, inputLeaves, inSession } from "./program.js";
import type { Session } from "./session.js";
import { startTraining } from "./training.js";

export interface TrainOptions<P extends Parts, MI, MO, I> extends DeviceOptions {
  readonly model: Model<P, MI, MO>;
  readonly inputs: I;
  /** From the model's formula and the inputs to the loss. */
  readonly loss: (f: Formula<MI, MO>, x: I) => Scalar;
  readonly optimizer: Optimizer;
  /** The rate of step t, which counts from 1. */
  readonly lr: (t: Scalar) => Scalar;
  /** A session to train in, or the device of a new one; native unless said. */
  readonly device?: DeviceName | Session;
  /** Of the initial weights. */
  readonly seed?: number;
  /** What weights, optimizer state and kept activations are stored as: f32 unless said (docs/precision.md). Weights of half width are
   *  those of `withStorage(model, …)`, in programs that share the session. */
  readonly precision?: Partial<Precision>;
}
export interface Training<I> {
  /** One step: the loss before the update. The next may be asked for before it has ended. Throws DivergedError where the loss,
   *  the rate, a gradient or a weight's factor is not finite; the weights are of no use then, and every later step throws the
   *  same. */
  run(x: Arrays<I>): Promise<{ readonly loss: number }>;
  /** Holds weights by their paths (`blocks.*.attention.wq`), the optimizer's state (`optimizer.…`) and the number of
   *  steps taken (`step`); other programs compiled in it share them. */
  readonly session: Session;
  readonly kernels: readonly Kernel[];
  explain(): string;
  /** Frees the program, and the session if it was made for it. */
  [Symbol.dispose](): void;
}

/** One training step as one program. Throws what is wrong with the expression (CompileError), the optimizer (RuleError; a
 *  weight whose partner begins at zero, with QuacK) or the device (DeviceError). */
export async function train<P extends Parts, MI, MO, const I extends { readonly [name: string]: AnyTensor }>(
  o: TrainOptions<P, MI, MO, I>,
): Promise<Training<I>> {
  const precision = precisionOf(o.precision);
  const model = withStorage(o.model, precision.params);
  return inSession(o.device, o, async (session, own) => {
    const taken = makeLeaf("state", "step", {}, "f32");
    const t = map({ taken }, { kind: "scalar", body: call("add", arg("taken"), constant(1)) });
    const rate = nodeOf(o.lr(handle(t)), "train: the rate");
    const { programs, read } = watched({
      name: "train",
      params: model.params,
      inputs: inputLeaves(o.inputs),
      loss: nodeOf(o.loss(model.bound, o.inputs), "train: the loss"),
      optimizer: o.optimizer,
      lr: rate,
      t,
      metrics: () => ({ lr: rate }),
      precision,
      updates: [{ leaf: taken, value: t }],
    });
    const step = await startTraining(session, programs, o.seed ?? 0);
    await checkStart(session, programs);
    let ended: DivergedError | undefined;
    let asked = 0;
    return {
      run: async (x) => {
        if (ended) throw ended;
        const own = ++asked;
        const out = await step.run(x);
        if (ended) throw ended;
        const { fault } = read(out, out.lr?.[0] ?? Number.NaN);
        if (fault) {
          // By now the device may have taken steps that were asked for while this one was under way.
          const later = asked - own;
          const reached = Number((await session.read(taken.name))[0]);
          ended ??= new DivergedError(reached - later, fault, "try a smaller rate, a longer warm-up, clipNorm or quack");
          throw ended;
        }
        return { loss: out.loss?.[0] ?? Number.NaN };
      },
      session,
      get kernels() {
        return step.kernels;
      },
      explain: () =>
        step.plan
          ? `precision: ${precisionText(precision)}\n${showPlan(step.plan)}`
          : "the js device evaluates the expression as it stands: it has no kernels",
      [Symbol.dispose]: () => (own ? session[Symbol.dispose]() : step[Symbol.dispose]()),
    };
  });
}
