// `mallard doctor`: what works on this machine, and what to do about what does not.

import { type Command, Option } from "commander";
import { type Check, examine } from "../trainer.js";
import { EXIT, jsonResult, result } from "./output.js";
import { version } from "./version.js";

export function addDoctor(program: Command, exit: (code: number) => void): void {
  program
    .command("doctor")
    .summary("say which devices work here, and why not")
    .description("Says which devices work here and why not, by trying each. Exit code 1 where neither the native device nor a GPU nor gpu.js works.")
    .addOption(new Option("--json", "the findings as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard doctor
  $ CC=clang mallard doctor          with another C compiler
  $ mallard doctor --json`,
    )
    .action(async (flags: { readonly json: boolean }) => exit(await run(flags.json)));
}

async function run(json: boolean): Promise<number> {
  const { devices, checks } = await examine();
  const ok = devices.some((d) => d.ok && d.name !== "js");
  if (json) jsonResult({ version: version(), ok, devices, checks });
  else {
    const show = (c: Check): string => `  ${c.ok ? "✓" : "✗"} ${c.name.padEnd(10)} ${c.detail.split("\n").join("\n               ")}`;
    result(["Devices", ...devices.map(show), "", "What they need", ...checks.map(show)].join("\n"));
  }
  return ok ? EXIT.ok : EXIT.failed;
}
