// `mallard profile`: where the time of a training step, or of an expression in a file, goes: kernel by kernel, each named by
// the author's expression that it computes, with its share of what this machine can do. With --scaling no step is run: the
// work of each kernel is divided among 1 … 64 threads on paper.
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import {
  type Attained,
  attained,
  CompileError,
  DeviceError,
  halvesOf,
  type KernelTime,
  measureRoofs,
  openSession,
  profileExpression,
  profileRuns,
  type Roofs,
  type RunProfile,
  type Scaling,
  type Session,
  type SessionProgram,
  scalingOf,
  titleOf,
} from "../index.js";
import { nextToken } from "../models/index.js";
import {
  ATTENTIONS,
  type AttentionName,
  defaultsOf,
  FULL,
  INTERVENTIONS,
  type Intervention,
  type ModelConfig,
  measuredStep,
  namesOf,
  OPTIMIZERS,
  type OptimizerName,
  type Precision,
  type Problem,
  type ProgramConfig,
  problem,
  STEP_SIZES,
  type StepSize,
  stored,
} from "../trainer.js";
import { adapterOption, type DeviceFlags, deviceOption, threadsOption } from "./device.js";
import { ingredients } from "./language-model.js";
import { count, EXIT, jsonResult, note, report, result } from "./output.js";
import { built } from "./print-kernels.js";
import { noProgram, subject } from "./subject.js";
import { didYouMean } from "./suggest.js";
import { type Column, table } from "./table.js";
import { storageFault } from "./train-options.js";
import { choice, integer, precision } from "./values.js";

interface Flags extends DeviceFlags<"native" | "webgpu"> {
  readonly inputs: string;
  readonly gradient: boolean;
  readonly attention: AttentionName;
  readonly optimizer: OptimizerName;
  readonly intervention: Intervention;
  readonly precision?: Precision;
  readonly runs?: number;
  readonly top: number;
  readonly scaling: boolean;
  readonly json: boolean;
}
const SIZES = namesOf(STEP_SIZES);
const SCALES = [1, 2, 4, 8, 16, 32, 64] as const;

export function addProfile(program: Command, exit: (code: number) => void): void {
  program
    .command("profile")
    .summary("show where the time of a training step or an expression goes")
    .description(
      "Runs a training step of the decoder, or an expression in a file of yours on random inputs, and shows time, FLOPs, bytes and share of this machine's limits for each kernel, named by the line of yours that it computes. Runs on the native device, or on a GPU that measures (--device webgpu).",
    )
    .argument("[what]", `a model size (${SIZES.join(", ")}), or FILE#export: a module and the name it exports a formula or record by`, "tiny")
    .addOption(
      new Option("--inputs <sizes>", "axes and sizes of a formula's inputs, by input; those left out get usual sizes").default("", "usual sizes"),
    )
    .addOption(new Option("--gradient", "an expression with the derivatives for all inputs").default(false, "off"))
    .addOption(
      new Option("--attention <name>", `of a model: ${namesOf(ATTENTIONS).join(", ")}`).argParser(choice(namesOf(ATTENTIONS))).default("mha"),
    )
    .addOption(
      new Option("--optimizer <name>", `of a model: ${namesOf(OPTIMIZERS).join(", ")}`).argParser(choice(namesOf(OPTIMIZERS))).default("adamw"),
    )
    .addOption(new Option("--intervention <name>", `of a model: ${INTERVENTIONS.join(", ")}`).argParser(choice(INTERVENTIONS)).default("none"))
    .addOption(new Option("--precision <policy>", "of a model: what weights, state and activations are stored as, as for train").argParser(precision))
    .addOption(deviceOption("native", "webgpu"))
    .addOption(adapterOption())
    .addOption(threadsOption())
    .addOption(
      new Option("--runs <n>", "measured runs, of which each kernel's least counts; default: for two seconds, 10 at least").argParser(
        integer(1, 10_000),
      ),
    )
    .addOption(new Option("--top <n>", "kernels shown; 0 for all").argParser(integer(0, 10_000)).default(25))
    .addOption(new Option("--scaling", "instead: how the work divides among 1 to 64 threads, counted; no step is run").default(false, "off"))
    .addOption(new Option("--json", "the profile as JSON on stdout").default(false, "off"))
    .addHelpText(
      "after",
      `
Examples:
  $ mallard profile                                   a training step of the tiny model
  $ mallard profile small --optimizer muon --threads 1
  $ mallard profile attention.ts#causal --gradient
  $ mallard profile base --scaling`,
    )
    .action(async (what: string, flags: Flags, command: Command) => exit(await run(what, flags, command)));
}

