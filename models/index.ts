// Models, attention variants, optimizers and stability rules.
export * from "./attention/index.js";
export * from "./blocks.js";
export { type Architecture, type Intervention, type InterventionName, type InterventionOptions, interventions } from "./interventions.js";
export { nextToken } from "./next-token.js";
export { clipNorm, clipStep, clipValue, globalNorm } from "./optimizers/clip.js";
export { type AdamWOptions, adamw, type LionOptions, lion, type SgdOptions, sgd } from "./optimizers/elementwise.js";
export { type MuonOptions, type MuonWithAdamWOptions, muon, muonWithAdamW } from "./optimizers/muon.js";
export { scheduled } from "./optimizers/scheduled.js";
export { type Powers, type QkClipOptions, qkClip } from "./qk-clip.js";
export { fixed, type QuackOptions, quack } from "./quack.js";
export * as schedules from "./schedules.js";
export { type Schedule, schedule, type WsdOptions, warmup, wsd } from "./schedules.js";
export type { ScoreOptions } from "./scores.js";
export { sigmaReparam } from "./sigma-reparam.js";
export { PAPER_MHA, PAPER_MLA, parameterCount } from "./sizes.js";
export { spectralBound, spectralNorm } from "./spectral.js";
