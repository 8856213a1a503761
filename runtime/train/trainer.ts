// The training loop: batches, rates, validation, probes, metrics and checkpoints around a compiled program.
//
// Where results come back late (a GPU), a few steps are under way at once: the next ones are asked for before the first one's
// loss is known. They are told and checked in order all the same, and all that were asked for have ended before anything
// else is read: a probe, a validation, a checkpoint.
//
// After each step one line goes to metrics.jsonl; at every validation, at the end and when a stop is asked for, a
// checkpoint is written. What is kept is always sound: a loss, rate, gradient, validation loss or weight that is not
// finite ends the run with an error that names step and weight, and leaves the checkpoint before it in place.
//
// The change of the logits (docs/quack.md): around a probed step the logits of a fixed batch are read before and after,
// once as the model computes them (free: the residual stream moves too) and once with every attention layer given
// the inputs it had before the step (frozen: what the bound speaks of).
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { type Batch, trainingBatch, validationBatches } from "../data/batches.js";
import type { Corpus } from "../data/corpus.js";
import { DeviceError } from "../errors.js";
import type { ModelConfig, TrainerConfig } from "./config.js";
import { type Problem, problem } from "./problem.js";
import type { Arrays, Probe, StepResult, TrainingProgram } from "./program.js";

/** By layer, by head. */
export type Rows = readonly (readonly number[])[];
/** A line of metrics.jsonl. Losses are nats a byte. The line of step 0 has the validation loss before training alone. */
export interface Metrics {
  readonly step: number;
  readonly loss?: number;
  readonly lr?: number;
  readonly tokensPerSecond?: number;
  readonly gradNorm?: number;
  readonly maxLogit?: number;
  readonly maxLogits?: Rows;
  /** Mean and greatest change of a logit in this step, with the attentions' inputs frozen, and free. */
  readonly deltaLogitFrozen?: number;
  readonly maxDeltaLogitFrozen?: number;
  readonly deltaLogitFree?: number;
  readonly maxDeltaLogitFree?: number;
  /** With bounds asked for, by layer and head: the greatest change with frozen inputs, and what bounds it: from the steps
   *  that the optimizer states, from the changes that were made, and QuacK's budget (bounds.ts). */
  readonly maxDeltaLogitsFrozen?: Rows;
  readonly certificate?: Rows;
  readonly certificateActual?: Rows;
  readonly budget?: Rows;
  readonly validationLoss?: number;
  /** Why the run ended here, where it did not reach its last step. */
  readonly stopped?: "diverged" | "interrupted";
}
/** Where a run is kept (`run-folder.ts`). */
export interface RunRecord {
  append(line: Metrics): Either<Problem, void>;
  save(step: number, weights: Arrays, state: Arrays): Promise<Either<Problem, void>>;
}
export interface Training {
  readonly program: TrainingProgram;
  readonly corpus: Pick<Corpus, "train" | "validation">;
  readonly model: ModelConfig;
  readonly config: TrainerConfig;
  /** Of step t, from 1. */
  readonly rate: (t: number) => number;
  readonly accumulate: number;
  readonly probeSequences: number;
  readonly seed: number;
  readonly record: RunRecord;
  /** Steps done before: 0, or those of the checkpoint that the program holds. */
  readonly from: number;
  /** Aborted when the run shall end after the running step. */
  readonly stop: AbortSignal;
  /** Called after every metrics line. */
  readonly report: (line: Metrics) => void;
}
export interface Outcome {
  /** Steps done in all, those before a resumption included. */
  readonly steps: number;
  readonly interrupted: boolean;
  /** Of the last step; null where none ran. */
  readonly loss: number | null;
  /** After the last step; null where the run was stopped before. */
  readonly validationLoss: number | null;
  /** Mean over the steps of this call, validation and probes apart; null where none ran. */
  readonly tokensPerSecond: number | null;
}

/** A step that was asked for, and its result some time later. */
interface Underway {
  readonly t: number;
  readonly lr: number;
  readonly start: number;
  readonly result: Promise<StepResult>;
}
interface Settled {
  readonly result: StepResult;
  readonly seconds: number;
}

