// The language models that the command trains: the decoder of `models` with the optimizer and intervention of a run.
import type { Optimizer } from "../index.js";
import { each } from "../index.js";
import { adamw, clipNorm, fixed, quack, sgd, transformer } from "../models/index.js";
import { type Ingredients, languageModels, type ModelConfig, type ProgramConfig } from "../trainer.js";

function decoder(c: ModelConfig): ReturnType<Ingredients["decoder"]> {
  const dim = c.model / c.head;
  return transformer({ model: c.model, layer: c.layer, head: c.head, dim, ff: c.ff, vocab: c.vocab });
}

function optimizer(c: ProgramConfig): Optimizer {
  const rule = { adamw: () => adamw({ eps: 1e-8 }), sgd: () => sgd() }[c.optimizer]();
  // A transformation changes the type of the state, which the trainer only passes on.
  let o: Optimizer = each({ "*": rule });
  if (c.intervention === "fixed") o = fixed(o, { tau: c.tau }) as Optimizer;
  if (c.intervention === "quack") o = quack(o, { tau: c.tau }) as unknown as Optimizer;
  if (c.clip !== null) o = clipNorm(o, { limit: c.clip }) as Optimizer;
  return o;
}

export const createLanguageModel = languageModels({ decoder, optimizer });
