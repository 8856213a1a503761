// A fresh process that compiles the training step and runs it once; compile.ts starts it and takes the time. Prints one
// line of JSON when the step is done: parameters, loss, the milliseconds of loading, compiling and running, and the processor's
// seconds, its own and those of the C compilers that it started (null where the system does not tell).
import { readFileSync } from "node:fs";
import type { ModelConfig } from "../trainer.js";

const loading = performance.now();
const { openStep } = await import("./model.js");
const { openNative } = await import("./parts.js");
// Written by compile.ts, so that the trainer need not be loaded here to know its sizes.
const config: ModelConfig = JSON.parse(process.argv[2] ?? "");
const compiling = performance.now();
const session = await openNative(Number(process.argv[3]));
const own = await openStep(session, config);
const running = performance.now();
const { loss } = await own.step();
const end = performance.now();
/** Of processes that have ended, all below them included: fields 16 and 17 of Linux's /proc/PID/stat, in ticks of 1/100 s. */
function compilers(): number | null {
  try {
    const fields = readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[13]) + Number(fields[14])) / 100;
  } catch {
    return null;
  }
}
const { userCPUTime, systemCPUTime } = process.resourceUsage();
const cpu = { own: (userCPUTime + systemCPUTime) / 1e6, compilers: compilers() };
// performance.now() counts from the process's own start.
process.stdout.write(
  `${JSON.stringify({ parameters: own.parameters, loss: loss?.[0], start: loading, load: compiling - loading, compile: running - compiling, run: end - running, cpu })}\n`,
);
session[Symbol.dispose]();