export async function train(o: Training): Promise<Either<Problem, Outcome>> {
  const { program, model, config, record, seed } = o;
  const shape = { sequences: model.batch * o.accumulate, time: model.time };
  const validation = validationBatches(o.corpus.validation, { sequences: model.batch, time: model.time }, config.evalBatches);
  const probeBatch = validationBatches(o.corpus.validation, { sequences: o.probeSequences, time: model.time }, 1)[0]!;
  const tell = (line: Metrics): Either<Problem, void> => {
    const written = record.append(line);
    o.report(line);
    return written;
  };
  /** The last step that was asked for. */
  let step = o.from;
  let saved = o.from;
  const kept = (): string => (saved > 0 ? `the checkpoint of step ${saved} is kept` : "no checkpoint was due yet");
  const diverged = (at: number, what: string): Either<Problem, never> =>
    problem(
      "diverged",
      `training diverged at step ${at}: ${what}`,
      `${kept()}; try a smaller --lr, a longer --warmup, --clip 1 or --intervention quack`,
    );
  const save = async (): Promise<Either<Problem, void>> => {
    const [weights, state] = [await program.weights(), await program.state()];
    const wrong = notFinite({ weight: weights, "optimizer's state": state });
    if (wrong !== null) return diverged(step, wrong);
    const written = await record.save(step, weights, state);
    if (!isLeft(written)) saved = step;
    return written;
  };

  /** The oldest first. */
  const underway: Underway[] = [];
  let loss: number | null = null;
  let seconds = 0;
  let previous: StepResult | null = null;
  /** When the step before ended: from then on the device had only this one to do. */
  let free = 0;
  /** Waits for the oldest step, and checks what it says. */
  const settle = async ({ t, lr, start, result: later }: Underway): Promise<Either<Problem, Settled>> => {
    const result = await later;
    const now = performance.now();
    const took = (now - Math.max(start, free)) / 1000;
    free = now;
    const fault = result.fault ?? (Number.isFinite(result.loss) ? null : { what: `the loss is ${result.loss}`, weight: null });
    if (fault !== null) {
      const told = tell({
        step: t,
        loss: result.loss,
        lr,
        ...(result.gradNorm === undefined ? {} : { gradNorm: result.gradNorm }),
        stopped: "diverged",
      });
      return isLeft(told) ? told : diverged(t, `${fault.what}${before(previous)}`);
    }
    previous = result;
    seconds += took;
    loss = result.loss;
    return right({ result, seconds: took });
  };
  const tellStep = ({ t, lr }: Underway, { result, seconds: took }: Settled, more: Partial<Metrics>): Either<Problem, void> =>
    tell({
      step: t,
      loss: result.loss,
      lr,
      tokensPerSecond: rounded((shape.sequences * shape.time) / took),
      ...(result.gradNorm === undefined ? {} : { gradNorm: result.gradNorm }),
      maxLogit: result.maxLogit,
      ...(result.maxLogits === undefined ? {} : { maxLogits: rows(result.maxLogits, model.head) }),
      ...more,
      ...(o.stop.aborted && t === step && step < config.steps ? { stopped: "interrupted" } : {}),
    });
  /** Until no more than `left` steps are under way. */
  const drain = async (left: number): Promise<Either<Problem, void>> => {
    while (underway.length > left) {
      const u = underway.shift() as Underway;
      const settled = await settle(u);
      if (isLeft(settled)) return settled;
      const told = tellStep(u, settled.right, {});
      if (isLeft(told)) return told;
    }
    return right(undefined);
  };

  let validationLoss: number | null = null;
  const run = async (): Promise<Either<Problem, void>> => {
    if (o.from === 0 && !o.stop.aborted) {
      validationLoss = await evaluate(program, validation, o.stop);
      if (validationLoss !== null) {
        const told = tell({ step: 0, validationLoss });
        if (isLeft(told)) return told;
      }
    }

    let probe: { readonly step: number; readonly probe: Probe } | null = null;
    while (step < config.steps && !o.stop.aborted) {
      const t = step + 1;
      const lr = o.rate(t);
      const batch = trainingBatch(o.corpus.train, shape, seed, t);
      const probed = config.probeEvery > 0 && (t === 1 || t % config.probeEvery === 0);
      const due = t % config.evalEvery === 0 || t === config.steps;
      if (probed) {
        const drained = await drain(0);
        if (isLeft(drained)) return drained;
        if (o.stop.aborted) break;
      }
      const unmoved: Probe | null = !probed ? null : probe?.step === step ? probe.probe : await program.probe(probeBatch);

      const start = performance.now();
      const result = program.step(batch, lr, t, unmoved?.norms ? { norms: unmoved.norms } : undefined);
      result.catch(() => undefined); // taken when it is settled
      const now: Underway = { t, lr, start, result };
      underway.push(now);
      step = t;
      validationLoss = null;
      const waiting = await drain(probed || due ? 1 : (program.info.ahead ?? 0));
      if (isLeft(waiting)) return waiting;
      if (!probed && !due) continue;
      underway.pop();
      const settled = await settle(now);
      if (isLeft(settled)) return settled;

      let change: Partial<Metrics> = {};
      if (unmoved !== null) {
        const after = await program.probe(probeBatch);
        const still = await program.probeFrozen(unmoved.inputs);
        const frozen = changeOf(unmoved.logits, still);
        const free = changeOf(unmoved.logits, after.logits);
        const { bounds } = settled.right.result;
        probe = { step, probe: after };
        change = {
          deltaLogitFrozen: frozen.mean,
          maxDeltaLogitFrozen: frozen.greatest,
          deltaLogitFree: free.mean,
          maxDeltaLogitFree: free.greatest,
          ...(bounds === undefined ? {} : { maxDeltaLogitsFrozen: rows(byHead(unmoved.logits, still, model), model.head) }),
          ...Object.fromEntries(Object.entries(bounds ?? {}).map(([name, of]) => [name, rows(of, model.head)])),
        };
      }
      if (due) validationLoss = await evaluate(program, validation, o.stop);
      if (validationLoss !== null && !Number.isFinite(validationLoss)) {
        const told = tell({ step, loss: settled.right.result.loss, lr, validationLoss, stopped: "diverged" });
        if (isLeft(told)) return told;
        const wrong = notFinite({ weight: await program.weights() });
        return diverged(step, `the validation loss is ${validationLoss}${wrong === null ? "" : `: ${wrong}`}${before(previous)}`);
      }
      const told = tellStep(now, settled.right, { ...change, ...(validationLoss === null ? {} : { validationLoss }) });
      if (isLeft(told)) return told;
      if (due) {
        const written = await save();
        if (isLeft(written)) return written;
      }
    }
    const drained = await drain(0);
    if (isLeft(drained)) return drained;
    // A stop between checkpoints; a run stopped before its first step gets its initial weights.
    if (saved !== step || step === 0) {
      const written = await save();
      if (isLeft(written)) return written;
    }
    return right(undefined);
  };

  try {
    const ran = await run();
    if (isLeft(ran)) return ran;
  } catch (thrown) {
    // A device that is lost, or has no memory left, takes the weights since the last checkpoint with it, and no more.
    if (!(thrown instanceof DeviceError)) throw thrown;
    return problem("device", thrown.message, saved > 0 ? `${kept()}: continue from it with --resume` : kept());
  }
  const done = step - o.from;
  return right({
    steps: step,
    interrupted: o.stop.aborted && step < config.steps,
    loss,
    validationLoss,
    tokensPerSecond: done === 0 ? null : rounded((done * shape.sequences * shape.time) / seconds),
  });
}

