// Where a program's time went, kernel by kernel, read off the results of a run that was measured (profiled.ts).
import { type Source, sourcesOf } from "../compiler/explain/sources.js";
import { elements } from "../compiler/lower/expr.js";
import { nestsOf } from "../compiler/lower/turns.js";
import { workOf } from "../compiler/lower/work.js";
import type { Plan } from "../compiler/plan.js";
import type { Place } from "../dsl/places.js";
import { DeviceError } from "./errors.js";
import { authored, expressionAt } from "./excerpt.js";
import { RESULT } from "./profiled.js";
import type { SessionProgram } from "./session.js";

export interface KernelTime {
  readonly name: string;
  /** map, row, contract, scatter or top. */
  readonly form: string;
  /** The graph nodes it computes. */
  readonly nodes: readonly number[];
  /** In one run. */
  readonly calls: number;
  /** Milliseconds of all calls of one run: the mean of the threads, the slowest thread, and the mean wait behind it. */
  readonly ms: number;
  readonly slowestMs: number;
  readonly waitMs: number;
  /** Nominal work of all calls (lower/work.ts). */
  readonly operations: number;
  readonly bytes: number;
  readonly source: KernelSource;
}
/** What the author wrote that the kernel computes. */
export interface KernelSource {
  /** Where, and how it reads there; null for what has no place of the author's (an update of weights, a carried value). */
  readonly place: Place | null;
  readonly text: string | null;
  /** How many other places it computes values of. */
  readonly others: number;
  /** By `label`. */
  readonly label: string | null;
  readonly half: Source["half"];
  /** Paths of the state that it writes, and of that which it reads alone. */
  readonly state: readonly string[];
  readonly reads: readonly string[];
}

const sources = new WeakMap<Plan, readonly KernelSource[]>();
function sourcesIn(plan: Plan, forward: readonly string[]): readonly KernelSource[] {
  const known = sources.get(plan);
  if (known) return known;
  const found = sourcesOf(plan, forward);
  const made = nestsOf(plan.steps).map(({ nest }): KernelSource => {
    const { places, ...rest } = found.get(nest) as Source; // both walk all nests
    const first = places[0];
    return { ...rest, place: first ? authored(first) : null, text: first ? expressionAt(first) : null, others: Math.max(0, places.length - 1) };
  });
  sources.set(plan, made);
  return made;
}

/** The kernels of one run of a program that was compiled with `profile`, in the order of the program. `forward`: the outputs of
 *  the forward half; all, where absent. */
export function kernelTimes(
  program: SessionProgram,
  results: Awaited<ReturnType<SessionProgram["run"]>>,
  forward: readonly string[] = Object.keys(program.spec.outputs),
): readonly KernelTime[] {
  const times = results[RESULT];
  const { plan } = program;
  if (!plan?.profile || !times)
    throw new DeviceError({ kind: "BadOption", option: "profile", value: "false", expected: "true when the program is compiled" });
  const nests = nestsOf(plan.steps);
  const from = sourcesIn(plan, forward);
  const threads = nests.length === 0 ? 1 : elements(plan.profile) / (2 * nests.length);
  return nests.map(({ nest, calls }, i) => {
    const of = (part: 0 | 1) => Array.from({ length: threads }, (_, t) => (times[(t * nests.length + i) * 2 + part] as number) / 1e3);
    const mean = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;
    const work = workOf(nest);
    return {
      name: nest.name,
      form: nest.form,
      nodes: nest.nodes,
      calls,
      ms: mean(of(0)),
      slowestMs: Math.max(...of(0)),
      waitMs: mean(of(1)),
      operations: calls * work.operations,
      bytes: calls * work.bytes,
      source: from[i] as KernelSource,
    };
  });
}
