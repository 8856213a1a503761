// What a run is made of: decoder, optimizer, and the numbers that the trainer wants, from the page's settings.
import { each, pace, type Rule } from "@mallard-lang/mallard";
import { adamw, interventions, lion, muon, sgd, warmup } from "@mallard-lang/mallard/models";
import {
  ADAMW_LR,
  defaultsOf,
  FULL,
  type Ingredients,
  type InterventionConfig,
  MODEL_SIZES,
  type ModelConfig,
  type OptimizerName,
  type ProgramConfig,
  type TrainerConfig,
} from "@mallard-lang/mallard/trainer";
import type { Settings } from "../settings.js";
import { variants } from "./variants.js";

export const modelOf = (s: Settings): ModelConfig => ({ ...MODEL_SIZES.micro, batch: s.batch, time: s.time, layer: s.layer });

const interventionOf = (s: Settings): InterventionConfig => ({ ...defaultsOf(s.intervention), tau: s.tau });
export const programOf = (s: Settings): ProgramConfig => ({
  ...interventionOf(s),
  optimizer: s.optimizer,
  partner: ADAMW_LR / s.lr,
  decay: 0.1,
  intervention: s.intervention,
  clip: null,
  clipStep: null,
  zLoss: 0,
  bounds: false,
  accumulate: 1,
  probeSequences: 1,
  precision: FULL,
  device: s.device,
  threads: 1,
  seed: s.seed,
});
export const trainerOf = (s: Settings, from: number): TrainerConfig => ({
  steps: from + s.steps,
  lr: s.lr,
  schedule: "constant",
  warmup: WARMUP,
  cooldown: 0,
  evalEvery: 20,
  evalBatches: 2,
  probeEvery: s.probeEvery,
});
const WARMUP = 5;
export const rateOf = (s: Settings): ((t: number) => number) => {
  const schedule = warmup(s.lr, WARMUP);
  return (t) => schedule.at(t);
};

/** Matrices by the chosen rule; embedding and gains by one without decay, AdamW beside Muon. */
const rules = {
  adamw: ({ decay }) => [adamw({ decay }), adamw()],
  lion: ({ decay }) => [lion({ decay }), lion()],
  sgd: ({ decay }) => [sgd({ decay }), sgd()],
  muon: ({ decay, partner }) => [muon({ decay }), pace(adamw(), partner)],
} as const satisfies Readonly<Record<OptimizerName, (c: ProgramConfig) => readonly [Rule, Rule]>>;

export const ingredients = (s: Settings): Ingredients => ({
  decoder: (c, p) => variants[s.variant].decoder(c, p.intervention, p),
  optimizer: (p) => {
    const [matrices, aside] = rules[p.optimizer](p);
    const plain = each(({ path, from, to }) => (from.length === 0 || to.length === 0 || path === "embed" ? aside : matrices));
    return interventions[p.intervention].optimizer(plain, p);
  },
});
