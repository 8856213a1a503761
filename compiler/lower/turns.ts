// What is different in each turn of the plan's loops, as variables that their nests read: the counter; and of blocks of rows
// (blocks.ts) where each span of rows starts and how many rows it has.
import { extentVar, maxOf } from "./expr.js";
import type { Nest, Step } from "./nest.js";
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
/** Every nest among these steps, in their order, with how often one run calls it. */
export function nestsOf(steps: readonly Step[]): readonly { readonly nest: Nest; readonly calls: number }[] {
  const out: { readonly nest: Nest; readonly calls: number }[] = [];
  const todo: { readonly step: Step; readonly calls: number }[] = [];
  const push = (list: readonly Step[], calls: number) => todo.push(...[...list].reverse().map((step) => ({ step, calls })));
  push(steps, 1);
  for (let at = todo.pop(); at; at = todo.pop()) {
    if (at.step.step === "nest") out.push({ nest: at.step.nest, calls: at.calls });
    else push(at.step.body, at.calls * at.step.count);
  }
  return out;
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
