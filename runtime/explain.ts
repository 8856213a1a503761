// What the compiler makes of an expression, without running it: the plan, every stage on the way to it, and the verdict on
// its fusion, from the same expression at three sizes.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { type Count, type CountedKernel, countedKernels, countOf } from "../compiler/explain/count.js";
import { type Diagnosis, diagnose } from "../compiler/explain/diagnose.js";
import { exponentOf, growthOf, temporaryBytes } from "../compiler/explain/growth.js";
import { kernelsIn, neededFor } from "../compiler/explain/kernels.js";
import { graphText, planStages, type Stage, stage } from "../compiler/explain/stages.js";
import { type Boundary, boundariesOf, readingsOf, stoppedAt, type Value, valueIn } from "../compiler/explain/why.js";
import type { Buffer } from "../compiler/lower/expr.js";
import { type LowerOptions, lower } from "../compiler/lower/lower.js";
import { bytesOf } from "../compiler/lower/memory.js";
import { type Graph, runGraphPasses } from "../compiler/pipeline.js";
import type { Plan } from "../compiler/plan.js";
import { c } from "../compiler/targets/c/program.js";
import { type Place, placesOf } from "../dsl/places.js";
import { flatten } from "../dsl/tree.js";
import { CompileError, passed } from "./backend.js";
import { authored } from "./excerpt.js";
import type { Expression, Halves } from "./halves.js";
import { inputLeaves } from "./program.js";

export type { Count, CountedKernel } from "../compiler/explain/count.js";
export type { Stage } from "../compiler/explain/stages.js";
export type { Boundary, Value } from "../compiler/explain/why.js";

/** Unless said as for the native device; without tiles the dense form, in which every value of a contraction is stored. */
export type PlanOptions = Partial<LowerOptions>;

/** Outputs are named by their paths in the tree; "out" is a tensor by itself. */
export function planOf(x: Expression, o: PlanOptions = {}): Either<CompileError, Plan> {
  const outputs = Object.fromEntries(flatten(x.out).map(({ path, node }) => [path || "out", node]));
  const p = passed({ name: "program", inputs: inputLeaves(x.inputs), outputs, updates: [] });
  if (isLeft(p)) return p;
  const plan = lower(p.right.program, { tiles: true, ...o });
  return isLeft(plan) ? left(new CompileError([plan.left])) : plan;
}

const diagnosisText = (all: readonly Diagnosis[]): string =>
  all
    .map(({ kind, place, message, hint }) => {
      const p = place && authored(place);
      return `${kind}: ${message}${p ? `  ← ${p.file}:${p.line}:${p.column}` : ""}\n  → ${hint}`;
    })
    .join("\n") || "none";

/** Each stage of the compiler on this expression, as text. */
export function stagesOf(x: Expression): Either<CompileError, readonly Stage[]> {
  const written = flatten(x.out).map(({ node }) => node);
  const stages: Stage[] = [stage("written", "the graph as it was written", () => graphText(written, authored))];
  const watch = (pass: string, g: Graph) => stages.push(stage(pass, `after the pass ${pass}`, () => graphText(g.roots, authored)));
  const passes = runGraphPasses(written, { watch });
  if (isLeft(passes)) return left(new CompileError(passes.left));
  const plan = planOf(x);
  if (isLeft(plan)) return plan;
  const warnings = stage("warnings", "what is hardly meant, and what prevents a fusion", () => diagnosisText(diagnose(written)));
  return right([...stages, ...planStages(plan.right, authored), warnings]);
}

export interface Temporaries {
  /** Multiples of the sequences' lengths at scale 1. */
  readonly scales: readonly number[];
  readonly bytes: readonly number[];
  /** Of growth with the sequences. */
  readonly exponent: number;
}
/** A temporary that grows like the square of the sequences, or would if it did not stand a block of rows at a time. */
export interface Quadratic {
  readonly value: Value;
  readonly bytes: number;
  /** How the kernels read it. */
  readonly readings: readonly string[];
  /** What the lowering says of it. */
  readonly stopped: readonly { readonly places: readonly Place[]; readonly reason: string }[];
}
export interface Half {
  readonly count: Count;
  readonly kernels: readonly CountedKernel[];
  readonly boundaries: readonly Boundary[];
}
export interface Verdict {
  readonly forward: Half;
  readonly backward: Half;
  /** Forward alone, and with the gradients. */
  readonly temporaries: { readonly forward: Temporaries; readonly both: Temporaries };
  /** Bytes of each thread's own beside them, as the C target blocks; null where it cannot print a kernel. */
  readonly scratchBytesPerThread: number | null;
  readonly quadratic: readonly Quadratic[];
  /** Values as large that have memory for one block of rows at a time. */
  readonly inBlocks: readonly Quadratic[];
  /** All that kept contractions in memory: where, and why. */
  readonly stopped: Quadratic["stopped"];
  readonly dense: { readonly forward: Count; readonly backward: Count; readonly bytes: number };
}