/** Mean loss over the batches; null where a stop was asked for on the way. */
async function evaluate(program: TrainingProgram, batches: readonly Batch[], stop: AbortSignal): Promise<number | null> {
  let sum = 0;
  for (const batch of batches) {
    if (stop.aborted) return null;
    sum += await program.evaluate(batch);
  }
  return sum / batches.length;
}

/** The first array with elements that are not finite. */
function notFinite(kinds: Readonly<Record<string, Arrays>>): string | null {
  for (const [kind, arrays] of Object.entries(kinds))
    for (const [path, { data }] of arrays) if (!data.every(Number.isFinite)) return `the ${kind} ${path} has elements that are not finite`;
  return null;
}
/** What the step before says of a fault: where the gradient was steepest, and how far the logits had grown. */
function before(previous: StepResult | null): string {
  if (previous === null) return "";
  const { steepest, maxLogit } = previous;
  const gradient = steepest === undefined ? "" : `the greatest gradient was that of ${steepest.weight} (norm ${short(steepest.norm)}), `;
  return `; in the step before, ${gradient}the greatest attention logit was ${short(maxLogit)}`;
}
const short = (x: number): string => `${Number(x.toPrecision(3))}`;

/** Mean and maximum of |b − a| over the unmasked pairs. */
export function changeOf(a: Float32Array, b: Float32Array): { readonly mean: number; readonly greatest: number } {
  if (a.length !== b.length) throw new RangeError(`a probe gave ${a.length} logits before the step and ${b.length} after it`);
  let sum = 0;
  let greatest = 0;
  let count = 0;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === -Infinity && b[i] === -Infinity) continue;
    const change = Math.abs(b[i]! - a[i]!);
    sum += change;
    greatest = Math.max(greatest, change);
    count++;
  }
  return { mean: count === 0 ? 0 : sum / count, greatest };
}

/** The greatest change of each layer's heads, which are outermost. */
function byHead(a: Float32Array, b: Float32Array, { layer, head }: ModelConfig): Float32Array {
  const pairs = a.length / (layer * head);
  return Float32Array.from(
    { length: layer * head },
    (_, i) => changeOf(a.subarray(i * pairs, (i + 1) * pairs), b.subarray(i * pairs, (i + 1) * pairs)).greatest,
  );
}
const rows = (flat: Float32Array, width: number): number[][] =>
  Array.from({ length: flat.length / width }, (_, row) => Array.from(flat.subarray(row * width, (row + 1) * width)));
const rounded = (x: number): number => Math.round(x * 10) / 10;
