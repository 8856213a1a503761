// Where a program's time goes, kernel by kernel. A profiled plan has one more output, which the compiled program fills
// as it runs (see Plan.profile): per thread and kernel the time inside and the time waiting at the barrier behind it.
import { type Source, sourcesOf } from "../compiler/explain/sources.js";
import { type Buffer, buffer, elements } from "../compiler/lower/expr.js";
import type { Step } from "../compiler/lower/nest.js";
import { workOf } from "../compiler/lower/work.js";
import type { Plan } from "../compiler/plan.js";
import type { Place } from "../dsl/places.js";
import { DeviceError } from "./errors.js";
import { authored, expressionAt } from "./excerpt.js";
import type { SessionProgram } from "./session.js";

/** Where the times stand among a profiled run's results: no output of a user's has a space in its name. */
const RESULT = "kernel times";

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

interface Placed {
  readonly nest: Extract<Step, { step: "nest" }>["nest"];
  readonly calls: number;
}
function nestsOf(plan: Plan): readonly Placed[] {
  const out: Placed[] = [];
  const todo: { readonly step: Step; readonly calls: number }[] = [];
  const push = (steps: readonly Step[], calls: number) => todo.push(...[...steps].reverse().map((step) => ({ step, calls })));
  push(plan.steps, 1);
  for (let at = todo.pop(); at; at = todo.pop()) {
    if (at.step.step === "nest") out.push({ nest: at.step.nest, calls: at.calls });
    else push(at.step.body, at.calls * at.step.count);
  }
  return out;
}

export const unmeasured = (device: string) =>
  new DeviceError({ kind: "BadOption", option: "profile", value: device, expected: "native: the only device that measures" });

/** The plan with the output that its times go to. Throws on a device that does not measure. */
export function profiled(plan: Plan, device: string, threads: number): Plan {
  if (device !== "native") throw unmeasured(device);
  const taken = new Set(plan.buffers.map((b) => b.name));
  let name = "profile";
  while (taken.has(name)) name += "_";
  const axes = [
    { name: "thread", extent: threads },
    { name: "nest", extent: nestsOf(plan).length },
    { name: "part", extent: 2 },
  ];
  const profile: Buffer = buffer(name, "f32", axes, "output");
  return { ...plan, buffers: [...plan.buffers, profile], outputs: { ...plan.outputs, [RESULT]: profile }, profile };
}

const sources = new WeakMap<Plan, readonly KernelSource[]>();
function sourcesIn(plan: Plan, forward: readonly string[]): readonly KernelSource[] {
  const known = sources.get(plan);
  if (known) return known;
  const found = sourcesOf(plan, forward);
  const made = nestsOf(plan).map(({ nest }): KernelSource => {
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
  const nests = nestsOf(plan);
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
