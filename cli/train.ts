// `mallard train`: a new run or the continuation of one, with progress on the way and a generated sample at the end.

import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import {
  ADAMW_LR,
  ATTENTIONS,
  checkParent,
  createRun,
  defaultsOf,
  FULL,
  generate,
  isFull,
  loadCorpus,
  MODEL_SIZES,
  OPTIMIZERS,
  openRun,
  type Problem,
  type ProgramFactory,
  pickDevice,
  precisionText,
  problem,
  RUN_FORMAT,
  type RunConfig,
  type RunFolder,
  TextStream,
  train,
} from "../trainer.js";
import { commandName } from "./command-name.js";
import { onInterrupt } from "./interrupt.js";
import { createLanguageModel, rateOf } from "./language-model.js";
import { count, EXIT, jsonResult, note, report, result } from "./output.js";
import { type Progress, trainingProgress } from "./progress.js";
import { DEFAULT_STEPS, type Flags, idleFlag, storageFault, withOptions } from "./train-options.js";
import { tuningOptions } from "./tuning.js";
import { version } from "./version.js";

/** What a resumed run may be given anew; everything else is the run's own. */
const RESUMABLE = new Set([
  "resume",
  "steps",
  "precision",
  "device",
  "adapter",
  "threads",
  "tune",
  "out",
  "evalEvery",
  "probeEvery",
  "prompt",
  "sample",
  "json",
]);
const PROBE_SEQUENCES = 2;

export function addTrain(program: Command, exit: (code: number) => void, createProgram: ProgramFactory = createLanguageModel): void {
  withOptions(
    program
      .command("train")
      .summary("train a byte-level language model")
      .description(
        "Trains a byte-level language model: model, loss, gradient and update are one compiled program.\nEach run gets a folder with config.json, metrics.jsonl and checkpoint.safetensors; Ctrl-C ends it with a checkpoint.",
      ),
  ).action(async (flags: Flags, command: Command) => exit(await run(flags, command, createProgram)));
}

interface Prepared {
  readonly config: RunConfig;
  readonly existing: RunFolder | null;
  /** Whether a checkpoint of another precision is taken. */
  readonly convert: boolean;
}

