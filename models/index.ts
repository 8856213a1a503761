// Models, attention variants, optimizers and stability rules.
export * from "./attention/index.js";
export * from "./blocks.js";
export { adamw, clipNorm, cosine as cosineSchedule, fixed, globalNorm, muon, sgd, warmup } from "./optim.js";
export { qkClip, quack } from "./quack.js";
