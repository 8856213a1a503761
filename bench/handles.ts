// A handle is the graph's node seen by its axes, and a parameter's handle is a leaf: sessions take them as nodes.
import type { AnyTensor, TrainingPrograms, TrainingSpec } from "../index.js";

export type Node = TrainingSpec["loss"];
export type Leaf = TrainingPrograms["params"][number];
export const nodeOf = (t: AnyTensor): Node => t as unknown as Node;
export const leafOf = (t: AnyTensor): Leaf => t as unknown as Leaf;
