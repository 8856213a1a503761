// Which kernels of a plan have something to choose, each once however often it is called, with what it takes to print it
// with a choice and to call it alone (trial.ts).
import type { Choice, Choosable } from "../../loop/choices.js";
import { scheduled, settingsOf } from "../../loop/recipes/index.js";
import type { Interval } from "../../loop/terms.js";
import { extentVar } from "../../lower/expr.js";
import type { Nest } from "../../lower/nest.js";
import { loopsOf, nestsOf } from "../../lower/turns.js";
import { type Work, workOf } from "../../lower/work.js";
import type { Plan } from "../../plan.js";
import { outerOf } from "../around.js";
import { cLimits } from "./limits.js";
import type { PrintedKernel } from "./print.js";
import { anonymous } from "./program.js";

export interface Tunable {
  /** Of its first nest. */
  readonly name: string;
  readonly form: Nest["form"];
  /** The kernel as its recipe alone has it: the key of `Choices`. */
  readonly text: string;
  readonly settings: Choosable["settings"];
  /** Of all calls in one run. */
  readonly calls: number;
  readonly work: Work;
  readonly print: (choice: Choice) => PrintedKernel;
  /** What is passed for a run-time extent (its greatest), for what a turn of a loop has (its first). */
  readonly value: (int: string) => number;
}

/** A plan's kernels that have something to choose, each once. */
export function tunables(plan: Plan): readonly Tunable[] {
  const outer = outerOf(plan);
  const value = valuesOf(plan, outer);
  const out = new Map<string, Tunable>();
  for (const { nest, calls } of nestsOf(plan.steps)) {
    const settings = settingsOf(nest, cLimits);
    if (Object.keys(settings).length === 0) continue;
    const print = (choice?: Choice) => anonymous(scheduled(nest, cLimits, outer, choice), outer);
    const text = print().source;
    const { operations, bytes } = workOf(nest);
    const before = out.get(text);
    out.set(text, {
      name: before?.name ?? nest.name,
      form: nest.form,
      text,
      settings,
      calls: (before?.calls ?? 0) + calls,
      work: { operations: (before?.work.operations ?? 0) + calls * operations, bytes: (before?.work.bytes ?? 0) + calls * bytes },
      print,
      value,
    });
  }
  return [...out.values()];
}

function valuesOf(plan: Plan, outer: ReadonlyMap<string, Interval>): Tunable["value"] {
  const rows = loopsOf(plan.steps).flatMap((s) => (s.blocks ? s.blocks.spans.map((span) => extentVar(span.rows)) : []));
  const whole = new Set([...plan.extents.map(extentVar), ...rows].flatMap((v) => (v.kind === "var" ? [v.name] : [])));
  return (name) => {
    const range = outer.get(name);
    return range ? (whole.has(name) ? range.hi : range.lo) : 0;
  };
}
