// Optimizers: rules for one weight, what is made of them, and transformations of whole optimizers.
export * from "./optimizers/clip.js";
export * from "./optimizers/elementwise.js";
export * from "./optimizers/muon.js";
export * from "./optimizers/scheduled.js";
export { cosine, warmup } from "./schedules.js";
