// `mallard train`: a new run or the continuation of one, with progress on the way and a generated sample at the end.

import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import {
  ADAMW_LR,
  ATTENTIONS,
  type AttentionName,
  COMBINES,
  checkParent,
  createRun,
  DEVICES,
  type DeviceName,
  defaultsOf,
  generate,
  INTERVENTIONS,
  type Intervention,
  type InterventionConfig,
  loadCorpus,
  MODEL_SIZES,
  type ModelSize,
  NORMS,
  namesOf,
  OPTIMIZERS,
  type OptimizerName,
  openRun,
  type Problem,
  type ProgramFactory,
  pickDevice,
  problem,
  RUN_FORMAT,
  type RunConfig,
  type RunFolder,
  SCHEDULES,
  type ScheduleName,
  TextStream,
  train,
} from "../trainer.js";
import { commandName } from "./command-name.js";
import { onInterrupt } from "./interrupt.js";
import { createLanguageModel, interventionOf, rateOf } from "./language-model.js";
import { count, EXIT, jsonResult, note, report, result } from "./output.js";
import { type Progress, trainingProgress } from "./progress.js";
import { atLeastZero, choice, folderName, integer, positive } from "./values.js";
import { version } from "./version.js";

interface Flags extends Partial<InterventionConfig> {
  readonly model?: ModelSize;
  readonly attention: AttentionName;
  readonly steps?: number;
  readonly lr?: number;
  readonly schedule: ScheduleName;
  readonly warmup: number;
  readonly cooldown?: number;
  readonly optimizer: OptimizerName;
  readonly adamwLr?: number;
  readonly decay: number;
  readonly intervention: Intervention;
  readonly clip: number;
  readonly clipStep?: number;
  readonly zLoss: number;
  readonly bounds: boolean;
  readonly accumulate: number;
  readonly device: DeviceName | "auto";
  readonly threads?: number;
  readonly seed: number;
  readonly data?: string;
  readonly out: string;
  readonly name?: string;
  readonly evalEvery?: number;
  readonly evalBatches: number;
  readonly probeEvery?: number;
  readonly resume?: string;
  readonly prompt: string;
  readonly sample: number;
  readonly json: boolean;
}
/** What a resumed run may be given anew; everything else is the run's own. */
const RESUMABLE = new Set(["resume", "steps", "device", "threads", "out", "evalEvery", "probeEvery", "prompt", "sample", "json"]);
const DEFAULT_STEPS = 200;
const PROBE_SEQUENCES = 2;

const sizes = Object.entries(MODEL_SIZES).map(
  ([name, m]) => `${name} (width ${m.model}, ${m.layer} layers, ${m.head} heads, ${m.time} bytes × ${m.batch})`,
);
const modelNames = namesOf(MODEL_SIZES);
/** The interventions that a setting counts for. */
const takers = (setting: keyof InterventionConfig): readonly Intervention[] =>
  INTERVENTIONS.filter((name) => interventionOf(name).takes.some((taken) => taken === setting));
/** "0.1 for fixed, 1 for quack". */
const defaultsText = (setting: keyof InterventionConfig): string =>
  takers(setting)
    .map((name) => `${defaultsOf(name)[setting]} for ${name}`)
    .join(", ");
const quack = defaultsOf("quack");
const lrs = namesOf(OPTIMIZERS).map((name) => `${OPTIMIZERS[name].lr} for ${name}`);

