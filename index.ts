// Mallard: the public index.
export * from "./dsl/index.js";
