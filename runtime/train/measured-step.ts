// A decoder's training step on one batch that never changes: forward, backward and update as one program, for whoever
// measures it. Rate and data are of no account for speed; that the loss falls shows that it is a training step.
import { input, mean, type Optimizer, type Tensor } from "../../dsl/index.js";
import { handle, nodeOf } from "../../dsl/tensor.js";
import { FULL, type Precision } from "../precision.js";
import { inputLeaves } from "../program.js";
import type { Session, SessionProgram } from "../session.js";
import { startTraining, trainingPrograms } from "../training.js";
import type { ModelConfig } from "./config.js";

type Tokens = Tensor<{ time: number }, "i32">;
export interface MeasuredStepOptions {
  /** The model's tree of parameters. */
  readonly params: unknown;
  /** The loss at each position, of tokens and of those that follow them; it lifts over the batch. */
  readonly loss: (tokens: Tokens, following: Tokens) => Tensor<{ time: number }>;
  readonly optimizer: Optimizer;
  /** f32 throughout, where absent. Weights are stored as `params` says: they are made so (`stored`). */
  readonly precision?: Precision;
  /** Each run's results then have the times of its kernels (kernelTimes). */
  readonly profile?: boolean;
}
export interface MeasuredStep {
  readonly program: SessionProgram;
  readonly parameters: number;
  /** Paths of the weights, in the order of the model. */
  readonly weights: readonly string[];
  step(): ReturnType<SessionProgram["run"]>;
}

/** The step as a program of the session, its weights and optimizer state at their beginning. Throws what is wrong with the
 *  expression (CompileError) or the device (DeviceError). */
export async function measuredStep(
  session: Session,
  s: Pick<ModelConfig, "vocab" | "time" | "batch">,
  { params, loss, optimizer, precision = FULL, profile = false }: MeasuredStepOptions,
): Promise<MeasuredStep> {
  const inputs = {
    tokens: input({ batch: s.batch, time: s.time }, "i32"),
    following: input({ batch: s.batch, time: s.time }, "i32"),
    lr: input({}),
    t: input({}),
  };
  const overTime = (x: unknown): Tokens => handle(nodeOf(x, "tokens"));
  const each = handle<Tensor<{ batch: number; time: number }>>(nodeOf(loss(overTime(inputs.tokens), overTime(inputs.following)), "loss"));
  const programs = trainingPrograms({
    name: "measured_step",
    params,
    inputs: inputLeaves(inputs),
    loss: nodeOf(mean(each, "batch", "time"), "loss"),
    optimizer,
    precision,
    lr: nodeOf(inputs.lr, "lr"),
    t: nodeOf(inputs.t, "t"),
  });
  const program = await startTraining(session, profile ? { ...programs, step: { ...programs.step, profile: true } } : programs, 1);
  const batch = tokensOf(s);
  let t = 0;
  return {
    program,
    parameters: programs.params.reduce((n, l) => n + Object.values(l.axes).reduce<number>((m, e) => m * Number(e), 1), 0),
    weights: programs.params.map((l) => l.name),
    step: () => program.run({ ...batch, lr: [3e-4], t: [++t] }),
  };
}
/** One batch of tokens, from a fixed generator (Numerical Recipes' linear congruence, high bits). */
function tokensOf(s: Pick<ModelConfig, "vocab" | "time" | "batch">) {
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