async function run(flags: Flags, command: Command, createProgram: ProgramFactory): Promise<number> {
  const prepared = flags.resume === undefined ? await fresh(flags) : await resumed(flags, flags.resume, command);
  if (isLeft(prepared)) return report(prepared.left, flags.json);
  const { config, existing, convert } = prepared.right;
  const { model } = config;
  const rate = rateOf(config.trainer);
  if (isLeft(rate)) return report(rate.left, flags.json);

  const corpus = await loadCorpus(config.data.file, model.time + 1);
  if (isLeft(corpus)) return report(corpus.left, flags.json);
  const read = existing === null ? null : await existing.readCheckpoint();
  if (read !== null && isLeft(read)) return report(read.left, flags.json);
  const checkpoint = read === null ? null : read.right;
  const unfit = existing === null || checkpoint === null ? null : misfit(existing, config, checkpoint.step, corpus.right.sha256);
  if (unfit !== null) return report(unfit, flags.json);

  const writable = existing === null ? await checkParent(flags.out) : null;
  if (writable !== null) return report(writable, flags.json);

  if (flags.tune !== undefined && config.program.device !== "native")
    return report(
      { kind: "usage", message: `--tune measures the native device, and this run is on ${config.program.device}`, hint: "leave --tune out" },
      flags.json,
    );
  const tuning = flags.tune === undefined ? undefined : tuningOptions(flags.tune);
  let progress: Progress | null = null;
  let stepping = false;
  using interrupt = onInterrupt((code) => {
    if (stepping) progress?.say("Ending after this step with a checkpoint; press Ctrl-C again to quit at once.");
    if (progress !== null) return;
    // Before the first step there is nothing to keep.
    const hint = tuning ? "start again when you like: what was measured is kept" : "start again when you like";
    report({ kind: "run", message: "stopped before the first step", hint }, flags.json);
    process.exit(code);
  });
  note(`Compiling for ${config.program.device}…`);
  const made = await createProgram(model, config.program, "training", tuning);
  if (isLeft(made)) return report(made.left, flags.json);
  using program = made.right;
  if (checkpoint !== null) {
    const loaded = await program.load(checkpoint.weights, checkpoint.state, { convert });
    if (isLeft(loaded)) return report(loaded.left, flags.json);
  }
  const { info } = program;
  const opened = await (existing === null
    ? createRun(flags.out, { ...config, data: { name: corpus.right.name, file: corpus.right.file, sha256: corpus.right.sha256 } })
    : existing.resume(config, checkpoint?.step ?? 0));
  if (isLeft(opened)) return report(opened.left, flags.json);
  using folder = opened.right;
  note(
    `${count(info.parameters)} parameters, ${info.kernels} kernels, compiled in ${(info.compileMs / 1000).toFixed(1)} s; ${info.device}, ${info.hardware}`,
  );
  if (!isFull(config.program.precision))
    note(`${precisionText(config.program.precision)}: ${megabytes(info.bytes.params)} of weights, ${megabytes(info.bytes.state)} of optimizer state`);
  note(`${corpus.right.name}: ${count(corpus.right.train.length)} bytes to train on, ${count(corpus.right.validation.length)} for validation`);
  note(`Run: ${folder.path}`);

  const from = checkpoint?.step ?? 0;
  const bar = trainingProgress(from, config.trainer.steps);
  progress = bar;
  stepping = true;
  const outcome = await train({
    program,
    corpus: corpus.right,
    model,
    config: config.trainer,
    rate: rate.right,
    accumulate: config.program.accumulate,
    probeSequences: config.program.probeSequences,
    seed: config.program.seed,
    record: folder,
    from,
    stop: interrupt.signal,
    report: (line) => bar.show(line),
  }).finally(() => {
    stepping = false;
    bar.end();
  });
  if (isLeft(outcome)) return report(outcome.left, flags.json);
  const { steps, interrupted, loss, validationLoss, tokensPerSecond } = outcome.right;

  let sample: string | null = null;
  if (!interrupted && flags.sample > 0) {
    sample = flags.prompt;
    const text = new TextStream();
    const sampling = { temperature: 0.8, topK: null, seed: config.program.seed };
    for await (const byte of generate(program, model.time, Buffer.from(flags.prompt), flags.sample, sampling)) {
      if (interrupt.signal.aborted) break;
      sample += text.push(byte);
    }
    sample += text.end();
  }
  if (flags.json) jsonResult({ run: folder.path, steps, interrupted, loss, validationLoss, tokensPerSecond, sample, ...info });
  else {
    if (interrupted) note(`Stopped after step ${steps}; continue with: ${commandName()} train --resume ${folder.path}`);
    if (validationLoss !== null) result(`Validation loss after ${steps} steps: ${validationLoss.toFixed(4)} nats a byte`);
    if (sample !== null) result(`\n${sample}`);
  }
  return interrupt.exitCode ?? EXIT.ok;
}

