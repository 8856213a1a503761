// Models, attention variants, optimizers and stability rules.
export * from "./attention/index.js";
export * from "./blocks.js";
export { type Architecture, type Intervention, type InterventionName, type InterventionOptions, interventions } from "./interventions.js";
export {
  type AdamWOptions,
  adamw,
  clipNorm,
  clipStep,
  clipValue,
  globalNorm,
  type LionOptions,
  lion,
  type MuonOptions,
  type MuonWithAdamWOptions,
  muon,
  muonWithAdamW,
  type SgdOptions,
  scheduled,
  sgd,
} from "./optim.js";
export { type Powers, type QkClipOptions, qkClip } from "./qk-clip.js";
export { fixed, type QuackOptions, quack } from "./quack.js";
export * as schedules from "./schedules.js";
export { cosine as cosineSchedule, type Schedule, schedule, type WsdOptions, warmup, wsd } from "./schedules.js";
export type { ScoreOptions } from "./scores.js";
export { sigmaReparam } from "./sigma-reparam.js";
export { PAPER_MHA, PAPER_MLA, parameterCount } from "./sizes.js";
export { spectralBound, spectralNorm } from "./spectral.js";