async function run(what: string, flags: Flags, command: Command): Promise<number> {
  const asked = requestOf(what, flags, (option) => command.getOptionValueSource(option) === "cli");
  if (isLeft(asked)) return report(asked.left, flags.json);
  const threads = flags.threads ?? availableParallelism();
  const opened = await openSession(flags.device, { threads, adapter: flags.adapter, notice: note });
  if (isLeft(opened)) return report({ kind: "device", message: opened.left.message, hint: "see mallard doctor" }, flags.json);
  using session = opened.right;
  try {
    const measured = await asked.right(session);
    if (isLeft(measured)) return report(measured.left, flags.json);
    const { program, profile } = measured.right;
    if (flags.scaling) {
      if (!program.plan) throw new Error(`${what} has no plan to count`); // the native device keeps one
      return showScaling(what, scalingOf(program.plan, SCALES), flags);
    }
    // The roofs that can be measured are the processor's.
    const roofs = flags.device === "native" ? await measureRoofs(threads) : right(null);
    if (isLeft(roofs)) return report({ kind: "device", message: roofs.left.message, hint: "see mallard doctor" }, flags.json);
    return showProfile(what, await profile(), roofs.right, flags);
  } catch (thrown) {
    if (thrown instanceof DeviceError) return report({ kind: "device", message: thrown.message, hint: "see mallard doctor" }, flags.json);
    throw thrown; // what is wrong with the author's expression is shown with its place, as everywhere
  }
}

// ─── what is measured ────────────────────────────────────────────────────────────────────────────────

interface Measurable {
  readonly program: SessionProgram;
  readonly profile: () => Promise<RunProfile>;
}
type Measure = (session: Session) => Promise<Either<Problem, Measurable>>;

function requestOf(what: string, flags: Flags, given: (option: string) => boolean): Either<Problem, Measure> {
  const size = SIZES.find((s) => s === what);
  const idle = (size ? ["inputs", "gradient"] : ["attention", "optimizer", "intervention", "precision"]).find(given);
  if (!size && !what.includes("#"))
    return problem("usage", `there is no model "${what}"${didYouMean(what, SIZES)}`, `give one of ${SIZES.join(", ")}, or FILE#export`);
  if (idle !== undefined)
    return size
      ? problem("usage", `--${idle} is for an expression in a file, and ${what} is a model`, `give FILE#export, or leave --${idle} out`)
      : problem("usage", `--${idle} is for a model, and ${what} is an expression`, `give one of ${SIZES.join(", ")}, or leave --${idle} out`);
  if (flags.device === "native" && flags.adapter !== undefined)
    return problem("usage", "--adapter counts only with --device webgpu", "add --device webgpu, or leave --adapter out");
  if (flags.scaling && flags.device !== "native")
    return problem("usage", "--scaling divides work among the native device's threads", "leave --device out");
  if (flags.scaling && given("runs")) return problem("usage", "--runs is for measured runs, and --scaling counts", "leave --runs out");
  const unstorable = size ? storageFault(flags.precision, flags.optimizer) : null;
  if (unstorable) return problem("usage", ...unstorable);
  return right(size ? (session) => ofModel(session, size, flags) : (session) => ofExpression(session, what, flags));
}

