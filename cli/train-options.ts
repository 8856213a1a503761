// What `mallard train` can be given: options with their help, made from the trainer's and the models' tables, and requests
// whose options do not go together.
import { type Command, Option } from "commander";
import {
  ADAMW_LR,
  ATTENTIONS,
  type AttentionName,
  COMBINES,
  DEVICES,
  defaultsOf,
  INTERVENTIONS,
  type Intervention,
  type InterventionConfig,
  MODEL_SIZES,
  type ModelSize,
  NORMS,
  namesOf,
  OPTIMIZERS,
  type OptimizerName,
  type Precision,
  SCHEDULES,
  type ScheduleName,
  TUNE_SECONDS,
  UPDATES,
} from "../trainer.js";
import { adapterOption, type DeviceFlags, deviceOption, threadsOption } from "./device.js";
import { interventionOf } from "./language-model.js";
import { atLeastZero, choice, folderName, integer, positive, precision } from "./values.js";

export interface Flags extends Partial<InterventionConfig>, DeviceFlags {
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
  readonly precision?: Precision;
  /** Seconds; true: as many as usual. */
  readonly tune?: number | true;
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
export const DEFAULT_STEPS = 200;

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
/** A list for the help: names, and what each is. */
const listed = <K extends string>(title: string, names: readonly K[], about: (name: K) => string): string => {
  const rows = names.map((name) =>
    wrapped(about(name), 63)
      .map((line, i) => `  ${(i === 0 ? name : "").padEnd(15)}${line}\n`)
      .join(""),
  );
  return `${title}:\n${rows.join("")}`;
};
function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
const lrs = namesOf(OPTIMIZERS).map((name) => `${OPTIMIZERS[name].lr} for ${name}`);

export const withOptions = (command: Command): Command =>
  command
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
    .addOption(
      new Option(
        "--precision <policy>",
        "what is stored as what: f32, bf16 or f16, or params=…,state=…,compute=… apart, and update=… for weights of half width (below); default f32",
      ).argParser(precision),
    )
    .addOption(deviceOption("auto", ...DEVICES))
    .addOption(adapterOption())
    .addOption(threadsOption())
    .addOption(
      new Option(
        "--tune [seconds]",
        `before the first step, measure how its kernels run fastest here, for at most so long (default ${TUNE_SECONDS}); what was measured before is used`,
      ).argParser(positive),
    )
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
${[
  listed("Attentions", namesOf(ATTENTIONS), (name) => ATTENTIONS[name].about),
  listed("Optimizers", namesOf(OPTIMIZERS), (name) => OPTIMIZERS[name].about),
  listed("Schedules, after a linear rise", namesOf(SCHEDULES), (name) => SCHEDULES[name].about),
  listed("Updates of weights of half width", namesOf(UPDATES), (name) => UPDATES[name]),
  listed("Interventions", INTERVENTIONS, (name) => interventionOf(name).about),
].join("\n")}
Examples:
  $ mallard train                                     the tiny model, 200 steps, about a minute
  $ mallard train --steps 1000 --intervention none    every weight at the same rate
  $ mallard train --attention mla --optimizer muon --schedule cosine
  $ mallard train --model micro --optimizer muon --bounds
  $ mallard train --precision bf16                    weights, state and activations of half width
  $ mallard train --data notes.txt --model micro      on your own text
  $ mallard train --resume runs/tiny-20260101-120000 --steps 2000`,
    );

/** Message and hint where an optimizer's state cannot be stored so. */
export const storageFault = (precision: Precision | undefined, optimizer: OptimizerName): readonly [string, string] | null =>
  precision?.state === "f16" && OPTIMIZERS[optimizer].squares
    ? [
        `--precision state=f16 is not there with --optimizer ${optimizer}: the squares of its gradients fall below f16's least number, 6e-8`,
        "state=bf16 has the exponents of f32",
      ]
    : null;

/** Message and hint where a flag has nothing to act on, or lacks what it needs. */
export function idleFlag(flags: Flags): readonly [string, string] | null {
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
  const unstorable = storageFault(flags.precision, flags.optimizer);
  if (unstorable) return unstorable;
  if (flags.bounds && flags.probeEvery === 0) return ["--bounds is evaluated at probed steps, and --probe-every is 0", "leave one of them out"];
  if (flags.bounds && flags.optimizer === "sgd" && flags.clipStep === undefined)
    return [
      "--bounds needs a bound of the step, and SGD's step has none: it grows with the gradient",
      "state one with --clip-step D, or choose another --optimizer",
    ];
  return null;
}
