// What is different in each turn of the plan's loops, as variables that their nests read: the counter; and of blocks of rows
// (blocks.ts) where each span of rows starts and how many rows it has.
import { extentVar, maxOf } from "./expr.js";
import type { Step } from "./nest.js";
import type { Range } from "./ranges.js";

type LoopStep = Extract<Step, { step: "loop" }>;

/** The variables that a loop gives its body, with their intervals. */
export function turnRanges(s: LoopStep): readonly (readonly [string, Range])[] {
  const counter = [s.v, [0, Math.max(0, s.count - 1)]] as const;
  if (!s.blocks) return [counter];
  const { extent, spans } = s.blocks;
  return [
    counter,
    ...spans.flatMap(({ start, skip, rows, lo }): (readonly [string, Range])[] => {
      const own = extentVar(rows);
      // Where all turns are alike the last begins a block before the end.
      const last = Math.max(0, maxOf(extent) - (own.kind === "num" ? own.value : 1));
      return [
        [start, [0, last]],
        ...(skip === null ? [] : [[skip, [0, -lo]] as const]),
        ...(own.kind === "var" ? [[own.name, [0, maxOf(rows)]] as const] : []),
      ];
    }),
  ];
}
/** Every loop among these steps, outer before inner. */
export function loopsOf(steps: readonly Step[]): readonly LoopStep[] {
  const out: LoopStep[] = [];
  const todo = [...steps].reverse();
  for (let s = todo.pop(); s; s = todo.pop()) {
    if (s.step === "nest") continue;
    out.push(s);
    todo.push(...[...s.body].reverse());
  }
  return out;
}
