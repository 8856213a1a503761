// A plan as C: one function a kernel (equal kernels once), spread over files of about equal size that compile side by
// side, and `mallard_main`, which every thread runs from beginning to end:
//
//   void mallard_main(void *const *buffers, const int32_t *extents, int tid, int n_threads, void *scratch,
//                     void (*barrier)(void *), void *barrier_argument)
//
// `buffers` holds one pointer per `bufferOrder` entry, `extents` the run-time extents in the plan's order, `scratch` this
// thread's own `scratchBytesPerThread` bytes, 64-byte aligned. Where barriers stand, lower/barriers.ts decides.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import type { Extent } from "../../../dsl/node.js";
import type { Choice, Choices } from "../../loop/choices.js";
import { exprsOf, type Kernel, statements } from "../../loop/ir.js";
import { scheduled } from "../../loop/recipes/index.js";
import { type Interval, termsOf } from "../../loop/terms.js";
import { type Event, walkOf } from "../../lower/barriers.js";
import { type Buffer, extentVar } from "../../lower/expr.js";
import type { Blocks, Nest } from "../../lower/nest.js";
import { nestsOf } from "../../lower/turns.js";
import type { Plan } from "../../plan.js";
import { outerOf } from "../around.js";
import { numbered } from "../naming.js";
import type { Target, TargetError } from "../target.js";
import { cLimits } from "./limits.js";
import { prelude } from "./prelude.js";
import { type PrintedKernel, printKernel } from "./print.js";

