// The compiled language model behind the trainer and the generator: builds the decoder, its loss and its update from
// the configuration, compiles them for the device, and keeps weights and optimizer state in one session.
import { problem } from "./problem.js";
import type { ProgramFactory } from "./program.js";

/** SEAM: to be filled with the real programs once `compile` exists. Until then it refuses, so that nothing pretends. */
export const createLanguageModel: ProgramFactory = async () =>
  problem("device", "the compiler is not connected to the trainer in this build", "see runtime/train/language-model.ts");
