// A profile: a program that measures itself (Plan.profile) is run several times, and each kernel's figures are its least over
// them. On a machine that does other work, the run that was disturbed least says most.
import { flatten } from "../dsl/tree.js";
import { drawn, type ExtentsByName, type Range, randomNumbers } from "./check/values.js";
import type { Halves } from "./halves.js";
import { type KernelTime, kernelTimes } from "./profile.js";
import { inputLeaves } from "./program.js";
import type { Roofs } from "./roofs.js";
import type { Session, SessionProgram } from "./session.js";

export interface RunProfile {
  readonly threads: number;
  readonly runs: number;
  /** A whole run with its call, milliseconds: the fastest, and the median. */
  readonly bestMs: number;
  readonly medianMs: number;
  /** Sums over the kernels: inside them, and at barriers behind them (means of the threads). */
  readonly kernelMs: number;
  readonly waitMs: number;
  /** The most expensive first. */
  readonly kernels: readonly KernelTime[];
}
/** What a kernel reached of what the machine can do. */
export interface Attained {
  readonly gflops: number;
  readonly gbs: number;
  /** Nominal operations a byte. */
  readonly intensity: number;
  /** Shares of the roofs that were measured: of the peak, and of memory's bandwidth (above 1 where caches serve it). */
  readonly ofPeak: number;
  readonly ofMemory: number;
  /** The greater of the two: how close the kernel is to the roof above it. */
  readonly share: number;
  readonly bound: "compute" | "memory";
}

/** By the slowest thread's time: its roof is that of all threads. */
export function attained(k: Pick<KernelTime, "operations" | "bytes" | "slowestMs">, roofs: Roofs): Attained {
  const [gflops, gbs] = [k.operations / k.slowestMs / 1e6, k.bytes / k.slowestMs / 1e6];
  const [ofPeak, ofMemory] = [gflops / roofs.gflops, gbs / roofs.memory];
  const bound = k.operations / roofs.gflops > k.bytes / roofs.memory ? "compute" : "memory";
  return { gflops, gbs, intensity: k.operations / k.bytes, ofPeak, ofMemory, share: bound === "compute" ? ofPeak : ofMemory, bound };
}

/** What a person calls a kernel: `blocks.ts:68 dot(xi, wq, "model")`, what state it updates, or its own name. Expressions longer
 *  than `most` characters are cut. */
export function titleOf({ name, source }: Pick<KernelTime, "name" | "source">, most = 60): string {
  const { place, text, label, others, state } = source;
  const at = place === null ? "" : `${place.file.split(/[/\\]/).at(-1)}:${place.line} `;
  const more = others > 0 ? ` and ${others} more` : "";
  if (label !== null) return `${at}"${label}"${more}`;
  if (place !== null) return `${at}${text === null || text.length <= most ? (text ?? "") : `${text.slice(0, most - 1)}…`}${more}`;
  // An optimizer keeps state of its own beside each weight.
  const weights = state.filter((path) => !path.startsWith("optimizer."));
  const [first] = weights.length > 0 ? weights : state;
  return first === undefined ? name : `update of ${first}${weights.length > 1 ? ` and ${weights.length - 1} more` : ""}`;
}

export interface ProfileOptions {
  /** Of measured runs: at least `least`, and more until this many milliseconds are over. */
  readonly least?: number;
  readonly ms?: number;
  readonly progress?: (run: number) => void;
  /** The outputs of the forward half; all, where absent. */
  readonly forward?: readonly string[];
}
/** Runs of a program that was compiled with `profile`; two before them are not counted. */
export async function profileRuns(
  program: SessionProgram,
  run: () => ReturnType<SessionProgram["run"]>,
  o: ProfileOptions = {},
): Promise<RunProfile> {
  const { least = 5, ms = 2000, progress, forward } = o;
  await run();
  await run();
  const walls: number[] = [];
  const times: (readonly KernelTime[])[] = [];
  const begin = performance.now();
  while (walls.length < least || performance.now() - begin < ms) {
    const start = performance.now();
    const results = await run();
    walls.push(performance.now() - start);
    times.push(kernelTimes(program, results, forward));
    progress?.(walls.length);
  }
  const kernels = (times[0] ?? []).map((k, i): KernelTime => {
    const of = (name: "ms" | "slowestMs" | "waitMs") => Math.min(...times.map((t) => (t[i] as KernelTime)[name]));
    return { ...k, ms: of("ms"), slowestMs: of("slowestMs"), waitMs: of("waitMs") };
  });
  const sorted = [...walls].sort((a, b) => a - b);
  const total = (name: "ms" | "waitMs") => kernels.reduce((n, k) => n + k[name], 0);
  return {
    threads: threadsOf(program),
    runs: walls.length,
    bestMs: sorted[0] as number,
    medianMs: ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2,
    kernelMs: total("ms"),
    waitMs: total("waitMs"),
    kernels: kernels.sort((a, b) => b.ms + b.waitMs - a.ms - a.waitMs),
  };
}
const threadsOf = (program: SessionProgram): number => {
  const [threads] = program.plan?.profile?.axes ?? [];
  return Number(threads?.extent ?? 1);
};

export interface ExpressionProfileOptions extends ProfileOptions {
  /** Of the inputs' values and the parameters. */
  readonly seed?: number;
  /** Where the values of inputs lie, by name: else as `Checker` draws them. */
  readonly ranges?: Readonly<Record<string, Range>>;
  readonly gradient?: boolean;
}
export interface ProfiledExpression {
  readonly program: SessionProgram;
  measure(): Promise<RunProfile>;
}
/** An expression on random inputs, with run-time extents at their greatest; integers are 0 where no range is given. Throws what
 *  is wrong with it (CompileError) or the device (DeviceError). */
export async function profileExpression(session: Session, halves: Halves, o: ExpressionProfileOptions = {}): Promise<ProfiledExpression> {
  const { inputs, out } = o.gradient ? halves.both : halves.forward;
  const leaves = inputLeaves(inputs);
  const outputs = Object.fromEntries(flatten(out).map(({ path, node }) => [path || "out", node]));
  const forward = o.gradient ? halves.outputs : Object.keys(outputs);
  const program = await session.program({ name: "profiled", inputs: leaves, outputs, profile: true });
  await session.initialise(
    program.compiled.state.filter((l) => l.role === "param"),
    o.seed ?? 0,
  );
  const random = randomNumbers(o.seed ?? 0);
  const extents: ExtentsByName = Object.fromEntries(program.extents.map((e) => [e.name, e.max]));
  const data = Object.fromEntries(Object.entries(leaves).map(([name, leaf]) => [name, drawn(leaf, random, extents, 0, o.ranges?.[name])]));
  return { program, measure: () => profileRuns(program, () => program.run(data, extents), { ...o, forward }) };
}
