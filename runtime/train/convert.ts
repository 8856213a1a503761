// A checkpoint of one precision for a program of another. Rounding is the device's, where a value is written; what this file
// knows is the master copies: a program that keeps none takes its weights from them, the more exact values, and one that keeps
// them begins with the weights of a checkpoint that has none.
import { masterName } from "../precision.js";
import type { Arrays, NamedArray } from "./program.js";

export function converted(weights: Arrays, state: Arrays | null, masters: boolean): readonly [Arrays, Arrays | null] {
  if (state === null) return [weights, null];
  const own = (name: string): NamedArray => state.get(masterName(name)) ?? (weights.get(name) as NamedArray); // name is a key of weights
  const names = new Set([...weights.keys()].map(masterName));
  const rest = [...state].filter(([name]) => !names.has(name));
  const exact = [...weights.keys()].map((name) => [name, own(name)] as const);
  return [new Map(exact), new Map(masters ? [...exact.map(([name, a]) => [masterName(name), a] as const), ...rest] : rest)];
}
