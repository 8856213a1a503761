// `mallard train` and `mallard generate` over the fake program: the whole command without a compiler. The time of a step
// in milliseconds comes from FAKE_STEP_MS.
import { Command } from "commander";
import { right } from "fp-ts/lib/Either.js";
import { addGenerate } from "../../cli/generate.js";
import { addTrain } from "../../cli/train.js";
import type { ProgramFactory } from "../../runtime/train/index.js";
import { fakeProgram } from "../train/fake-program.js";

const create: ProgramFactory = async () =>
  right(fakeProgram({ stepMs: Number(process.env.FAKE_STEP_MS ?? 0), ...(process.env.FAKE_NAN ? { nanLossAt: Number(process.env.FAKE_NAN) } : {}) }));
const exit = (code: number): void => {
  process.exitCode = code;
};
const program = new Command("mallard");
addTrain(program, exit, create);
addGenerate(program, exit, create);
await program.parseAsync();