export interface CProgram {
  /** C files, to be compiled separately and linked together. Names in them are numbers, so that kernels equal but for
   *  names are one, and programs equal but for names share compiled files. */
  readonly units: readonly { readonly name: string; readonly source: string }[];
  /** Each nest's kernel, readable; printed when asked for. */
  readonly kernels: readonly { readonly name: string; readonly source: string }[];
  readonly entry: "mallard_main";
  readonly scratchBytesPerThread: number;
  readonly bufferOrder: readonly Buffer[];
  /** What to compile the units with, beside -fPIC -shared. */
  readonly flags: readonly string[];
}
/** -ffp-contract=off and no fast-math: arithmetic is what is written. */
export const cFlags: readonly string[] = ["-O2", "-march=native", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-w"];
const MAX_UNITS = 8;
const UNIT_CHARACTERS = 12_000;

export interface Call {
  /** Of the function. */
  readonly name: string;
  readonly buffers: readonly Buffer[];
  readonly ints: readonly string[];
  readonly reads: ReadonlySet<Buffer>;
  readonly writes: ReadonlySet<Buffer>;
}

/** A plan's kernels, printed, and how each nest calls its own. */
export interface Printed {
  readonly calls: ReadonlyMap<Nest, Call>;
  /** Equal kernels once, where names are numbers; else one a nest, by its name. */
  readonly unique: readonly { readonly name: string; readonly printed: PrintedKernel }[];
  /** Before printing, in the plan's order. */
  readonly kernels: readonly Kernel[];
  /** Of run-time extents and loop counters. */
  readonly outer: ReadonlyMap<string, Interval>;
  /** The places of run-time extents in what a run passes. */
  readonly extents: ReadonlyMap<string, number>;
}
/** A kernel with numbers for names: nests that are equal but for names have one text. */
export const anonymous = (kernel: Kernel, outer: ReadonlyMap<string, Interval>): PrintedKernel =>
  printKernel({ ...kernel, name: "kernel" }, outer, numbered());
/** By its recipe, or by what was chosen for such kernels. */
function kernelOf(nest: Nest, outer: ReadonlyMap<string, Interval>, choices: Choices): Kernel {
  const own = scheduled(nest, cLimits, outer);
  const choice: Choice | undefined = choices.size === 0 ? undefined : choices.get(anonymous(own, outer).source);
  return choice ? scheduled(nest, cLimits, outer, choice) : own;
}
const none: Choices = new Map();

export function printed(plan: Plan, names: "numbers" | "readable", choices: Choices = none): Either<TargetError, Printed> {
  const outer = outerOf(plan);
  const extents = new Map<string, number>();
  plan.extents.forEach((e, i) => {
    const v = extentVar(e);
    if (v.kind === "var") extents.set(v.name, i);
  });
  const calls = new Map<Nest, Call>();
  const unique = new Map<string, { readonly name: string; readonly printed: PrintedKernel }>();
  const all: Kernel[] = [];
  for (const { nest } of nestsOf(plan.steps)) {
    try {
      const kernel = kernelOf(nest, outer, choices);
      all.push(kernel);
      const made = names === "numbers" ? anonymous(kernel, outer) : printKernel(kernel, outer);
      const known = unique.get(made.source) ?? { name: names === "numbers" ? String(unique.size) : nest.name, printed: made };
      unique.set(made.source, known);
      const reads = new Set<Buffer>();
      for (const s of statements(kernel.body)) {
        for (const e of termsOf(exprsOf(s))) if (e.kind === "load") reads.add(e.buffer);
        if (s.s === "use") for (const p of s.places) reads.add(p.buffer);
      }
      calls.set(nest, { name: known.name, buffers: made.buffers, ints: made.ints, reads, writes: made.writes });
    } catch (error) {
      return left({
        kind: "target",
        target: "c",
        kernel: nest.name,
        nodes: nest.nodes,
        message: `the C target cannot print kernel ${nest.name}: ${error instanceof Error ? error.message : String(error)}`,
      });
    }
  }
  return right({ calls, unique: [...unique.values()], kernels: all, outer, extents });
}
export const scratchBytes = (p: Printed): number => Math.max(64, ...p.unique.map((k) => k.printed.scratchBytes));

export const c: Target<CProgram, Choices> = {
  name: "c",
  compile(plan: Plan, choices?: Choices): Either<TargetError, CProgram> {
    const made = printed(plan, "numbers", choices);
    if (isLeft(made)) return made;
    const { unique, kernels, outer } = made.right;
    const declarations = unique.map((k) => `void k_${k.name}(void *const *b, const int32_t *v, const struct mallard_context *c);`);
    const sources = unique.map((k) => k.printed.source.replace("k_kernel(", `k_${k.name}(`));
    const units = spread(sources).map((group, i) => ({ name: `kernels${i}`, source: [prelude, ...group].join("\n") }));
    const main = mainFunction(plan, made.right);
    return right({
      units: [...units, { name: "main", source: [...(plan.profile ? [clock] : []), context, ...declarations, main].join("\n") }],
      get kernels() {
        return kernels.map((k) => ({ name: k.name, source: printKernel(k, outer).source }));
      },
      entry: "mallard_main",
      scratchBytesPerThread: scratchBytes(made.right),
      bufferOrder: plan.buffers,
      flags: cFlags,
    });
  },
};
const context = `#include <stdint.h>
struct mallard_context { int32_t tid, n_threads; char *scratch; };`;
const clock = `#define _POSIX_C_SOURCE 199309L
#include <time.h>
static inline double microseconds(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec * 1e-3; }`;

/** Kernels over files, the longest first, each to the shortest file so far. */
function spread(sources: readonly string[]): readonly (readonly string[])[] {
  const total = sources.reduce((n, s) => n + s.length, 0);
  const n = Math.max(1, Math.min(MAX_UNITS, sources.length, Math.ceil(total / UNIT_CHARACTERS)));
  const groups = Array.from({ length: n }, () => ({ size: 0, sources: [] as string[] }));
  for (const s of [...sources].sort((a, b) => b.length - a.length)) {
    const least = groups.reduce((a, b) => (b.size < a.size ? b : a));
    least.sources.push(s);
    least.size += s.length;
  }
  return groups.map((g) => g.sources);
}

const sizeIn = (extents: ReadonlyMap<string, number>, e: Extent): string => {
  const v = extentVar(e);
  return v.kind === "num" ? String(v.value) : v.kind === "var" ? `extents[${extents.get(v.name)}]` : "0";
};
/** Declares what a turn's nests read, and names it: where each span of rows starts, what was cut off before, how many are left. */
function turnOf(blocks: Blocks, counter: string, total: string, names: Map<string, string>): readonly string[] {
  return blocks.spans.flatMap(({ start, skip, rows, lo, hi }, k) => {
    const [first, from] = [`${counter}_row${k}`, `${counter}_start${k}`];
    const out = [`const int32_t ${first} = ${counter} * ${blocks.size}${lo === 0 ? "" : ` - ${-lo}`};`];
    if (skip === null) names.set(start, first);
    else {
      names.set(start, from).set(skip, `${counter}_skip${k}`);
      out.push(`const int32_t ${from} = ${first} < 0 ? 0 : ${first}, ${counter}_skip${k} = ${from} - ${first};`);
    }
    const own = extentVar(rows);
    if (own.kind !== "var") return out;
    const [end, left] = [`${first} + ${blocks.size + hi - lo}`, `${counter}_rows${k}`];
    names.set(own.name, left);
    return [...out, `const int32_t ${left} = (${end} < ${total} ? ${end} : ${total}) - ${names.get(start)};`];
  });
}

/** `mallard_main`: the calls in order, with barriers between. */
export function mainFunction(plan: Plan, { calls, extents }: Printed): string {
  const place = new Map(plan.buffers.map((b, i) => [b, i]));
  const lines: string[] = [];
  // With a profile, each call and each barrier adds the time since the one before to the last nest called.
  let nests = 0;
  const tick = (indent: string, slot: number) => {
    if (plan.profile) lines.push(`${indent}now = microseconds(); profile[${slot}] += now - before; before = now;`);
  };
  // Counters are numbered by the program: equal programs are equal text, whatever was compiled before.
  const counterNames = new Map<string, string>();
  let indent = "  ";
  const event = (e: Event) => {
    switch (e.at) {
      case "barrier":
        lines.push(`${indent}barrier(barrier_argument);`);
        tick(indent, 2 * nests - 1);
        return;
      case "enter": {
        const i = `i${counterNames.size}`;
        const { v, count, reverse, blocks } = e.loop;
        counterNames.set(v, i);
        if (blocks) {
          const total = sizeIn(extents, blocks.extent);
          lines.push(`${indent}for (int32_t ${i} = 0; ${i} == 0 || ${i} * ${blocks.size} < ${total}; ${i}++) {`);
          indent += "  ";
          for (const line of turnOf(blocks, i, total, counterNames)) lines.push(indent + line);
          return;
        }
        const head = reverse ? `for (int32_t ${i} = ${count - 1}; ${i} >= 0; ${i}--) {` : `for (int32_t ${i} = 0; ${i} < ${count}; ${i}++) {`;
        lines.push(indent + head);
        indent += "  ";
        return;
      }
      case "leave":
        indent = indent.slice(2);
        lines.push(`${indent}}`);
        return;
      case "nest": {
        const call = calls.get(e.nest) as Call;
        const b = call.buffers.map((x) => `buffers[${place.get(x)}]`);
        const v = call.ints.map((n) => (extents.has(n) ? `extents[${extents.get(n)}]` : (counterNames.get(n) ?? n)));
        lines.push(
          `${indent}{ void *const b[] = {${b.join(", ") || "0"}}; const int32_t v[] = {${v.join(", ") || "0"}}; k_${call.name}(b, v, &context); } /* ${e.nest.name} */`,
        );
        tick(indent, 2 * nests++);
      }
    }
  };
  if (plan.profile) {
    const slots = 2 * calls.size;
    lines.push(`  float *const profile = (float *)buffers[${place.get(plan.profile)}] + (long)tid * ${slots};`);
    lines.push(`  for (int i = 0; i < ${slots}; i++) profile[i] = 0;`, "  double before = microseconds(), now;");
  }
  for (const e of walkOf(plan, (n) => calls.get(n) as Call)) event(e);
  return `void mallard_main(void *const *buffers, const int32_t *extents, int tid, int n_threads, void *scratch, void (*barrier)(void *), void *barrier_argument) {
  const struct mallard_context context = {tid, n_threads, scratch};
${lines.join("\n")}
}`;
}