const progress = (text: string | null): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text ?? ""}`);
};
const options = ({ runs }: Flags) => ({
  ...(runs === undefined ? { least: 10, ms: 2000 } : { least: runs, ms: 0 }),
  progress: (run: number) => progress(`run ${run}`),
});

async function ofModel(session: Session, size: StepSize, flags: Flags): Promise<Either<Problem, Measurable>> {
  const { intervention, optimizer, attention } = flags;
  if (intervention === "qk-norm" && attention === "mla")
    return problem("usage", "--intervention qk-norm is not there for latent attention: its keys are not kept by head", "choose another of the two");
  const sizes: ModelConfig = { ...STEP_SIZES[size], attention: ATTENTIONS[attention].of(STEP_SIZES[size]) };
  const config: ProgramConfig = {
    ...defaultsOf(intervention),
    ...{ optimizer, intervention, partner: 1, decay: 0, clip: null, clipStep: null, zLoss: 0, bounds: false },
    ...{ precision: flags.precision ?? FULL, accumulate: 1, probeSequences: 1, device: flags.device, threads: session.backend.threads, seed: 1 },
  };
  progress(`compiling ${size}`);
  const made = ingredients.decoder(sizes, config);
  const storage = config.precision.params;
  const decoder = storage === "f32" ? made : stored(made, storage);
  const own = await measuredStep(session, sizes, {
    params: decoder.params,
    loss: nextToken(decoder),
    optimizer: ingredients.optimizer(config),
    precision: config.precision,
    profile: true,
  });
  return right({ program: own.program, profile: () => profileRuns(own.program, () => own.step(), options(flags)) });
}

async function ofExpression(session: Session, place: string, flags: Flags): Promise<Either<Problem, Measurable>> {
  const found = await subject(place, flags.inputs);
  if (isLeft(found)) return found;
  if (found.right.kind === "program") return noProgram(place, "it was compiled without a profile");
  const whole = built(found.right);
  if (isLeft(whole)) return whole;
  progress(`compiling ${place}`);
  try {
    const made = await profileExpression(session, halvesOf(whole.right), { ...options(flags), gradient: flags.gradient });
    return right({ program: made.program, profile: () => made.measure() });
  } catch (thrown) {
    if (thrown instanceof CompileError) throw thrown;
    if (thrown instanceof DeviceError)
      return left({ kind: "device", message: thrown.message, hint: "see mallard doctor, or give smaller sizes with --inputs" });
    throw thrown;
  }
}

// ─── how it is shown ─────────────────────────────────────────────────────────────────────────────────

const ms = (x: number): string => (x >= 100 ? x.toFixed(0) : x >= 1 ? x.toFixed(2) : x.toFixed(3));
const rate = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toFixed(1));

interface Line {
  readonly kernel: KernelTime;
  /** Of the processor's roofs, where it ran there. */
  readonly reached: Attained | null;
  readonly ofRun: number;
}
/** `roofs`: none are known of a GPU. */
function showProfile(what: string, p: RunProfile, roofs: Roofs | null, flags: Flags): number {
  progress(null);
  const lines = p.kernels.map(
    (kernel): Line => ({ kernel, reached: roofs && attained(kernel, roofs), ofRun: (kernel.ms + kernel.waitMs) / p.bestMs }),
  );
  if (flags.json) {
    const kernels = lines.map(({ kernel, reached, ofRun }) => ({ ...kernel, ...reached, ofRun }));
    jsonResult({
      what,
      device: flags.device,
      threads: p.threads,
      runs: p.runs,
      bestMs: p.bestMs,
      medianMs: p.medianMs,
      kernelMs: p.kernelMs,
      waitMs: p.waitMs,
      roofs,
      kernels,
    });
    return EXIT.ok;
  }
  const shown = flags.top === 0 ? lines : lines.slice(0, flags.top);
  const columns: readonly Column<Line>[] = [
    { head: "ms", cell: (l) => ms(l.kernel.ms) },
    ...(roofs ? [{ head: "wait", cell: (l: Line) => ms(l.kernel.waitMs) }] : []),
    { head: "of run", cell: (l) => `${(100 * l.ofRun).toFixed(1)} %` },
    { head: "calls", cell: (l) => String(l.kernel.calls) },
    { head: "MFLOP", cell: (l) => count(Math.round(l.kernel.operations / 1e6)) },
    { head: "MB", cell: (l) => (l.kernel.bytes / 1e6).toFixed(l.kernel.bytes < 1e7 ? 2 : 0) },
    { head: "GFLOP/s", cell: ({ kernel }) => rate(kernel.operations / kernel.slowestMs / 1e6) },
    { head: "GB/s", cell: ({ kernel }) => rate(kernel.bytes / kernel.slowestMs / 1e6) },
    ...(roofs ? [{ head: "of limit", cell: ({ reached }: Line) => (reached ? `${(100 * reached.share).toFixed(0)} % ${reached.bound}` : "") }] : []),
    { head: "pass", cell: (l) => l.kernel.source.half, words: true },
    { head: "expression", cell: (l) => titleOf(l.kernel), words: true },
  ];
  const total = (f: (k: KernelTime) => number) => p.kernels.reduce((n, k) => n + f(k), 0);
  const [flops, bytes] = [total((k) => k.operations), total((k) => k.bytes)];
  const rest = lines.length - shown.length;
  result(
    [
      `${what} on ${roofs ? `${p.threads} thread${p.threads === 1 ? "" : "s"}` : flags.device}: ${ms(p.bestMs)} ms at best, ${ms(p.medianMs)} in the median of ${p.runs} runs`,
      `the kernels' least times: ${ms(p.kernelMs)} ms${roofs ? `, and ${ms(p.waitMs)} at barriers (means of the threads)` : ""}`,
      `${(flops / 1e9).toFixed(2)} GFLOP and ${(bytes / 1e9).toFixed(2)} GB: ${rate(flops / p.bestMs / 1e6)} GFLOP/s, ${rate(bytes / p.bestMs / 1e6)} GB/s`,
      ...(roofs
        ? [
            `this machine: ${rate(roofs.gflops)} GFLOP/s (fused multiply-adds of ${roofs.lanes} floats), ${rate(roofs.memory)} GB/s from memory, ${rate(roofs.cache)} from cache`,
          ]
        : []),
      "",
      table(columns, shown),
      ...(rest > 0 ? [`and ${rest} more: --top 0 shows all`] : []),
      "",
      `Work is nominal: masked elements count in full, and bytes are what must move at least once.${roofs ? " The limit is the roof above a kernel:" : ""}`,
      ...(roofs ? ["the peak, or memory's bandwidth where its work a byte is less than the machine's; above 100 % caches served it."] : []),
    ].join("\n"),
  );
  return EXIT.ok;
}

