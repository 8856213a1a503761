#!/usr/bin/env node
// The command `mallard`. Exit codes: 0 it worked, 1 it failed, 2 the request was wrong (128 + n after signal n).
import { Command, CommanderError } from "commander";
import { authored, MallardError } from "../index.js";
import { addBound } from "./bound.js";
import { addCheck } from "./check.js";
import { addDoctor } from "./doctor.js";
import { addExplain } from "./explain.js";
import { addGenerate } from "./generate.js";
import { addKernels } from "./kernels.js";
import { EXIT, jsonResult, note, report } from "./output.js";
import { addProfile } from "./profile.js";
import { addTrain } from "./train.js";
import { addVariants } from "./variants.js";
import { version } from "./version.js";

// A reader that has seen enough (`mallard … | head`) ends the command quietly.
// One that has seen enough of the progress (`mallard train 2>&1 | head`) ends nothing: the run goes on.
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") process.exit(EXIT.failed);
});
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed));

const wantsJson = process.argv.includes("--json");
const program = new Command("mallard")
  .description("A functional compile-to-kernel language for attention: train models, read kernels.")
  .version(version(), "-v, --version", "print the version")
  .helpOption("-h, --help", "print help")
  .showHelpAfterError("(see --help)")
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text) });

const exit = (code: number): void => {
  process.exitCode = code;
};
addTrain(program, exit);
addGenerate(program, exit);
addCheck(program, exit);
addKernels(program, exit);
addExplain(program, exit);
addProfile(program, exit);
addBound(program, exit);
addVariants(program, exit);
addDoctor(program, exit);
for (const command of program.commands) command.copyInheritedSettings(program);

try {
  await program.parseAsync();
} catch (thrown) {
  exit(explain(thrown));
}

function explain(thrown: unknown): number {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return EXIT.ok;
    if (wantsJson) jsonResult({ error: { kind: "usage", message: thrown.message.replace(/^error: /, ""), hint: "see --help" } });
    return EXIT.usage;
  }
  if (thrown instanceof MallardError && thrown.hint !== undefined) {
    const place = thrown.place && authored(thrown.place);
    const at = place === undefined ? "" : `${place.file}:${place.line}:${place.column}: `;
    return report({ kind: "expression", message: `${at}${thrown.what}`, hint: thrown.hint }, wantsJson);
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  note(`error: ${message}`);
  // Errors that the library raises on purpose have a name of their own; anything else is our defect, and its trace helps.
  if (thrown instanceof Error && (["Error", "TypeError", "RangeError", "ReferenceError"].includes(thrown.name) || process.env.MALLARD_DEBUG))
    note(thrown.stack ?? "");
  if (wantsJson) jsonResult({ error: { kind: "failed", message, hint: "" } });
  return EXIT.failed;
}
