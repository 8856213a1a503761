// `mallard kernels FILE#export`: the kernels that an expression compiles to, as text.
import { type Command, Option } from "commander";
import { isLeft } from "fp-ts/lib/Either.js";
import { authored, exportTargets } from "../index.js";
import { exportTo } from "./export.js";
import { EXIT, jsonResult, report, result } from "./output.js";
import { type Kernel, kernelsOf, TARGETS, type TargetName } from "./print-kernels.js";
import { subject } from "./subject.js";
import { choice, identifier } from "./values.js";

interface Flags {
  readonly target: TargetName;
  readonly inputs: string;
  readonly gradient: boolean;
  readonly out?: string;
  readonly name: string;
  readonly force: boolean;
  readonly json: boolean;
}

export function addKernels(program: Command, exit: (code: number) => void): void {
  program
    .command("kernels")
    .summary("print the kernels of an expression")
    .description("Prints the kernels of an expression in a file of yours: a formula, or a record { inputs, out } of tensors.")
    .argument("<file#export>", "a JavaScript or TypeScript module and the name it exports the expression by")
    .addOption(new Option("--target <name>", `${TARGETS.join(", ")}`).argParser(choice(TARGETS)).default("c"))
    .addOption(
      new Option("--inputs <sizes>", "axes and sizes of a formula's inputs, by input; those left out get usual sizes").default("", "usual sizes"),
    )
    .addOption(new Option("--gradient", "with the derivatives for all inputs").default(false, "off"))
    .addOption(new Option("--out <dir>", `write files that stand by themselves: ${exportTargets.join(", ")}`))
    .addOption(new Option("--name <name>", "what the files' functions are called").argParser(identifier).default("attention"))
    .addOption(new Option("--force", "replace files that are there already").default(false, "off"))
    .addOption(new Option("--json", "names and sources as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard kernels attention.ts#causal
  $ mallard kernels attention.ts#alibi --inputs 'q=head:8,query:128,dim:64 k=head:8,key:128,dim:64 v=head:8,key:128,value:64 m=head:8'
  $ mallard kernels attention.ts#causal --gradient --target gpujs > causal.js
  $ mallard kernels attention.ts#causal --gradient --target wgsl --out causal        WGSL, and a launcher for Node and pages
  $ mallard kernels attention.ts#causal --inputs 'q=query:..2048,dim:64 k=key:..2048,dim:64 v=key:..2048,value:64'
                                                     lengths up to 2048, which each run tells
  $ mallard kernels attention.ts#causal --gradient --out causal --name causal && make -C causal`,
    )
    .action(async (place: string, flags: Flags, command: Command) => {
      const idle = ["name", "force"].find((flag) => flags.out === undefined && command.getOptionValueSource(flag) === "cli");
      if (idle === undefined) return exit(await run(place, flags));
      exit(report({ kind: "usage", message: `--${idle} counts only with --out`, hint: `add --out, or leave --${idle} out` }, flags.json));
    });
}

async function run(place: string, flags: Flags): Promise<number> {
  const found = await subject(place, flags.inputs);
  if (isLeft(found)) return report(found.left, flags.json);
  if (flags.out !== undefined) {
    const written = await exportTo(found.right, place, flags.out, flags);
    if (isLeft(written)) return report(written.left, flags.json);
    if (flags.json) jsonResult({ expression: place, target: flags.target, files: written.right });
    else result(written.right.join("\n"));
    return EXIT.ok;
  }
  if (found.right.kind === "program") return show(found.right.kernels, place, flags);
  const printed = await kernelsOf(found.right, flags);
  return isLeft(printed) ? report(printed.left, flags.json) : show(printed.right, place, flags);
}

function show(kernels: readonly Kernel[], place: string, flags: Flags): number {
  if (flags.json) jsonResult({ expression: place, target: flags.target, kernels });
  else result(kernels.map((k, i) => `// ─── ${k.name}${from(k)} ───\n${notation(k, kernels[i - 1])}${k.source.trimEnd()}\n`).join("\n"));
  return EXIT.ok;
}

/** What it computes, once for those that compute it together. */
function notation({ notation: lines = [] }: Kernel, before: Kernel | undefined): string {
  return String(before?.notation) === String(lines) ? "" : lines.map((l) => `// ${l}\n`).join("");
}
/** ` ← alibi.ts:7`. */
function from({ places = [] }: Kernel): string {
  const lines = [...new Set(places.map(authored).map((p) => `${p.file.split(/[/\\]/).at(-1)}:${p.line}`))];
  return lines.length === 0 ? "" : ` ← ${lines.join(", ")}`;
}