export function addTrain(program: Command, exit: (code: number) => void, createProgram: ProgramFactory = createLanguageModel): void {
  program
    .command("train")
    .summary("train a byte-level language model")
    .description(
      "Trains a byte-level language model: model, loss, gradient and update are one compiled program.\nEach run gets a folder with config.json, metrics.jsonl and checkpoint.safetensors; Ctrl-C ends it with a checkpoint.",
    )
    .addOption(new Option("--model <size>", `${sizes.join(", ")}; default tiny`).argParser(choice(modelNames)))
    .addOption(new Option("--steps <n>", `updates in all; default ${DEFAULT_STEPS}`).argParser(integer(1)))
    .addOption(new Option("--attention <name>", namesOf(ATTENTIONS).join(", ")).argParser(choice(namesOf(ATTENTIONS))).default("mha"))
    .addOption(new Option("--optimizer <name>", namesOf(OPTIMIZERS).join(", ")).argParser(choice(namesOf(OPTIMIZERS))).default("adamw"))
    .addOption(new Option("--lr <rate>", `rate after warm-up; default ${lrs.join(", ")}`).argParser(positive))
    .addOption(new Option("--adamw-lr <rate>", `of the AdamW beside muon; default ${ADAMW_LR}`).argParser(positive))
    .addOption(
      new Option("--schedule <name>", `of the rate: ${namesOf(SCHEDULES).join(", ")}`).argParser(choice(namesOf(SCHEDULES))).default("constant"),
    )
    .addOption(new Option("--warmup <n>", "steps in which the rate rises linearly").argParser(integer(0)).default(20))
    .addOption(new Option("--cooldown <n>", "steps in which wsd's rate falls; default a fifth of all").argParser(integer(1)))
    .addOption(new Option("--decay <rate>", "decoupled decay of the matrices").argParser(atLeastZero).default(0))
    .addOption(
      new Option("--intervention <name>", `against growing logits: ${INTERVENTIONS.join(", ")}`).argParser(choice(INTERVENTIONS)).default("quack"),
    )
    .addOption(new Option("--tau <factor>", `of the query and key rates; default ${defaultsText("tau")}`).argParser(positive))
    .addOption(new Option("--norm <name>", `for quack: ${NORMS.join(", ")}; default ${quack.norm}`).argParser(choice(NORMS)))
    .addOption(
      new Option("--combine <how>", `several paths to the logits, for quack: ${COMBINES.join(", ")}; default ${quack.combine}`).argParser(
        choice(COMBINES),
      ),
    )
    .addOption(new Option("--floor <c>", `under every norm, for quack; default ${quack.floor}`).argParser(atLeastZero))
    .addOption(new Option("--limit <c>", `of a logit; default ${defaultsText("limit")}`).argParser(positive))
    .addOption(new Option("--clip <norm>", "greatest gradient norm; 0 for no clipping").argParser(atLeastZero).default(0))
    .addOption(new Option("--clip-step <norm>", "greatest norm of a weight's step at rate 1; default none").argParser(positive))
    .addOption(new Option("--z-loss <weight>", "of the squared log-sum-exp in the loss").argParser(atLeastZero).default(0))
    .addOption(new Option("--bounds", "at each probed step, bounds of the change of the logits beside the change").default(false, "off"))
    .addOption(new Option("--accumulate <n>", "micro-batches in an update").argParser(integer(1)).default(1))
    .addOption(new Option("--device <name>", `auto, ${DEVICES.join(", ")}`).argParser(choice(["auto", ...DEVICES])).default("auto"))
    .addOption(new Option("--threads <n>", "of the native device; default: all cores").argParser(integer(1, 1024)))
    .addOption(new Option("--seed <n>", "of the initial weights and the order of the data").argParser(integer(0, 2 ** 31 - 1)).default(0))
    .addOption(new Option("--data <file>", "text to train on; default: 18 public-domain books"))
    .addOption(new Option("--out <dir>", "folder for runs").default("runs"))
    .addOption(new Option("--name <name>", "start of the run's folder name; default: the model's size").argParser(folderName))
    .addOption(new Option("--eval-every <n>", "steps between validations (each writes a checkpoint); default 50").argParser(integer(1)))
    .addOption(new Option("--eval-batches <n>", "batches of a validation").argParser(integer(1)).default(16))
    .addOption(new Option("--probe-every <n>", "steps between readings of the change of the logits; 0 for none; default 10").argParser(integer(0)))
    .addOption(new Option("--resume <run>", "continue a run from its checkpoint (a folder, or its name below --out)"))
    .addOption(new Option("--prompt <text>", "start of the sample at the end").default("The "))
    .addOption(new Option("--sample <n>", "bytes of the sample; 0 for none").argParser(integer(0)).default(200))
    .addOption(new Option("--json", "the outcome as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard train                                     the tiny model, 200 steps, about a minute
  $ mallard train --steps 1000 --intervention none    every weight at the same rate
  $ mallard train --attention mla --optimizer muon --schedule cosine
  $ mallard train --model micro --optimizer muon --bounds
  $ mallard train --data notes.txt --model micro      on your own text
  $ mallard train --resume runs/tiny-20260101-120000 --steps 2000`,
    )
    .action(async (flags: Flags, command: Command) => exit(await run(flags, command, createProgram)));
}

interface Prepared {
  readonly config: RunConfig;
  readonly existing: RunFolder | null;
}

async function run(flags: Flags, command: Command, createProgram: ProgramFactory): Promise<number> {
  const prepared = flags.resume === undefined ? await fresh(flags) : await resumed(flags, flags.resume, command);
  if (isLeft(prepared)) return report(prepared.left, flags.json);
  const { config, existing } = prepared.right;
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

  let progress: Progress | null = null;
  let stepping = false;
  using interrupt = onInterrupt((code) => {
    if (stepping) progress?.say("Ending after this step with a checkpoint; press Ctrl-C again to quit at once.");
    if (progress !== null) return;
    // Before the first step there is nothing to keep.
    report({ kind: "run", message: "stopped before the first step", hint: "start again when you like" }, flags.json);
    process.exit(code);
  });
  note(`Compiling for ${config.program.device}…`);
  const made = await createProgram(model, config.program, "training");
  if (isLeft(made)) return report(made.left, flags.json);
  using program = made.right;
  if (checkpoint !== null) {
    const loaded = await program.load(checkpoint.weights, checkpoint.state);
    if (isLeft(loaded)) return report(loaded.left, flags.json);
  }
  const { info } = program;
  const opened = await (existing === null
    ? createRun(flags.out, { ...config, data: { name: corpus.right.name, file: corpus.right.file, sha256: corpus.right.sha256 } })
    : existing.resume(config, checkpoint?.step ?? 0));
  if (isLeft(opened)) return report(opened.left, flags.json);
  using folder = opened.right;
  note(
    `${count(info.parameters)} parameters, ${info.kernels} kernels, compiled in ${(info.compileMs / 1000).toFixed(1)} s; ${info.device}, ${info.threads} ${info.threads === 1 ? "thread" : "threads"}`,
  );
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
  const device = await pickDevice(flags.device);
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
      device: device.right.device,
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
  return right({ config, existing: null });
}

/** Message and hint where a flag has nothing to act on, or lacks what it needs. */
function idleFlag(flags: Flags): readonly [string, string] | null {
  const settings = ["tau", "norm", "combine", "floor", "limit"] as const satisfies readonly (keyof InterventionConfig)[];
  for (const setting of settings) {
    const by = takers(setting);
    if (flags[setting] !== undefined && !by.includes(flags.intervention))
      return [`--${setting} counts only with --intervention ${by.join(" or ")}`, `add --intervention ${by[0]}, or leave --${setting} out`];
  }
  if (flags.intervention === "qk-norm" && flags.attention === "mla")
    return [
      "--intervention qk-norm is not there for latent attention: its keys are not kept by head",
      "choose another --intervention or --attention",
    ];
  if (flags.adamwLr !== undefined && flags.optimizer !== "muon")
    return ["--adamw-lr counts only with --optimizer muon", "--lr is the rate of every other optimizer"];
  if (flags.cooldown !== undefined && flags.schedule !== "wsd")
    return ["--cooldown counts only with --schedule wsd", "add --schedule wsd, or leave --cooldown out"];
  if (flags.bounds && flags.probeEvery === 0) return ["--bounds is evaluated at probed steps, and --probe-every is 0", "leave one of them out"];
  if (flags.bounds && flags.optimizer === "sgd" && flags.clipStep === undefined)
    return [
      "--bounds needs a bound of the step, and SGD's step has none: it grows with the gradient",
      "state one with --clip-step D, or choose another --optimizer",
    ];
  return null;
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
  const asked = command.getOptionValueSource("device") === "cli" ? flags.device : config.program.device;
  const device = await pickDevice(asked);
  if (isLeft(device)) return device;
  if (device.right.notice !== null) note(device.right.notice);
  return right({
    existing: folder.right,
    config: {
      ...config,
      program: { ...config.program, device: device.right.device, threads: flags.threads ?? config.program.threads },
      trainer: {
        ...config.trainer,
        steps: flags.steps ?? config.trainer.steps,
        evalEvery: flags.evalEvery ?? config.trainer.evalEvery,
        probeEvery: flags.probeEvery ?? config.trainer.probeEvery,
      },
    },
  });
}

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
