// Mallard: the trainer's public index: data, runs, training and generation of byte-level language models.
export * from "./runtime/train/index.js";
