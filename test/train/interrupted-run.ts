// A run in a process of its own, for interrupt.test.ts: the fake program at 20 ms a step, under the command's own
// handling of signals. Says when it has begun, and ends as `mallard train` does.
import { onInterrupt } from "../../cli/interrupt.js";
import { createRun } from "../../runtime/train/run-folder.js";
import { train } from "../../runtime/train/trainer.js";
import { fakeProgram } from "./fake-program.js";
import { corpus, model, rate, runConfig, trainer, value } from "./fixtures.js";

const [folder, stepMs] = process.argv.slice(2);
using interrupt = onInterrupt(() => process.stdout.write("stopping\n"));
using record = value(await createRun(folder!, runConfig));
process.stdout.write(`${record.path}\n`);
const program = fakeProgram({ stepMs: Number(stepMs), onStep: (t) => void (t === 3 && process.stdout.write("running\n")) });
const outcome = value(
  await train({
    program,
    corpus,
    model,
    config: { ...trainer, steps: 100_000 },
    rate,
    accumulate: 1,
    probeSequences: 1,
    seed: 1,
    record,
    from: 0,
    stop: interrupt.signal,
    report: () => {},
  }),
);
process.stdout.write(`${JSON.stringify(outcome)}\n`);
process.exitCode = interrupt.exitCode ?? 0;
