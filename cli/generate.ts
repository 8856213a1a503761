// `mallard generate`: text from a run's checkpoint, streamed as it is drawn.

import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { isLeft } from "fp-ts/lib/Either.js";
import { DEVICES, generate, openRun, type ProgramFactory, pickDevice, TextStream } from "../trainer.js";
import { adapterOption, type DeviceFlags, deviceOption, threadsOption } from "./device.js";
import { onInterrupt } from "./interrupt.js";
import { createLanguageModel } from "./language-model.js";
import { EXIT, jsonResult, note, report } from "./output.js";
import { atLeastZero, integer } from "./values.js";

interface Flags extends DeviceFlags {
  readonly run: string;
  readonly out: string;
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly seed: number;
  readonly json: boolean;
}

export function addGenerate(program: Command, exit: (code: number) => void, createProgram: ProgramFactory = createLanguageModel): void {
  program
    .command("generate")
    .summary("continue a text with a trained model")
    .description("Continues a text with a run's model. The same seed gives the same text.")
    .addOption(new Option("--run <run>", "the run: a folder, or its name below --out").makeOptionMandatory())
    .addOption(new Option("--out <dir>", "folder for runs").default("runs"))
    .addOption(new Option("--prompt <text>", "text to continue").default("The "))
    .addOption(new Option("--tokens <n>", "bytes to generate").argParser(integer(1)).default(400))
    .addOption(new Option("--temperature <t>", "0 takes the likeliest byte each time").argParser(atLeastZero).default(0.8))
    .addOption(new Option("--top-k <k>", "draw from the k likeliest bytes alone").argParser(integer(1, 256)))
    .addOption(new Option("--seed <n>", "of the draws").argParser(integer(0, 2 ** 31 - 1)).default(0))
    .addOption(deviceOption("auto", ...DEVICES))
    .addOption(adapterOption())
    .addOption(threadsOption())
    .addOption(new Option("--json", "prompt and text as JSON on stdout, at the end").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard generate --run runs/tiny-20260101-120000 --prompt "It was "
  $ mallard generate --run tiny-20260101-120000 --tokens 1000 --temperature 0.6 --top-k 40 --seed 7`,
    )
    .action(async (flags: Flags) => exit(await run(flags, createProgram)));
}

async function run(flags: Flags, createProgram: ProgramFactory): Promise<number> {
  const folder = await openRun(flags.run, flags.out);
  if (isLeft(folder)) return report(folder.left, flags.json);
  const { config } = folder.right;
  const checkpoint = await folder.right.readCheckpoint();
  if (isLeft(checkpoint)) return report(checkpoint.left, flags.json);
  const device = await pickDevice(flags.device, flags.adapter);
  if (isLeft(device)) return report(device.left, flags.json);
  if (device.right.notice !== null) note(device.right.notice);
  const options = { ...config.program, device: device.right.device, adapter: flags.adapter, threads: flags.threads ?? availableParallelism() };
  const made = await createProgram(config.model, options, "generation");
  if (isLeft(made)) return report(made.left, flags.json);
  using program = made.right;
  const loaded = await program.load(checkpoint.right.weights, null);
  if (isLeft(loaded)) return report(loaded.left, flags.json);

  using interrupt = onInterrupt(() => {});
  const write = (text: string): void => void (flags.json ? null : process.stdout.write(text));
  const sampling = { temperature: flags.temperature, topK: flags.topK ?? null, seed: flags.seed };
  const stream = new TextStream();
  let text = "";
  write(flags.prompt);
  for await (const byte of generate(program, config.model.time, Buffer.from(flags.prompt), flags.tokens, sampling)) {
    if (interrupt.signal.aborted) break;
    const piece = stream.push(byte);
    text += piece;
    write(piece);
  }
  const rest = stream.end();
  write(`${rest}\n`);
  if (flags.json) jsonResult({ run: folder.right.path, step: checkpoint.right.step, prompt: flags.prompt, text: text + rest });
  return interrupt.exitCode ?? EXIT.ok;
}
