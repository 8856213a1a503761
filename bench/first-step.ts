// A fresh process that compiles the training step and runs it once; compile.ts starts it and takes the time. Prints one
// line of JSON when the step is done: parameters, loss, and the milliseconds of loading, compiling and running.
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
// performance.now() counts from the process's own start.
process.stdout.write(
  `${JSON.stringify({ parameters: own.parameters, loss: loss?.[0], start: loading, load: compiling - loading, compile: running - compiling, run: end - running })}\n`,
);
session[Symbol.dispose]();
