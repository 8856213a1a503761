// `mallard explain FILE#export`: every stage of the compiler on an expression, as text.
import { type Command, Option } from "commander";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { type Stage, stagesOf } from "../index.js";
import { type Problem, problem } from "../trainer.js";
import { EXIT, jsonResult, report, result } from "./output.js";
import { built, withGradient } from "./print-kernels.js";
import { noProgram, subject } from "./subject.js";
import { didYouMean } from "./suggest.js";

interface Flags {
  readonly inputs: string;
  readonly gradient: boolean;
  readonly stage?: string;
  readonly json: boolean;
}

export function addExplain(program: Command, exit: (code: number) => void): void {
  program
    .command("explain")
    .summary("show what each stage of the compiler makes of an expression")
    .description(
      "Shows every stage of the compiler on an expression in a file of yours: the graph as written and after each pass, what has memory and why, the nests, their loops, and the kernels between barriers. An arrow gives the line of yours that a value comes from. Nothing is run.",
    )
    .argument("<file#export>", "a JavaScript or TypeScript module and the name it exports the expression by")
    .addOption(new Option("--stage <name>", "one stage alone: written, a pass, memory, nests, loops, kernels or warnings"))
    .addOption(
      new Option("--inputs <sizes>", "axes and sizes of a formula's inputs, by input; those left out get usual sizes").default("", "usual sizes"),
    )
    .addOption(new Option("--gradient", "with the derivatives for all inputs").default(false, "off"))
    .addOption(new Option("--json", "the stages as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard explain attention.ts#causal
  $ mallard explain attention.ts#causal --gradient --stage kernels
  $ mallard explain attention.ts#causal --inputs 'q=head:8,query:1024,dim:64 k=head:8,key:1024,dim:64 v=head:8,key:1024,value:64'`,
    )
    .action(async (place: string, flags: Flags) => exit(await run(place, flags)));
}

async function run(place: string, flags: Flags): Promise<number> {
  const stages = await stagesFor(place, flags);
  if (isLeft(stages)) return report(stages.left, flags.json);
  if (flags.json) jsonResult({ expression: place, stages: stages.right });
  else result(stages.right.map((s) => (flags.stage === undefined ? `─── ${s.name}: ${s.title} ───\n${s.text}\n` : s.text)).join("\n"));
  return EXIT.ok;
}

async function stagesFor(place: string, flags: Flags): Promise<Either<Problem, readonly Stage[]>> {
  const found = await subject(place, flags.inputs);
  if (isLeft(found)) return found;
  if (found.right.kind === "program") return noProgram(place, "its stages are gone");
  const whole = built(found.right);
  if (isLeft(whole)) return whole;
  const stages = stagesOf(flags.gradient ? withGradient(whole.right) : whole.right);
  if (isLeft(stages)) throw stages.left; // the author's expression is at fault: shown with its places, as everywhere
  if (flags.stage === undefined) return stages;
  const names = stages.right.map((s) => s.name);
  const one = stages.right.filter((s) => s.name === flags.stage);
  if (one.length === 0)
    return problem("usage", `there is no stage "${flags.stage}"${didYouMean(flags.stage, names)}`, `the stages are ${names.join(", ")}`);
  return right(one);
}