async function fresh(flags: Flags): Promise<Either<Problem, Prepared>> {
  const idle = idleFlag(flags);
  if (idle !== null) return problem("usage", ...idle);
  const device = await pickDevice(flags.device, flags.adapter);
  if (isLeft(device)) return device;
  const fallen = device.right.notice !== null;
  const size = flags.model ?? (fallen ? "micro" : "tiny");
  if (fallen) note(`${device.right.notice}${flags.model === undefined ? " (training the micro model)" : ""}`);
  const steps = flags.steps ?? DEFAULT_STEPS;
  const cooldown = flags.schedule === "wsd" ? (flags.cooldown ?? Math.max(1, Math.floor(steps / 5))) : 0;
  const lr = flags.lr ?? OPTIMIZERS[flags.optimizer].lr;
  const sizes = MODEL_SIZES[size];
  const defaults = defaultsOf(flags.intervention);
  const config: RunConfig = {
    format: RUN_FORMAT,
    mallard: version(),
    name: flags.name ?? size,
    created: new Date().toISOString(),
    model: { ...sizes, attention: ATTENTIONS[flags.attention].of(sizes) },
    program: {
      optimizer: flags.optimizer,
      partner: flags.optimizer === "muon" ? (flags.adamwLr ?? ADAMW_LR) / lr : 1,
      decay: flags.decay,
      intervention: flags.intervention,
      tau: flags.tau ?? defaults.tau,
      norm: flags.norm ?? defaults.norm,
      combine: flags.combine ?? defaults.combine,
      floor: flags.floor ?? defaults.floor,
      limit: flags.limit ?? defaults.limit,
      clip: flags.clip === 0 ? null : flags.clip,
      clipStep: flags.clipStep ?? null,
      zLoss: flags.zLoss,
      bounds: flags.bounds,
      accumulate: flags.accumulate,
      probeSequences: Math.min(PROBE_SEQUENCES, sizes.batch),
      precision: flags.precision ?? FULL,
      device: device.right.device,
      ...(flags.adapter === undefined ? {} : { adapter: flags.adapter }),
      threads: flags.threads ?? availableParallelism(),
      seed: flags.seed,
    },
    trainer: {
      steps,
      lr,
      schedule: flags.schedule,
      warmup: flags.warmup,
      cooldown,
      evalEvery: flags.evalEvery ?? 50,
      evalBatches: flags.evalBatches,
      probeEvery: flags.probeEvery ?? 10,
    },
    data: { name: "", file: flags.data ?? null, sha256: "" },
  };
  return right({ config, existing: null, convert: false });
}

async function resumed(flags: Flags, run: string, command: Command): Promise<Either<Problem, Prepared>> {
  for (const option of command.options) {
    const name = option.attributeName();
    if (command.getOptionValueSource(name) !== "cli" || RESUMABLE.has(name)) continue;
    return problem(
      "usage",
      `${option.long} cannot change in a resumed run: it keeps its own model, data and optimizer`,
      `leave ${option.long} out, or start a new run without --resume`,
    );
  }
  const folder = await openRun(run, flags.out);
  if (isLeft(folder)) return folder;
  const { config } = folder.right;
  const unstorable = storageFault(flags.precision, config.program.optimizer);
  if (unstorable !== null) return problem("usage", ...unstorable);
  const asked = command.getOptionValueSource("device") === "cli" ? flags.device : config.program.device;
  const adapter = flags.adapter ?? (asked === config.program.device ? config.program.adapter : undefined);
  const device = await pickDevice(asked, adapter);
  if (isLeft(device)) return device;
  if (device.right.notice !== null) note(device.right.notice);
  return right({
    existing: folder.right,
    convert: flags.precision !== undefined,
    config: {
      ...config,
      program: {
        ...config.program,
        precision: flags.precision ?? config.program.precision,
        device: device.right.device,
        adapter,
        threads: flags.threads ?? config.program.threads,
      },
      trainer: {
        ...config.trainer,
        steps: flags.steps ?? config.trainer.steps,
        evalEvery: flags.evalEvery ?? config.trainer.evalEvery,
        probeEvery: flags.probeEvery ?? config.trainer.probeEvery,
      },
    },
  });
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;

/** Why this checkpoint cannot be continued with this request. */
function misfit(folder: RunFolder, config: RunConfig, step: number, sha256: string): Problem | null {
  const { data } = config;
  if (sha256 !== data.sha256) {
    const what = data.file ?? `the package ${data.name}`;
    return {
      kind: "data",
      message: `${what} is not the text that ${folder.path} was trained on`,
      hint: "restore that text, or start a new run without --resume",
    };
  }
  if (config.trainer.steps > step) return null;
  return {
    kind: "usage",
    message: `${folder.path} has done all of its ${step} steps`,
    hint: `give more steps, such as --steps ${step * 2}, or generate from it: ${commandName()} generate --run ${folder.path} --prompt "The "`,
  };
}