/** `at(s)`: the expression with its sequences s times as long. `grows`: false where sizes are fixed, so that `at` gives the
 *  same expression for every s: then nothing is known of growth, and passes are those over tiles. */
export function verdict(at: (scale: number) => Halves, grows = true): Either<CompileError, Verdict> {
  const scales = grows ? [1, 2, 4] : [1];
  const plans: { readonly forward: Plan; readonly both: Plan }[] = [];
  const first = at(1);
  for (const s of scales) {
    const x = s === 1 ? first : at(s);
    const forward = planOf(x.forward);
    if (isLeft(forward)) return forward;
    const both = planOf(x.both);
    if (isLeft(both)) return both;
    plans.push({ forward: forward.right, both: both.right });
  }
  const [one, two] = plans as [(typeof plans)[0], (typeof plans)[0] | undefined];
  const growth = two ? { forward: growthOf(one.forward, two.forward), both: growthOf(one.both, two.both) } : null;
  const counted = countedKernels(one.both, growth?.both ?? null, first.outputs);
  const dense = denseCounts(at, grows);
  if (isLeft(dense)) return dense;
  const printed = c.compile(one.both);
  const temporaries = (half: "forward" | "both"): Temporaries => {
    const bytes = plans.map((p) => temporaryBytes(p[half]));
    return { scales, bytes, exponent: exponentOf(scales.map((size, i) => ({ size, bytes: bytes[i] as number }))) };
  };
  return right({
    forward: half(one.forward, countedKernels(one.forward, growth?.forward ?? null), Object.keys(one.forward.outputs)),
    backward: half(
      one.both,
      counted.filter((k) => k.backward),
      first.outputs,
    ),
    temporaries: { forward: temporaries("forward"), both: temporaries("both") },
    scratchBytesPerThread: isLeft(printed) ? null : printed.right.scratchBytesPerThread,
    quadratic: growth ? stored(one.both, (b) => growth.both.quadratic(b)) : [],
    inBlocks: growth ? stored(one.both, (b) => one.both.inBlocks?.has(b.id) === true && growth.both.growing(b)) : [],
    stopped: (one.both.why ?? []).map((w) => ({ places: placesOf(w.node), reason: w.reason })),
    dense: dense.right,
  });
}

const half = (plan: Plan, kernels: readonly CountedKernel[], forward: readonly string[]): Half => {
  const own = new Set(kernels.flatMap((k) => k.kernel.nests.map((n) => n.name)));
  const isForward = neededFor(
    plan,
    forward.flatMap((name) => plan.outputs[name] ?? []),
  );
  const all = boundariesOf(plan, kernelsIn(plan), isForward);
  return { kernels, count: countOf(kernels), boundaries: all.filter((b) => b.after.some((name) => own.has(name))) };
};

function denseCounts(at: (scale: number) => Halves, grows: boolean): Either<CompileError, Verdict["dense"]> {
  const first = at(1);
  const plan = planOf(first.both, { tiles: false });
  if (isLeft(plan)) return plan;
  const twice = grows ? planOf(at(2).both, { tiles: false }) : null;
  if (twice && isLeft(twice)) return twice;
  const counted = countedKernels(plan.right, twice ? growthOf(plan.right, twice.right) : null, first.outputs);
  return right({
    forward: countOf(counted.filter((k) => !k.backward)),
    backward: countOf(counted.filter((k) => k.backward)),
    bytes: temporaryBytes(plan.right),
  });
}

function stored(plan: Plan, wanted: (b: Buffer) => boolean): readonly Quadratic[] {
  const kernels = kernelsIn(plan);
  const temporary = plan.buffers.filter((b) => (b.role === "temp" || b.role === "table") && wanted(b));
  return temporary.map((b) => ({
    value: valueIn(plan, b),
    bytes: bytesOf(b),
    readings: b.role === "table" ? ["of indices and constants alone, computed once"] : [...new Set(kernels.flatMap((k) => readingsOf(b, k)))],
    stopped: stoppedAt(plan, b, kernels).map((w) => ({ places: placesOf(w.node), reason: w.reason })),
  }));
}