function showScaling(what: string, s: Scaling, flags: Flags): number {
  progress(null);
  if (flags.json) {
    jsonResult({ what, ...s });
    return EXIT.ok;
  }
  const rows = [...s.kernels].sort((a, b) => (b.shares?.[0]?.total ?? 0) * b.times - (a.shares?.[0]?.total ?? 0) * a.times);
  const shown = flags.top === 0 ? rows : rows.slice(0, flags.top);
  const one = s.shares[0]?.total ?? 0;
  const speedups = (shares: Scaling["shares"] | null, i: number): string => {
    const [first, at] = [shares?.[0], shares?.[i]];
    return first && at ? (first.most / at.most).toFixed(1) : "?";
  };
  type Kernel = Scaling["kernels"][number];
  const columns: readonly Column<Kernel>[] = [
    { head: "of work", cell: (k) => (k.shares ? `${((100 * k.times * (k.shares[0]?.total ?? 0)) / one).toFixed(1)} %` : "?") },
    { head: "times", cell: (k) => String(k.times) },
    { head: "units", cell: (k) => (k.shares === null ? "?" : String(k.units)) },
    ...s.threads.slice(1).map((t, i): Column<Kernel> => ({ head: `×${t}`, cell: (k) => speedups(k.shares, i + 1) })),
    { head: "kernel", cell: (k) => `${k.nests.slice(0, 2).join(", ")}${k.nests.length > 2 ? ` and ${k.nests.length - 2} more` : ""}`, words: true },
  ];
  type Row = Scaling["shares"][number];
  const whole: readonly Column<Row>[] = [
    { head: "threads", cell: (x) => String(x.threads) },
    { head: "speed-up", cell: (x) => (one / x.most).toFixed(2) },
    { head: "of ideal", cell: (x) => `${((100 * one) / x.most / x.threads).toFixed(0)} %` },
    { head: "imbalance", cell: (x) => ((x.most * x.threads) / x.total).toFixed(3) },
    { head: "repeated work", cell: (x) => `${(100 * (x.total / one - 1)).toFixed(1)} %` },
  ];
  const rest = rows.length - shown.length;
  result(
    [
      `${what}: ${s.barriers} barriers a run, ${s.kernels.length} kernels; operations and accesses counted thread by thread, nothing was run`,
      "",
      table(whole, s.shares),
      "",
      table(columns, shown),
      ...(rest > 0 ? [`and ${rest} more: --top 0 shows all`] : []),
      "",
      "Speed-up: all work over that of the thread that has most, kernel by kernel, without what a barrier or memory costs. units: how many of 64",
      "threads have anything to do. ?: its loops depend on data.",
    ].join("\n"),
  );
  return EXIT.ok;
}
