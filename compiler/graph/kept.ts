// What a step computes from one weight alone by reading all of it, such as a norm of each head for a learning rate, is
// kept from step to step: the step reads it in place of the weight, and folds it anew over the weight that it writes,
// where that is at hand (lower/kept.ts). A rule that reads norms then takes no pass over memory of its own.
//
//   F(w) with w ← w′     →     read k, with w ← w′ and k ← F(w′)
//
// k is derived: a function of the weight as it lies in memory, folded in an order that depends on the fold's length
// alone, so that it has the same bits whoever computes it. It is in no checkpoint; a session makes it again when a weight
// was written by anything else (runtime/kept.ts).
import { leaf } from "../../dsl/build.js";
import type { FoldNode, Leaf, Node, Shape } from "../../dsl/node.js";
import { keyWords } from "../../dsl/random.js";
import { show } from "./show.js";
import { order, rebuild } from "./walk.js";

export interface Kept {
  /** State that holds the value. */
  readonly leaf: Leaf;
  /** A fold over point-wise values and views of the weight. */
  readonly value: FoldNode;
  readonly weight: Leaf;
}
export interface Keeping {
  readonly roots: readonly Node[];
  readonly kept: readonly Kept[];
}

/** How many elements of a weight must be folded into one for the result to be worth memory that lasts. */
const LEAST = 8;

/** `moves`: whether the program writes a parameter; one that writes none has nobody to keep for. */
export function keep(roots: readonly Node[], moves: boolean): Keeping {
  if (!moves) return { roots, kept: [] };
  const found = new Map<Node, Kept>();
  for (const n of order(roots)) {
    if (n.op !== "fold") continue;
    const weight = weightOf(n);
    if (weight) found.set(n, { leaf: leaf("state", nameOf(n, weight), n.axes, n.dtype), value: n, weight });
  }
  if (found.size === 0) return { roots, kept: [] };
  const next = rebuild(roots, (n, was) => found.get(was)?.leaf ?? n);
  const read = new Set(order(next.roots));
  return { roots: next.roots, kept: [...found.values()].filter((k) => read.has(k.leaf)) };
}

/** The one parameter below the fold, where each of its elements is read about once and the result is much smaller. */
function weightOf(f: FoldNode): Leaf | undefined {
  const [x, ...others] = f.args;
  if (!x || others.length > 0) return undefined;
  let weight: Leaf | undefined;
  for (const n of order([x])) {
    switch (n.op) {
      case "map":
      case "view":
      case "label":
      case "cast":
      case "stop":
      case "constant":
        continue;
      case "leaf":
        if (n.role !== "param" || (weight && weight !== n)) return undefined;
        weight = n;
        continue;
      default:
        return undefined;
    }
  }
  if (!weight) return undefined;
  const [all, read, left] = [weight.axes, x.axes, f.axes].map(elements) as [number, number, number];
  return read <= all && left * LEAST <= read ? weight : undefined;
}
const elements = (s: Shape): number => Object.values(s).reduce<number>((n, e) => (typeof e === "number" ? n * e : Number.NaN), 1);

/** The same for the same value in whatever program: nodes are told apart by where they stand, not by when they were made. */
function nameOf(f: FoldNode, weight: Leaf): string {
  const numbers = new Map<string, number>();
  const text = show([f]).replace(/%\d+/g, (id) => {
    if (!numbers.has(id)) numbers.set(id, numbers.size);
    return `%${numbers.get(id)}`;
  });
  return `kept.${weight.name}.${f.over.join("_")}.${(keyWords(text, [])[0] >>> 0).toString(16)}`;
}
